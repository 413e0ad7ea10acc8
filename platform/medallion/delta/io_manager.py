"""The IO manager: exact slices of Delta tables in, one commit per write out."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_deltalake import DeltaLakeIOManager
from dagster_deltalake.config import AzureConfig, ClientConfig, GcsConfig, S3Config

from medallion.candidate import Candidate
from medallion.delta.archive import require_not_archived
from medallion.delta.commits import commit_metadata, transactions
from medallion.delta.conditional_put import require_conditional_put
from medallion.delta.frames import empty, frame_types, is_spark_type, load, read_spark, stage_writer, streamed
from medallion.delta.publish import Write, publish
from medallion.delta.report import COLUMN_SCHEMA, output_metadata
from medallion.delta.snapshots import Snapshots
from medallion.delta.staging import OUTCOME, write_stage
from medallion.delta.store import DeltaStore, TableMissingError
from medallion.engine.resource import SparkEngine
from medallion.faults import Fault, fault
from medallion.partitions import WHOLE, Slice, SliceError, slice_of
from medallion.quarantine import replace_slices
from medallion.run_folder import run_folder
from medallion.run_partitions import announce_only, read_keys, run_keys
from medallion.settings import Settings
from medallion.storage_errors import ExplainedStorage

MODE, KEYS, EVOLUTION, PARTITION_BY = (
    "medallion/mode",
    "medallion/keys",
    "medallion/schema_evolution",
    "medallion/partition_by",
)


class LakeIOManager(DeltaLakeIOManager):
    """Stores assets as Delta tables at `<root_uri>/<asset key>`, on local disk or an object store.

    Keeps the configuration of `DeltaLakeIOManager`, and replaces its handler, which replaces the whole table when a
    predicate can't be built and reads only the first of several partitions. An asset's definition metadata may set
    `partition_expr`, `medallion/mode`, `medallion/keys`, `medallion/schema_evolution` and `medallion/partition_by`.
    """

    engine: dg.ResourceDependency[SparkEngine]

    @staticmethod
    def type_handlers() -> Sequence[Any]:
        """None: frames are told apart by `medallion.delta.frames`."""
        return []

    @ExplainedStorage()
    def create_io_manager(self, context: Any) -> "LakeStorage":  # type: ignore[override]
        """Make the IO manager of a run or a step, unless two writers could win the same commit on its store."""
        store = DeltaStore(
            root=self.root_uri.rstrip("/"),
            storage_options=delta_options(self.storage_options, self.client_options),
            table_config=self.table_config or {},
        )
        require_conditional_put(store)
        return LakeStorage(store, self.engine, run_folder(Settings().home, context.run))


class LakeStorage(dg.IOManager):
    """The IO manager of a run or a step; assets read its `snapshots`, write to its `store`, compute in its `engine`."""

    def __init__(self, store: DeltaStore, engine: SparkEngine, pins: Path | None = None) -> None:
        self.store = store
        self.snapshots = Snapshots(store.root, store.storage_options, store.table_config, pins)
        self.engine = engine

    @ExplainedStorage()
    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Publish a candidate, or stage and publish a plain frame, in one commit."""
        candidate = obj if isinstance(obj, Candidate) else self._stage(context, obj)
        started = time.perf_counter()
        write = candidate.write
        self.snapshots.forget(write.table)
        published = publish(write)
        if candidate.rejected is not None:
            replace_slices(self.store, candidate.rejected)
        write.stage.discard(keep=published.kept)
        seconds = candidate.seconds + time.perf_counter() - started
        metadata = {**output_metadata(write, published, seconds), **candidate.metadata}
        if candidate is obj and len(write.selection.keys) > 1:
            # Dagster repeats output metadata for every partition; the asset gives the columns to the last one only.
            del metadata[COLUMN_SCHEMA]
        context.add_output_metadata(metadata)
        if context.has_asset_partitions:
            announce_only(context, write.selection.keys)
        fault(Fault.BEFORE_EVENT, write.table)

    @ExplainedStorage()
    def load_input(self, context: dg.InputContext) -> Any:
        """Read the slice that the partition mapping selects, the declared columns only."""
        kind = context.dagster_type.typing_type
        path = tuple(context.asset_key.path)
        columns = (context.definition_metadata or {}).get("columns")
        selection = _input_slice(context)
        if path[0] == "bronze":
            require_not_archived(self.snapshots, path, selection)
        try:
            if is_spark_type(kind):
                return read_spark(self.engine.spark_session, self.snapshots, path, selection, columns)
            return load(kind, self.snapshots.open(path), selection, columns)
        except TableMissingError:
            if selection.boxes:
                raise
            # The first partition of a self-dependency reads nothing, before the table exists.
            return empty(kind, _declared_schema(context), lambda: self.engine.spark_session)

    def _stage(self, context: dg.OutputContext, frame: Any) -> Candidate:
        """Stage a frame of an asset that has no contract; its schema is the frame's own."""
        from deltalake import Schema

        started = time.perf_counter()
        metadata = _plain(context.definition_metadata)
        path = tuple(context.asset_key.path)
        keys = tuple(run_keys(context.step_context))
        expression = metadata.get("partition_expr")
        selection = WHOLE
        if context.has_asset_partitions:
            if expression is None:
                raise SliceError(
                    f"{'/'.join(path)} is partitioned but does not say on which column; set metadata "
                    "partition_expr to the column, or to a column per dimension"
                )
            selection = slice_of(context.asset_partitions_def, keys, expression)
        mode = metadata.get(MODE, "replace")
        frame = streamed(frame)
        table = self.store.find(path)
        partition_by = (
            tuple(table.metadata().partition_columns)
            if table is not None
            else tuple(metadata.get(PARTITION_BY) or _physical(frame, selection))
        )
        names = list(frame_types(frame))  # an engine may write partition columns last
        stage = write_stage(self.store, path, partition_by, stage_writer(frame, self.store))
        staged = {item.name: item for item in stage.schema.fields}
        schema = Schema([_nullable(staged[name]) for name in names if name != OUTCOME])
        run_id = context.run_id
        root_run_id = context.step_context.dagster_run.root_run_id or run_id
        write = Write(
            stage=stage,
            selection=selection,
            schema=schema,
            partition_by=partition_by,
            mode=mode,
            keys=tuple(metadata.get(KEYS, ())),
            evolution=metadata.get(EVOLUTION, "strict"),
            transactions=transactions(mode, "/".join(path), root_run_id, keys),
            commit=commit_metadata("/".join(path), run_id, keys, None),
        )
        rows = {keys[0]: stage.rows("passed")} if len(keys) == 1 else {}
        extra = {"dagster/partition_row_count": rows[keys[0]]} if rows else {}
        return Candidate(write, None, time.perf_counter() - started, extra)


def delta_options(storage: Any, client: ClientConfig | None = None) -> dict[str, str]:
    """The options of the IO manager's configuration as delta-rs takes them.

    Args:
        storage: one of dagster-deltalake's storage configurations.
        client: HTTP client options.
    """
    options: dict[str, str] = {}
    if isinstance(storage, S3Config | AzureConfig | GcsConfig):
        prefix = "AWS_" if isinstance(storage, S3Config) else ""
        for name, value in storage.str_dict().items():
            if name != "provider" and value != "False":
                options[f"{prefix}{_DELTA_NAMES.get(name, name)}".upper()] = value
    if client is not None:
        allow_http = client.str_dict().get("allow_http")
        options |= {"AWS_ALLOW_HTTP": allow_http.lower()} if allow_http else {}
        options |= {name: value for name, value in client.str_dict().items() if name != "allow_http"}
    return options


_DELTA_NAMES = {"endpoint": "endpoint_url", "token": "session_token"}


def _input_slice(context: dg.InputContext) -> Slice:
    if not context.has_asset_partitions:
        return WHOLE
    upstream = context.upstream_output
    metadata = _plain(upstream.definition_metadata if upstream is not None else None)
    expression = metadata.get("partition_expr")
    if expression is None:
        raise SliceError(
            f"{context.asset_key.to_user_string()} is partitioned but does not say on which column; set metadata "
            "partition_expr on it"
        )
    if reads_whole(context.step_context, context.asset_key):
        return WHOLE
    return slice_of(context.asset_partitions_def, read_keys(context.step_context, context.name), expression)


def reads_whole(step: Any, upstream: dg.AssetKey) -> bool:
    """Whether a step's asset reads all of a table, rows of keys that are no longer defined included.

    Args:
        step: Dagster's step execution context. An asset without partitions may be part of a partitioned run.
        upstream: the table; an explicit partition mapping to it is followed.
    """
    if step.entity_partitions_def is not None or step.assets_def is None:
        return step.assets_def is None
    mapping = step.assets_def.get_partition_mapping_for_dep(upstream)
    return mapping is None or isinstance(mapping, dg.AllPartitionMapping)


def _declared_schema(context: dg.InputContext) -> Any:
    from deltalake import Schema

    upstream = context.upstream_output
    declared = _plain(upstream.definition_metadata if upstream is not None else None).get("medallion/schema")
    return Schema.from_json(declared) if declared else Schema([])


def _physical(frame: Any, selection: Slice) -> tuple[str, ...]:
    """Slice columns that a new table is physically partitioned by: those with one value per partition."""
    kinds = frame_types(frame)
    columns = sorted(column for column in selection.columns if not kinds.get(column, "").startswith("timestamp"))
    # A data file needs a column of its own.
    return tuple(columns) if set(columns) < set(kinds) else ()


def _nullable(item: Any) -> Any:
    from deltalake import Field

    return Field(item.name, item.type, nullable=True, metadata=item.metadata)


def _plain(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        key: value.value if isinstance(value, dg.MetadataValue) else value for key, value in (metadata or {}).items()
    }
