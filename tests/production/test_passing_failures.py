"""Failures that pass, made for real: a Connect server that is restarted, an object store that has enough to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import dagster as dg
import pyarrow
import pytest

from medallion.retries import retry_passing
from tests.fixtures.broken_s3 import broken_s3
from tests.fixtures.production import System

pytestmark = pytest.mark.integration


@pytest.mark.slow
def test_steps_that_lose_their_connect_server_go_on_with_the_next(system: System) -> None:
    system.environment["MEDALLION_RETRY_DELAY"] = "3"
    system.hold("total")
    command = system.materialize("shop")
    system.reached("total")

    server = system.processes["connect"]
    server.kill()
    server.wait()
    system.go_on("total")
    run = system.last_run()
    system.wait(lambda: system.events(run.run_id, dg.DagsterEventType.STEP_UP_FOR_RETRY) or None, "a retry")
    system.connect_server()

    assert command.wait(120) == 0, system.logs()
    retried = system.events(run.run_id, dg.DagsterEventType.STEP_UP_FOR_RETRY)
    assert {event.step_key for event in retried} == {"gold__shop__total"}
    assert [row["orders"] for row in system.rows("gold/shop/total")] == [3]


def overloaded(times: int) -> Callable[[Any], Any]:
    """A fault: so many PUTs are refused with 503."""
    left = [times]

    def around(app: Any) -> Any:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].count("/") > 1 and left[0]:
                left[0] -= 1
                body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
                start_response("503 Slow Down", [("Content-Length", str(len(body)))])
                return [body]
            return app(environ, start_response)

        return serve

    return around


def write(uri: str, options: dict[str, str], policy: dg.RetryPolicy) -> tuple[bool, list[float]]:
    """Write a table in an asset, and give what became of it and the waits between its attempts."""

    @dg.asset(retry_policy=policy)
    def table() -> None:
        from deltalake import write_deltalake

        write_deltalake(uri, pyarrow.table({"a": [1]}), storage_options={**options, "max_retries": "1"})

    result = dg.materialize([table], raise_on_error=False)
    retried = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY]
    return result.success, [event.step_retry_data.seconds_to_wait for event in retried]


def test_a_store_that_answers_503_is_asked_again_with_growing_waits() -> None:
    # delta-rs itself asks twice for each attempt of the step.
    with broken_s3(overloaded(4), "overloaded") as server:
        success, waits = write("s3://overloaded/table", server.storage_options, retry_passing(0.1))
    assert success
    assert len(waits) == 2
    assert waits[0] < 0.2 < waits[1]


def test_a_bucket_that_is_not_there_is_not_asked_for_again() -> None:
    with broken_s3(overloaded(0), "there") as server:
        success, waits = write("s3://not-there/table", server.storage_options, retry_passing(0.1))
    assert (success, waits) == (False, [])
