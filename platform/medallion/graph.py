"""Declared tables become Dagster's asset graph: keys, groups, checks, metadata and policies in one place."""

from __future__ import annotations

import datetime as dt
import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import dagster as dg

from medallion.candidate import Candidate
from medallion.delta.io_manager import reads_whole
from medallion.delta.report import COLUMN_SCHEMA, column_schema
from medallion.landing import SNAPSHOT
from medallion.landing_sensor import LANDED, landed_fingerprints
from medallion.partition_events import bad_partitions, evaluations
from medallion.pipeline import Making
from medallion.retries import RetryPassing, retry_passing
from medallion.run_partitions import read_keys, run_keys
from medallion.settings import Settings
from medallion.storage_errors import ExplainedStorage
from medallion.tables import DeclarationError, Table, input_key
from medallion.updates import on_update
from medallion.verdict import Verdict, check_specs

LANDING = "landing"
DATABASES = "databases"
IO_MANAGER = "io_manager"
STORAGE_KIND = "deltalake"


def tables_in(modules: Iterable[ModuleType]) -> list[Table]:
    """The tables that modules declare, in order of declaration."""
    return [value for module in modules for value in vars(module).values() if isinstance(value, Table)]


def build_assets(tables: Iterable[Table]) -> list[dg.AssetsDefinition]:
    """One asset per table.

    Raises:
        DeclarationError: two tables have one key, or an input is no declared table.
    """
    by_label: dict[str, Table] = {}
    for table in tables:
        if table.label in by_label:
            raise DeclarationError(f"{table.label} is declared twice")
        by_label[table.label] = table
    for table in by_label.values():
        for parameter, asset_in in table.inputs.items():
            label = "/".join(input_key(asset_in).path)
            if label not in by_label:
                raise DeclarationError(
                    f"{table.label}: parameter {parameter!r} stands for {label}, which no table declares; name its "
                    f"input with ins={{{parameter!r}: 'layer/domain/table'}}"
                )
        _require_countable(table, by_label)
        if unknown := sorted(table.reads - by_label.keys()):
            raise DeclarationError(f"{table.label}: checks read {unknown}, which no table declares")
    with warnings.catch_warnings():
        # Backfill policies and code references are beta by name only; pinned, they don't change under us.
        warnings.simplefilter("ignore", dg.BetaWarning)
        retries = retry_passing(Settings().retry_delay)
        return [_asset(table, by_label, retries) for table in by_label.values()]


def _require_countable(table: Table, tables: Mapping[str, Table]) -> None:
    """Refuse to isolate partitions whose rows can't be reconciled one by one."""
    if table.on_bad_partition == "isolate" and table.primary is not None:
        parameter, key = table.primary
        source = tables["/".join(key.path)]
        if not table.reads_alike(source, parameter):
            raise DeclarationError(
                f"{table.label}: on_bad_partition='isolate' needs the partitions of its first input {source.label} to "
                "be its own, so that the rows of every partition add up; declare them alike, or 'block'"
            )


def _asset(table: Table, tables: Mapping[str, Table], retries: RetryPassing) -> dg.AssetsDefinition:
    """The asset of a table: a generator that yields check results before its output, so that nothing bad is stored."""
    landing = {LANDING} if table.reads_arrivals else set()
    databases = {DATABASES} if table.reads_source else set()

    def events(context: dg.AssetExecutionContext, inputs: Mapping[str, Any]) -> Iterator[Any]:
        step = context.get_step_execution_context()
        # Taken before the files are read: if one changes in between, the landing sensor runs the slice once more.
        landed = landed_fingerprints(table, getattr(context.resources, LANDING)) if landing else {}
        making = Making(
            table=table,
            tables=tables,
            storage=getattr(context.resources, IO_MANAGER),
            keys=table.select(run_keys(step)).keys,
            input_keys=lambda parameter: _input_keys(step, table, parameter),
            made=context.instance.get_materialized_partitions,
            run_id=context.run.run_id,
            root_run_id=context.run.root_run_id or context.run.run_id,
            started=dt.datetime.now(dt.UTC),
        )
        origin = getattr(context.resources, LANDING) if landing else None
        if databases:
            origin = getattr(context.resources, DATABASES).database(table.domain)
            if Settings().captures(table.domain):
                origin.follow(making.storage.store, tables.values())
        for event in making.run(inputs, origin):
            if isinstance(event, dg.AssetCheckResult):
                yield event
                continue
            if isinstance(event, Verdict):
                yield from event.results()
                yield from evaluations(step, event)
                continue
            candidate = event.value
            for key, own in _by_partition(candidate, table).items():
                seen = {LANDED: landed[key]} if key in landed else {}
                context.add_asset_metadata({**own, **seen}, partition_key=key)
            if not candidate.partitions and SNAPSHOT in landed:
                context.add_asset_metadata({LANDED: landed[SNAPSHOT]})
            yield event
            if candidate.bad:
                raise bad_partitions(table, candidate.bad, len(candidate.partitions))

    def make(context: dg.AssetExecutionContext, **inputs: Any) -> Iterator[Any]:
        with ExplainedStorage():
            yield from events(context, inputs)

    _sign(make, table)
    decorate = dg.asset(
        key=table.key,
        ins=dict(table.inputs),
        deps=[tables[label].key for label in sorted(table.reads)],
        description=table.description,
        group_name=table.group,
        kinds={table.layer, STORAGE_KIND, _kind(table)},
        owners=list(table.owners) or None,
        tags=dict(table.tags) or None,
        partitions_def=table.partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if table.partitions is not None else None,
        check_specs=check_specs(table),
        output_required=False,
        io_manager_key=IO_MANAGER,
        required_resource_keys={IO_MANAGER, *landing, *databases},
        freshness_policy=table.freshness,
        code_version=table.version,
        pool="_".join(table.path),
        retry_policy=retries,
        automation_condition=on_update(table, tables),
        metadata=_definition_metadata(table),
    )
    return decorate(make)


def _kind(table: Table) -> str:
    """What the rows are made of, as the UI shows it."""
    if table.reads_arrivals:
        return "csv"
    return "postgres" if table.reads_source else "pyspark"


def _by_partition(candidate: Candidate, table: Table) -> dict[str, dict[str, Any]]:
    """The numbers of each partition; of several the last one tells the columns, which are the same for all."""
    told = {key: dict(own) for key, own in candidate.partitions.items()}
    if len(told) > 1:
        told[list(told)[-1]][COLUMN_SCHEMA] = column_schema(candidate.write.schema, table.contract.key)
    return told


def _input_keys(step: Any, table: Table, parameter: str) -> Sequence[str] | None:
    return None if reads_whole(step, input_key(table.inputs[parameter])) else read_keys(step, parameter)


def _definition_metadata(table: Table) -> dict[str, Any]:
    schema = table.schema
    columns = table.partition_columns
    metadata: dict[str, Any] = {
        COLUMN_SCHEMA: column_schema(schema, table.contract.key),
        "dagster/table_name": ".".join(table.path),
        "medallion/schema": schema.to_json(),
        "medallion/mode": table.mode,
        "dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[_source(table)]),
    }
    if columns:
        metadata["partition_expr"] = columns if len(columns) > 1 else next(iter(columns.values()))
    return metadata


def _source(table: Table) -> dg.LocalFileCodeReference:
    code = table.transform.__code__
    return dg.LocalFileCodeReference(file_path=code.co_filename, line_number=code.co_firstlineno)


def _sign(make: Any, table: Table) -> None:
    """Give the body the transform's own inputs, so that Dagster and the IO manager see their annotations."""
    wanted = inspect.signature(table.transform, eval_str=True).parameters
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=dg.AssetExecutionContext)
    inputs = [wanted[name] for name in table.inputs]
    make.__signature__ = inspect.Signature([context, *inputs])
    make.__annotations__ = {parameter.name: parameter.annotation for parameter in [context, *inputs]}
    make.__name__ = table.name
    make.__module__ = table.transform.__module__
