"""A failed run is told in a few lines, and a webhook that is dead, slow or wrong harms nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from medallion.alerts import PAUSES_SECONDS, Failure, describe_failure, post

FAILURE = Failure(
    job="olist",
    run_id="0f9d2c66-0000-0000-0000-000000000000",
    tables=("silver/olist/orders",),
    cause="LandingError: <orders> & more are gone",
    partitions="2017-01...2017-03",
    checks=("silver/olist/orders: key_is_unique",),
)


class Webhook:
    """A server on 127.0.0.1 that answers with the given codes, in turn, and keeps what it got."""

    def __init__(self, *codes: int) -> None:
        self.received: list[dict[str, Any]] = []
        answers = list(codes)
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(answers.pop(0) if answers else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/secret"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def webhooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes webhooks and closes them."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made: list[Webhook] = []

    def make(*codes: int) -> Webhook:
        made.append(Webhook(*codes))
        return made[-1]

    yield make
    for webhook in made:
        webhook.close()


def no_wait(_: float) -> None:
    pass


def test_the_message_is_slacks_and_says_job_run_table_cause_partitions_and_checks() -> None:
    message = FAILURE.message()

    assert message["text"] == (
        "silver/olist/orders failed in run 0f9d2c66 of olist (2017-01...2017-03): "
        "LandingError: &lt;orders&gt; &amp; more are gone"
    )
    assert {block["type"] for block in message["blocks"]} == {"section"}
    text = json.dumps(message["blocks"], ensure_ascii=False)
    for part in ("olist", FAILURE.run_id, "silver/olist/orders", "2017-01...2017-03", "key_is_unique", "&lt;orders"):
        assert part in text


def test_a_message_is_delivered_once(webhooks: Any) -> None:
    webhook = webhooks(200)

    assert post(webhook.url, {"text": "hello"}, no_wait) is None
    assert webhook.received == [{"text": "hello"}]


def test_a_server_error_and_a_rate_limit_are_tried_again(webhooks: Any) -> None:
    webhook = webhooks(503, 429, 200)
    waits: list[float] = []

    assert post(webhook.url, {"text": "hello"}, waits.append) is None
    assert len(webhook.received) == 3
    assert waits == list(PAUSES_SECONDS)


def test_tries_are_bounded_and_the_last_answer_is_named(webhooks: Any) -> None:
    webhook = webhooks(500, 500, 500, 500)

    assert post(webhook.url, {}, no_wait) == "the webhook answered 500, 3 times"
    assert len(webhook.received) == 3


def test_a_refused_message_is_not_repeated(webhooks: Any) -> None:
    webhook = webhooks(403)

    assert post(webhook.url, {}, no_wait) == "the webhook answered 403"
    assert len(webhook.received) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/services/secret",
        "ftp://127.0.0.1/services/secret",
        "services/secret",
        "http://127.0.0.1:port/services/secret",
        "http://127.0.0.1:9/services/secret with a space",
    ],
)
def test_a_webhook_that_is_dead_or_no_address_is_a_reason_without_the_secret(url: str) -> None:
    problem = post(url, {}, no_wait)

    assert problem is not None
    assert "secret" not in problem


def _run(fail: Any, **tags: str) -> tuple[dg.DagsterInstance, dg.ExecuteInProcessResult]:
    @dg.asset(
        key=["silver", "shop", "orders"],
        check_specs=[
            dg.AssetCheckSpec("key_is_unique", asset=["silver", "shop", "orders"], blocking=True),
            dg.AssetCheckSpec("rows_in_bounds", asset=["silver", "shop", "orders"]),
        ],
        output_required=False,
    )
    def orders() -> Iterator[Any]:
        yield from fail()

    instance = dg.DagsterInstance.ephemeral()
    job = dg.Definitions([orders]).resolve_implicit_global_asset_job_def()
    return instance, job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)


def _described(fail: Any, **tags: str) -> Failure:
    instance, result = _run(fail, **tags)
    (failure,) = [event for event in result.all_events if event.is_run_failure]
    return describe_failure(result.dagster_run, failure, instance)


def test_the_cause_is_the_error_of_our_code_in_one_line() -> None:
    def fail() -> Iterator[Any]:
        raise FileNotFoundError("orders.csv is gone\nhere are the details")
        yield

    failure = _described(
        fail,
        **{"dagster/asset_partition_range_start": "2017-01", "dagster/asset_partition_range_end": "2017-02"},
    )

    assert failure.tables == ("silver/shop/orders",)
    assert failure.cause == "FileNotFoundError: orders.csv is gone"
    assert failure.partitions == "2017-01...2017-02"
    assert failure.job == "asset run"
    assert not failure.checks


def test_failed_checks_are_named_and_warnings_are_not() -> None:
    def fail() -> Iterator[Any]:
        yield dg.AssetCheckResult(check_name="key_is_unique", passed=False)
        yield dg.AssetCheckResult(check_name="rows_in_bounds", passed=False, severity=dg.AssetCheckSeverity.WARN)

    failure = _described(fail)

    assert failure.checks == ("silver/shop/orders: key_is_unique",)
    assert failure.partitions == "whole tables"
    assert "key_is_unique" in failure.cause or "check" in failure.cause
