"""The landing sensor: files that arrived or changed become runs of just the bronze slices they are in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.landing import SNAPSHOT
from medallion.planning import TRIGGER, PlannedRun, plan_runs
from medallion.tables import Table

if TYPE_CHECKING:
    from medallion.landing import Landing

LANDED = "medallion/landed"
"""Metadata of a bronze materialization: the fingerprint of the landed files that it was made from."""
SENSOR_SECONDS = 30
BATCH_SLICES = 20
"""Slices that one tick starts: of every table that has them, so that the months of one export stay together."""
_SHOWN = 6

Made = Callable[[Table, str], str | None]
"""Fingerprint of the files that a slice of a table was last made from; None if that is not known."""


@dataclass(frozen=True)
class Cursor:
    """What earlier ticks have dealt with.

    Attributes:
        tick: how many ticks have started runs. It is part of a run's key, so that a file that changes back to an
            earlier content runs again.
        slices: fingerprint by `table/slice`.
        passed_over: landed `table/slice` that no bronze table has.
    """

    tick: int = 0
    slices: Mapping[str, str] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Cursor:
        """Read a stored cursor; none is the beginning.

        Raises:
            ValueError: it was written by something else.
        """
        if not text:
            return cls()
        try:
            stored = json.loads(text)
            return cls(int(stored["tick"]), dict(stored["slices"]), tuple(stored["passed_over"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                "the stored cursor is not one of a landing sensor; reset it on the sensor's page: slices that are made "
                "from the files as they are now won't run again"
            ) from error

    def dump(self) -> str:
        """As the instance stores it."""
        stored = {"tick": self.tick, "slices": dict(self.slices), "passed_over": self.passed_over}
        return json.dumps(stored, separators=(",", ":"))


@dataclass(frozen=True)
class Arrived:
    """One tick: the runs to start, the cursor after it, and what else a person should know.

    Attributes:
        runs: what to run, with the key that keeps a repeated tick from running it twice.
        cursor: after the tick.
        removed: `table/slice` whose files are gone; their rows stay.
        passed_over: `table/slice` that no bronze table has and that were not there at the last tick.
        waiting: slices left to the next tick.
    """

    runs: Sequence[tuple[str, PlannedRun]]
    cursor: Cursor
    removed: Sequence[str]
    passed_over: Sequence[str]
    waiting: int


def landing_sensor(
    domain: str,
    tables: Sequence[Table],
    job: Any,
    *,
    batch: int = BATCH_SLICES,
    status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.RUNNING,
) -> dg.SensorDefinition:
    """A sensor that lists a domain's landing zone and runs the bronze slices that arrived or changed.

    It needs the resource `landing`. A slice whose table was last made from the files as they are now doesn't run, so
    the sensor can be started, restarted or reset at any time, and beside `medallion run`.

    Args:
        domain: folder of the landing zone.
        tables: all declared tables.
        job: the domain's job, of which it runs a part.
        batch: slices per tick.
        status: whether it runs before anybody has said so.
    """
    bronze = [table for table in tables if table.domain == domain and table.reads_arrivals]

    @dg.sensor(
        name=f"landing_{domain}",
        job=job,
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=status,
        required_resource_keys={"landing"},
        description=f"Runs the bronze tables of {domain} for files that arrived or changed; at most {batch} slices a "
        "tick. What follows from them is the work of the updates sensor.",
    )
    def sense(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        landed = context.resources.landing.scan(domain)
        arrived = sense_arrivals(bronze, landed, Cursor.parse(context.cursor), _made(context.instance), batch)
        if arrived.passed_over:
            context.log.warning(
                f"{_listed(arrived.passed_over)} landed in {domain}, but no bronze table has such a slice: rename the "
                "folder, or declare the table or its partitions"
            )
        if arrived.removed:
            context.log.info(f"files of {_listed(arrived.removed)} are gone; the rows they brought stay")
        if arrived.waiting:
            context.log.info(f"{arrived.waiting} more slices wait for the next tick")
        requests = [
            dg.RunRequest(run_key=key, asset_selection=list(run.assets), tags={**run.tags, TRIGGER: "landing"})
            for key, run in arrived.runs
        ]
        skip = None if requests else dg.SkipReason(_why_not(domain, arrived))
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=arrived.cursor.dump())

    return sense


def sense_arrivals(
    tables: Sequence[Table], landed: Mapping[tuple[str, str], str], cursor: Cursor, made: Made, batch: int
) -> Arrived:
    """Compare a listing with what earlier ticks have dealt with.

    Args:
        tables: bronze tables of the domain.
        landed: fingerprint by (table, slice).
        cursor: of the last tick.
        made: asked for the slices that are new to the cursor.
        batch: slices to start at most; snapshots come first and count as one.

    Raises:
        SelectionError: bronze tables that share a slice have different partitions.
    """
    by_name = {table.name: table for table in tables}
    keys = {table.name: _positions(table) for table in tables}
    known = {item: stamp for item, stamp in landed.items() if item[1] in keys.get(item[0], {})}
    unknown = tuple(sorted(_label(item) for item in landed.keys() - known.keys()))
    labels = {_label(item) for item in known}
    slices = {label: stamp for label, stamp in cursor.slices.items() if label in labels}
    removed = sorted(cursor.slices.keys() - slices.keys())
    changed: dict[str, list[tuple[str, str]]] = {}
    for item in sorted(known, key=lambda item: (keys[item[0]][item[1]], item)):
        if slices.get(_label(item)) != known[item]:
            changed.setdefault(item[1], []).append(item)
    started: list[tuple[str, str]] = []
    taken = waiting = 0
    for items in changed.values():
        if taken == batch:
            waiting += 1
            continue
        stale = [item for item in items if made(by_name[item[0]], item[1]) != known[item]]
        slices.update({_label(item): known[item] for item in items})
        started += stale
        taken += bool(stale)
    tick = cursor.tick + bool(started)
    runs = [(_run_key(tables, run, started, known, tick), run) for run in _runs(tables, started)]
    news = [label for label in unknown if label not in cursor.passed_over]
    return Arrived(runs, Cursor(tick, slices, unknown), removed, news, waiting)


def changed_slices(tables: Sequence[Table], landing: Landing, instance: dg.DagsterInstance) -> list[PlannedRun]:
    """The runs of bronze tables whose slices are not made from the files as they are now.

    Args:
        tables: of any domains; those that read no files are left out.
        landing: the landing zone.
        instance: knows what slices were made from.
    """
    runs: list[PlannedRun] = []
    for domain in sorted({table.domain for table in tables if table.reads_arrivals}):
        own = [table for table in tables if table.domain == domain and table.reads_arrivals]
        landed = landing.scan(domain)
        runs += [run for _, run in sense_arrivals(own, landed, Cursor(), _made(instance), len(landed)).runs]
    return runs


def landed_fingerprints(table: Table, landing: Landing) -> dict[str, str]:
    """Fingerprint of the landed files of every slice of a table."""
    return {slice_key: stamp for (_, slice_key), stamp in landing.scan(table.domain, table.name).items()}


def _made(instance: dg.DagsterInstance) -> Made:
    """Ask the instance for the newest materialization of a slice."""

    def fingerprint(table: Table, slice_key: str) -> str | None:
        partitions = None if table.partitions is None else [slice_key]
        wanted = dg.AssetRecordsFilter(asset_key=table.key, asset_partitions=partitions)
        for record in instance.fetch_materializations(wanted, limit=1).records:
            event = record.asset_materialization
            value = event.metadata.get(LANDED) if event is not None else None
            return str(value.value) if value is not None else None
        return None

    return fingerprint


def _positions(table: Table) -> dict[str, int]:
    """Order of the slices that a table can have."""
    if table.partitions is None:
        return {SNAPSHOT: -1}
    return {key: position for position, key in enumerate(table.partitions.get_partition_keys())}


def _runs(tables: Sequence[Table], started: Sequence[tuple[str, str]]) -> list[PlannedRun]:
    """One run for the whole tables, and one per contiguous range of slices that the same tables have."""
    names: dict[str, set[str]] = {}
    for name, slice_key in started:
        names.setdefault(slice_key, set()).add(name)
    alike: dict[frozenset[str], list[str]] = {}
    for slice_key, having in names.items():
        alike.setdefault(frozenset(having), []).append(slice_key)
    runs = []
    for these, slice_keys in alike.items():
        whole = [table for table in tables if table.name in these and table.partitions is None]
        parts = [table for table in tables if table.name in these and table.partitions is not None]
        runs += plan_runs(whole, ()) + plan_runs(parts, slice_keys)
    return runs


def _run_key(
    tables: Sequence[Table],
    run: PlannedRun,
    started: Sequence[tuple[str, str]],
    landed: Mapping[tuple[str, str], str],
    tick: int,
) -> str:
    """Name the run by its slices and the content of their files."""
    positions = {table.name: _positions(table) for table in tables if table.key in run.assets}
    lines = []
    for name, slice_key in sorted(started):
        order = positions.get(name, {})
        if slice_key in order and (
            run.first is None or run.last is None or order[run.first] <= order[slice_key] <= order[run.last]
        ):
            lines.append(f"{name}/{slice_key} {landed[name, slice_key]}")
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return f"{tick}:{run.label}:{digest}"


def _label(item: tuple[str, str]) -> str:
    return "/".join(item)


def _why_not(domain: str, arrived: Arrived) -> str:
    parts = [f"nothing new in {domain}: {len(arrived.cursor.slices)} slices are as they were"]
    if arrived.removed:
        parts.append(f"files of {_listed(arrived.removed)} are gone, the rows they brought stay")
    if arrived.cursor.passed_over:
        parts.append(f"passed over, as no bronze table has such a slice: {_listed(arrived.cursor.passed_over)}")
    return "; ".join(parts)


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - _SHOWN
    return ", ".join(labels[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
