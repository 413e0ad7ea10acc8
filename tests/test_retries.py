"""What passes by itself is tried again with growing waits; what doesn't, and what a person stops, is not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from deltalake.exceptions import DeltaError
from pyspark.errors.exceptions.connect import AnalysisException, SparkConnectGrpcException

from medallion.contracts import ContractError
from medallion.delta.conditional_put import ConditionalPutError
from medallion.delta.publish import WriteConflictError
from medallion.delta.schema import SchemaError
from medallion.postgres.errors import SourceSchemaError, SourceUnavailableError
from medallion.postgres.slot import SlotBusyError
from medallion.retries import is_passing, retry_passing

_ATTEMPTS = 4


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("nobody listens"),
        TimeoutError("too late"),
        OSError("Generic S3 error: Error performing PUT http://s3/x in 2s, after 3 retries ... 503 Slow Down"),
        DeltaError("Generic S3 error: error sending request for url (http://s3/x)"),
        SparkConnectGrpcException('status = StatusCode.UNAVAILABLE, details = "failed to connect to all addresses"'),
        SparkConnectGrpcException("[RETRIES_EXCEEDED] The maximum number of retries has been exceeded."),
        SparkConnectGrpcException("[INVALID_HANDLE.SESSION_NOT_FOUND] session not found"),
        SourceUnavailableError("shop: no connection to its database: Connection refused; start the server"),
        SourceUnavailableError("shop: the connection was lost: server closed; run again when the server is back"),
        SlotBusyError("another capture reads the slot"),
        WriteConflictError("others won for two minutes"),
        caused(RuntimeError("the input can't be read"), ConnectionResetError("reset by peer")),
    ],
    ids=lambda error: str(error)[:40],
)
def test_failures_of_servers_and_lost_races_pass(error: Exception) -> None:
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        ContractError("wrong type"),
        SchemaError("the transform does not return the columns ['a']"),
        ValueError("order 503 is unavailable"),
        AnalysisException("[UNRESOLVED_COLUMN] no column timeout"),
        OSError("Generic S3 error: 403 Forbidden: InvalidAccessKeyId after 3 retries"),
        FileNotFoundError("no such file"),
        ConditionalPutError("the store ignores If-None-Match"),
        SourceSchemaError("shop, table x: there is no such table"),
        SourceUnavailableError("shop: no connection to its database: password authentication failed for user of URL"),
        dg.Failure("blocked", allow_retries=False),
        KeyboardInterrupt(),
    ],
    ids=lambda error: str(error)[:40],
)
def test_contracts_rights_and_errors_of_a_transform_do_not_pass(error: BaseException) -> None:
    assert not is_passing(error)


def run(make: Callable[[int], Any]) -> tuple[dg.ExecuteInProcessResult, list[float]]:
    """Run an asset; the waits are those that Dagster is asked for."""
    attempts = iter(range(10))

    @dg.asset(retry_policy=retry_passing(0.01))
    def table() -> None:
        make(next(attempts))

    result = dg.materialize([table], raise_on_error=False)
    retried = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY]
    return result, [event.step_retry_data.seconds_to_wait for event in retried]


def test_a_passing_failure_is_retried_three_times_with_growing_waits() -> None:
    def make(attempt: int) -> None:
        if attempt < _ATTEMPTS - 1:
            raise ConnectionError("the store restarts")

    result, waits = run(make)

    assert result.success
    # 1, 3 and 7 delays, each moved by one at most.
    assert [round(wait - expected, 2) + 0 for wait, expected in zip(waits, (0.01, 0.03, 0.07), strict=True)] == (
        pytest.approx([0, 0, 0], abs=0.011)
    )


def test_a_failure_that_does_not_pass_in_time_keeps_its_own_error() -> None:
    def make(attempt: int) -> None:
        raise ConnectionError(f"attempt {attempt}")

    result, waits = run(make)
    error = result.failure_data_for_node("table").error  # type: ignore[union-attr]

    assert len(waits) == _ATTEMPTS - 1
    assert error is not None
    assert error.cause is not None
    assert "attempt 3" in error.cause.message


def test_an_error_of_the_transform_is_not_retried() -> None:
    def make(attempt: int) -> None:
        raise ValueError("wrong")

    result, waits = run(make)

    assert (result.success, waits) == (False, [])


def test_an_interrupt_ends_the_run_and_is_not_taken_for_a_failure() -> None:
    attempts: list[int] = []

    @dg.asset(retry_policy=retry_passing(0.01))
    def table() -> None:
        attempts.append(1)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises((KeyboardInterrupt, dg.DagsterExecutionInterruptedError)):
        dg.materialize([table])
    assert len(attempts) == 1
