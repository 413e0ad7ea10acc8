"""What the project's own definitions start, when, and whom they tell."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from medallion.domains import declared_tables
from medallion.landing import Landing
from medallion.settings import Settings
from medallion.updates import UpdatesSensor
from sensors import Automation, build_automation
from sensors.alerts import failure_alerts


@pytest.fixture(scope="module")
def automation() -> Automation:
    return build_automation(declared_tables("assets"), Settings())


def daily(automation: Automation, landing: Landing) -> Any:
    schedule = automation.schedules[0]
    context = dg.build_schedule_context(
        instance=dg.DagsterInstance.ephemeral(),
        scheduled_execution_time=dt.datetime(2026, 3, 1, 2, tzinfo=dt.UTC),
        resources={"landing": landing},
    )
    with context:
        return schedule.evaluate_tick(context)


def land(landing: Landing, table: str, *slices: str) -> None:
    for name in slices:
        with landing.write("olist", table, name, f"{table}.csv") as file:
            file.write(b"a\n1\n")


def test_everything_that_starts_runs_is_on_from_the_start(automation: Automation) -> None:
    assert {sensor.name for sensor in automation.sensors} == {"landing_olist", "updates", "failed_runs"}
    assert {sensor.default_status for sensor in automation.sensors} == {dg.DefaultSensorStatus.RUNNING}
    assert {schedule.default_status for schedule in automation.schedules} == {dg.DefaultScheduleStatus.RUNNING}


def test_the_updates_sensor_keeps_its_range_runs_when_definitions_copy_it(automation: Automation) -> None:
    (sensor,) = [sensor for sensor in automation.sensors if sensor.name == "updates"]

    assert isinstance(sensor.with_attributes(jobs=None, metadata=None), UpdatesSensor)


def test_the_daily_schedule_is_at_two_utc(automation: Automation) -> None:
    schedule = automation.schedules[0]

    assert (schedule.name, schedule.cron_schedule, schedule.execution_timezone) == ("daily_olist", "0 2 * * *", "UTC")


def test_the_daily_runs_cover_what_has_landed_and_name_the_day(automation: Automation, tmp_path: Path) -> None:
    landing = Landing(str(tmp_path))
    land(landing, "orders", "2017-01", "2017-02", "2017-05")
    land(landing, "products", "snapshot")

    requests = daily(automation, landing).run_requests

    assert [request.run_key for request in requests] == ["2026-03-01:2017-01...2017-02", "2026-03-01:2017-05"]
    tables = {key.to_user_string() for key in requests[0].asset_selection}
    assert {"bronze/olist/orders", "silver/olist/orders", "gold/olist/fact_orders"} <= tables
    assert requests[0].tags["dagster/asset_partition_range_end"] == "2017-02"
    assert requests[0].tags["medallion/trigger"] == "schedule"


def test_a_day_on_which_nothing_has_landed_is_skipped_with_the_reason(automation: Automation, tmp_path: Path) -> None:
    assert daily(automation, Landing(str(tmp_path))).skip_message == "nothing has landed for olist"


@dg.op
def broken() -> None:
    raise ValueError("no such file")


@dg.job
def breaks() -> None:
    broken()


def alert(settings: Settings) -> None:
    instance = dg.DagsterInstance.ephemeral()
    result = breaks.execute_in_process(instance=instance, raise_on_error=False)
    (event,) = [event for event in result.all_events if event.is_run_failure]
    (sensor,) = failure_alerts(settings)
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()
    sensor(context)


def test_a_failed_run_is_logged_without_a_webhook(capfd: pytest.CaptureFixture[str]) -> None:
    alert(Settings(alert_webhook=None))

    assert "of breaks (whole tables): ValueError: no such file" in capfd.readouterr().err


def test_a_failed_run_is_posted_to_the_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("sensors.alerts.post", lambda url, message: posted.append((url, message)))

    alert(Settings(alert_webhook=SecretStr("https://hooks.example/secret")))

    ((url, message),) = posted
    assert url == "https://hooks.example/secret"
    assert "no such file" in message["text"]


def test_a_dead_webhook_is_logged_and_does_not_fail_the_sensor(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("medallion.alerts.PAUSES_SECONDS", ())

    alert(Settings(alert_webhook=SecretStr("http://127.0.0.1:9/services/secret")))

    logged = capfd.readouterr().err
    assert "was not delivered: the webhook can't be reached" in logged
    assert "services/secret" not in logged
