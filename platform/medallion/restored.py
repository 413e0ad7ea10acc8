"""What a restore tells Dagster: new row counts for the table and for every partition whose rows it changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from medallion.delta.report import table_metadata
from medallion.delta.store import DeltaStore, column_types, data_files
from medallion.landing_sensor import LANDED
from medallion.partitions import WHOLE
from medallion.placement import partition_label, place

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from medallion.delta.restore import Restoration
    from medallion.tables import Table


def report_restore(
    instance: dg.DagsterInstance, store: DeltaStore, table: Table, plan: Restoration, restored: DeltaTable
) -> int:
    """Report runless materializations, so that pages show the restored rows and downstream tables are out of date.

    A partition that the version had not yet gets one with no rows: what is downstream of it must be made again too.
    What a table was made from stays as the last run reported it; the landing sensor would undo the restore otherwise.

    Args:
        instance: Dagster's.
        store: where the table is.
        table: its declaration.
        plan: what was restored.
        restored: the table at its new version.

    Returns:
        How many materializations were reported.
    """
    metadata = {
        **table_metadata(store, table.path, restored, table.contract.key),
        "delta/version": restored.version(),
        "delta/operation": "restore",
        "restored_version": plan.target,
    }
    rows = _rows_by_partition(instance, table, plan, restored)
    for key in rows or [None]:
        own = {"dagster/partition_row_count": rows[key]} if key is not None else {}
        event = dg.AssetMaterialization(
            asset_key=table.key, partition=key, metadata={**metadata, **own, **_landed(instance, table, key)}
        )
        instance.report_runless_asset_event(event)
    return len(rows) or 1


def is_reported(instance: dg.DagsterInstance, table: Table, version: int) -> bool:
    """Whether Dagster knows of a version, or of a newer one."""
    event = instance.get_latest_materialization_event(table.key)
    known = event.asset_materialization.metadata.get("delta/version") if event and event.asset_materialization else None
    return known is not None and isinstance(known.value, int) and known.value >= version


def _rows_by_partition(
    instance: dg.DagsterInstance, table: Table, plan: Restoration, restored: DeltaTable
) -> dict[str, int]:
    """Rows now by partition key, of the partitions that changed; empty for a table without partitions."""
    columns = list(table.partition_columns.values())
    if table.partitions is None or not columns:
        return {}
    keys = table.partitions.get_partition_keys(dynamic_partitions_store=instance)
    placed = place(table, keys, plan.partitions, column_types(restored.schema()))
    rows = {key: 0 for key in keys if key in set(placed.values())}
    for file in data_files(restored, WHOLE):
        key = placed.get(partition_label(columns, file.partition))
        if key is not None:
            rows[key] += file.rows
    return rows


def _landed(instance: dg.DagsterInstance, table: Table, key: str | None) -> Mapping[str, Any]:
    """The fingerprint of the landed files that the last materialization was made from."""
    if not table.reads_arrivals:
        return {}
    wanted = dg.AssetRecordsFilter(asset_key=table.key, asset_partitions=None if key is None else [key])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        event = record.asset_materialization
        if event is not None and LANDED in event.metadata:
            return {LANDED: event.metadata[LANDED]}
    return {}
