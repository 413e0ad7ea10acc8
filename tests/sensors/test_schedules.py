"""A domain that mirrors a database is refreshed twice an hour, for the months that its database has rows of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medallion.domains import declared_tables
from medallion.landing import Landing
from sensors.schedules import domain_schedules


@dataclass
class Known:
    """Stands in for the databases of a run."""

    days: Sequence[dt.date] = ()
    created: bool = True

    def has(self, domain: str) -> bool:
        return self.created

    def database(self, domain: str) -> Known:
        assert domain == "pagila"
        return self

    def event_days(self, table: str, column: str) -> Iterable[dt.date]:
        return self.days


@pytest.fixture(scope="module")
def schedule() -> Any:
    tables = declared_tables("assets")
    jobs = {domain: dg.define_asset_job(domain) for domain in {table.domain for table in tables}}
    found = {schedule.name: schedule for schedule in domain_schedules(tables, jobs, archiving=False)}
    assert set(found) == {"daily_olist", "refresh_pagila"}
    return found["refresh_pagila"]


def tick(schedule: Any, databases: Known, folder: Path) -> Any:
    context = dg.build_schedule_context(
        instance=dg.DagsterInstance.ephemeral(),
        scheduled_execution_time=dt.datetime(2026, 3, 1, 14, 30, tzinfo=dt.UTC),
        resources={"landing": Landing(str(folder)), "databases": databases},
    )
    with context:
        return schedule.evaluate_tick(context)


def test_it_is_often_enough_for_tables_that_may_be_an_hour_old(schedule: Any) -> None:
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("*/30 * * * *", "UTC")


def test_one_run_covers_the_months_of_the_database_with_their_gap(schedule: Any, tmp_path: Path) -> None:
    days = [dt.date(2024, 5, 31), dt.date(2024, 6, 1), dt.date(2024, 6, 2), dt.date(2024, 9, 30)]

    requests = tick(schedule, Known(days), tmp_path).run_requests

    assert [request.run_key for request in requests] == ["2026-03-01T14:30:2024-05...2024-09"]
    made = {key.to_user_string() for key in requests[0].asset_selection}
    assert {"bronze/pagila/rental", "silver/pagila/rental", "gold/pagila/fact_rental"} <= made
    assert not any("olist" in table for table in made)
    assert requests[0].tags["medallion/trigger"] == "schedule"


def test_without_a_database_it_is_skipped_with_the_next_step(schedule: Any, tmp_path: Path) -> None:
    skipped = tick(schedule, Known(created=False), tmp_path).skip_message

    assert skipped == "pagila has no database: set PAGILA_URL, or make one with: medallion generate pagila"
