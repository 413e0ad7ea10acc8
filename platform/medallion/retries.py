"""Which failures of a step pass by themselves, and how often and when such a step is tried again."""

import re
import sys
from collections.abc import Iterator

import dagster as dg

MAX_RETRIES = 3

_ENGINE = re.compile(
    r"UNAVAILABLE|RETRIES_EXCEEDED|SESSION_(?:NOT_FOUND|CLOSED|CHANGED)|NO_ACTIVE_SESSION|session (?:not found|closed)"
    r"|connection (?:refused|reset|closed)|broken pipe|socket closed",
    re.IGNORECASE,
)
_SOURCE = re.compile(
    r"connection refused|timeout expired|too many clients|remaining connection slots|starting up|shutting down"
    r"|the connection was lost|holds a lock|due to conflict",
    re.IGNORECASE,
)


class RetryPassing(dg.RetryPolicy):
    """Three retries with exponentially growing waits, for failures that pass by themselves.

    Dagster's own policy retries every exception: a table that breaks its contract is made four times over, and a run
    that is interrupted (Ctrl-C, SIGTERM, "Terminate" in the UI) takes that for a failure and goes on after a while.
    Dagster asks for the truth of the policy while the exception is handled, so this one is true or false by it.
    """

    def __bool__(self) -> bool:
        error = sys.exc_info()[1]
        return error is None or is_passing(error)


def retry_passing(delay: float) -> RetryPassing:
    """The retry policy of a table.

    Args:
        delay: seconds until the first retry; the second and third wait three and seven times as long. Each is moved by
            up to `delay` at random, so that steps that failed together don't come back together.
    """
    return RetryPassing(MAX_RETRIES, delay, dg.Backoff.EXPONENTIAL, dg.Jitter.PLUS_MINUS)


def is_passing(error: BaseException) -> bool:
    """Whether a step that ended in an error may well succeed if it is tried again in a while.

    True of an engine, an object store or a database that does not answer, is overloaded or restarted, of a write that
    lost against other writers for too long, and of a step process that was killed. False of everything else: checks
    that block, contracts, rights, errors of a transform.
    """
    from medallion.storage_errors import StorageUnavailableError, storage_error

    for each in _causes(error):
        if isinstance(each, Exception) and (refusal := storage_error(each)) is not None:
            return isinstance(refusal, StorageUnavailableError)
        if _passes(each):
            return True
    return False


def _passes(error: BaseException) -> bool:
    from dagster._core.executor.child_process_executor import ChildProcessCrashException

    from medallion.delta.publish import WriteConflictError
    from medallion.postgres.errors import SourceUnavailableError
    from medallion.postgres.slot import SlotBusyError

    if isinstance(error, SourceUnavailableError):
        return _SOURCE.search(str(error)) is not None
    if type(error).__module__.split(".")[0] in ("grpc", "pyspark"):
        # Of a transform that is wrong, whatever its columns are called, the engine tells an AnalysisException.
        wrong = any(kind.__name__ == "AnalysisException" for kind in type(error).__mro__)
        return not wrong and _ENGINE.search(str(error)) is not None
    passing = (ConnectionError, TimeoutError, WriteConflictError, SlotBusyError, ChildProcessCrashException)
    return isinstance(error, passing)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
