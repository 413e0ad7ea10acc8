"""The decorators: a transform function becomes a bronze, silver or gold table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.checks import TableCheck
from medallion.delta.maintenance import Maintenance
from medallion.delta.publish import WriteMode
from medallion.delta.scd2 import AbsentKeys
from medallion.delta.schema import SchemaEvolution
from medallion.tables import DeclarationError, Layer, MergeIn, OnBadPartition, Table, input_key

if TYPE_CHECKING:
    from pandera.pyspark import DataFrameModel

_READS: Mapping[Layer, tuple[Layer, ...]] = {"bronze": (), "silver": ("bronze", "silver"), "gold": ("silver", "gold")}
_RAW_PREFIX = "raw_"
_STAR_PREFIXES = ("dim_", "fact_")
_GIVEN: Mapping[Layer, tuple[str, ...]] = {
    "bronze": ("arrivals", "source"),
    "silver": ("selection",),
    "gold": ("selection",),
}
"""Parameters that stand for no table: the files that landed, a table of a database; the slice that is made."""

Decorator = Callable[[Callable[..., Any]], Table]


def bronze(**declaration: Any) -> Decorator:
    """Declare a bronze table: rows as they arrived. Takes what `table` takes."""
    return table("bronze", **declaration)


def silver(**declaration: Any) -> Decorator:
    """Declare a silver table: typed, deduplicated, conformed rows. Takes what `table` takes.

    The first input, if it is bronze, is the primary one: its rows carry `_raw`, which quarantine keeps, and the rows
    in, out, quarantined and deduplicated must add up.
    """
    return table("silver", **declaration)


def gold(**declaration: Any) -> Decorator:
    """Declare a gold table: facts, dimensions and marts over silver and gold. Takes what `table` takes."""
    return table("gold", **declaration)


def table(
    layer: Layer,
    *,
    contract: type[DataFrameModel[Any]],
    partitions: dg.PartitionsDefinition[Any] | None = None,
    ins: Mapping[str, str | dg.AssetIn] | None = None,
    domain: str | None = None,
    owner: str | None = None,
    mode: WriteMode = "replace",
    absent: AbsentKeys = "keep",
    schema_evolution: SchemaEvolution = "strict",
    latest_by: Sequence[str] = (),
    checks: Sequence[TableCheck] = (),
    max_rejected: float = 0.05,
    on_bad_partition: OnBadPartition = "block",
    tags: Mapping[str, str] | None = None,
    freshness: dg.FreshnessPolicy | None = None,
    code_version: str | None = None,
    change_feed: bool = False,
    merge_in: MergeIn = "process",
    maintenance: Maintenance | None = None,
    event_time: str | None = None,
) -> Decorator:
    """Declare a table of a layer.

    Args:
        layer: where the table is; bronze reads no table, silver bronze and silver, gold silver and gold.
        contract: pandera model of the columns; `Config.unique` is the key, `metadata={"partition": True}` the
            partition column.
        partitions: Dagster partitions; none for a table that is always written whole.
        ins: inputs by parameter, as `layer/domain/table` or `AssetIn`. A parameter that is not named here stands for
            a table of the same domain: `raw_x` for bronze x, `dim_x` and `fact_x` for those of gold, any other for
            silver.
        domain: the package of the calling module by default: `assets.olist.silver` declares `olist` tables.
        owner: team (`team:x`) or e-mail address.
        mode: `replace` the slice, `append` to the table, `merge` by key, or keep the history of every key (`scd2`; the
            contract extends `Versioned`).
        absent: for `scd2`: `keep` leaves keys alone that a write doesn't name; `close` takes a write as a full snapshot
            and ends them at the moment that the transform returns in `_snapshot_at`; the rows of a first input that
            mirrors a database's table carry it.
        schema_evolution: what a write may change about the columns.
        latest_by: columns that say which row of a key wins, most significant first.
        checks: table checks beyond key uniqueness, reconciliation and row-count bounds.
        max_rejected: share of rejected rows of any partition above which it is not written.
        on_bad_partition: `block` to publish nothing of a write that has a partition which fails a blocking check,
            `isolate` to publish the other partitions; the run fails either way.
        tags: Dagster tags.
        freshness: Dagster freshness policy.
        code_version: changes when the transform's meaning changes.
        change_feed: keep which rows each version inserted, updated and deleted, for `medallion changes`.
        merge_in: `process` to merge by delta-rs in the run's process, `engine` for merges too large for one machine, as
            Delta MERGE on Spark's executors. The embedded engine merges in the process.
        maintenance: compaction, z-order, retention and archive; by default those of the layer.
        event_time: of a bronze table that reads a database, the column whose values say which partitions there are
            to make of it.

    Raises:
        DeclarationError: the table can't be part of the graph.
    """

    def declare(transform: Callable[..., Any]) -> Table:
        home = domain or _domain_of(transform)
        named = dict(ins or {})
        parameters = [name for name in inspect.signature(transform).parameters if name not in _GIVEN[layer]]
        if unknown := sorted(set(named) - set(parameters)):
            raise DeclarationError(f"{layer}/{home}/{transform.__name__}: ins names {unknown}, which are no parameters")
        declared = Table(
            layer=layer,
            domain=home,
            name=transform.__name__,
            transform=transform,
            model=contract,
            inputs={name: _input(layer, home, name, named.get(name)) for name in parameters},
            partitions=partitions,
            mode=mode,
            absent=absent,
            schema_evolution=schema_evolution,
            latest_by=tuple(latest_by),
            table_checks=tuple(checks),
            max_rejected=max_rejected,
            on_bad_partition=on_bad_partition,
            owners=(owner,) if owner else (),
            tags=dict(tags or {}),
            freshness=freshness,
            code_version=code_version,
            change_feed=change_feed,
            merge_in=merge_in,
            care=maintenance,
            event_time=event_time,
        )
        require_layering(declared)
        declared.validate()
        return declared

    return declare


def require_layering(declared: Table) -> None:
    """Refuse an input from a layer that the table's layer may not read.

    Raises:
        DeclarationError: names the edge and the layers that are allowed.
    """
    allowed = _READS[declared.layer]
    for label in sorted(declared.reads):
        if label.split("/")[0] not in allowed:
            raise DeclarationError(f"{declared.label}: a check reads {label}, but {declared.layer} may not read it")
    for parameter, asset_in in declared.inputs.items():
        key = input_key(asset_in)
        if key.path[0] not in allowed:
            raise DeclarationError(
                f"{declared.label} reads {key.to_user_string()} (parameter {parameter!r}), but {declared.layer} may "
                f"read only {' and '.join(allowed) or 'sources'}; build a silver table in between"
            )


def _domain_of(transform: Callable[..., Any]) -> str:
    parts = transform.__module__.split(".")
    if len(parts) < 2:
        raise DeclarationError(f"{transform.__module__}.{transform.__name__} is in no domain package; pass domain=…")
    return parts[-2]


def _input(layer: Layer, domain: str, parameter: str, given: str | dg.AssetIn | None) -> dg.AssetIn:
    if isinstance(given, dg.AssetIn):
        return given
    if isinstance(given, str):
        return dg.AssetIn(key=dg.AssetKey(given.split("/")))
    if parameter.startswith(_RAW_PREFIX):
        return dg.AssetIn(key=dg.AssetKey(["bronze", domain, parameter.removeprefix(_RAW_PREFIX)]))
    source = "gold" if layer == "gold" and parameter.startswith(_STAR_PREFIXES) else "silver"
    return dg.AssetIn(key=dg.AssetKey([source, domain, parameter]))
