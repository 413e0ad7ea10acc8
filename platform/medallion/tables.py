"""A table's declaration: everything that the framework derives an asset, its checks and its storage from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import dagster as dg

from medallion.checks import RowCountInBounds, RowsReconcile, TableCheck, UniqueKey
from medallion.code_version import code_version_of
from medallion.contracts import Contract, HistoryRole
from medallion.delta.change_feed import PROPERTIES as CHANGE_FEED
from medallion.delta.maintenance import BRONZE, DERIVED, Maintenance
from medallion.delta.publish import WriteMode
from medallion.delta.scd2 import AbsentKeys, History
from medallion.delta.schema import SchemaEvolution
from medallion.mirror_checks import RowsMatchSource, TotalsMatchSource
from medallion.partitions import Slice, slice_of
from medallion.rules import not_null

if TYPE_CHECKING:
    from deltalake import Schema
    from pandera.pyspark import DataFrameModel

Layer = Literal["bronze", "silver", "gold"]
OnBadPartition = Literal["block", "isolate"]
MergeIn = Literal["process", "engine"]


_HISTORY = get_args(HistoryRole)


class DeclarationError(ValueError):
    """A table that can't be part of the graph; raised when definitions load."""


@dataclass(frozen=True, eq=False)
class Table:
    """A declared table; calling it calls its transform.

    Attributes:
        layer: bronze, silver or gold.
        domain: the package below `assets/` it belongs to.
        name: the transform's name.
        transform: the pure function that makes the rows.
        model: its contract as written.
        inputs: Dagster inputs by parameter of the transform, the primary one first.
        partitions: Dagster partitions; None for a table that is always written whole.
        mode: `replace` the slice, `append` to the table, `merge` by the contract's key, or keep the history (`scd2`).
        absent: what `scd2` does about keys that a write doesn't name: `keep` them, or `close` them at `_snapshot_at`.
        schema_evolution: what a write may change about the columns.
        latest_by: columns that say which row of a key wins; empty for no deduplication.
        table_checks: conditions on the whole candidate beyond those that follow from the contract.
        max_rejected: share of rejected rows (0..1) of any partition above which it is not written.
        on_bad_partition: whether a partition that fails a blocking check keeps the others of its run from being
            published (`block`) or only itself (`isolate`).
        owners: teams (`team:x`) or e-mail addresses.
        tags: Dagster tags.
        freshness: Dagster freshness policy.
        code_version: changes when the transform's meaning changes; by default a hash of its code and contract.
        change_feed: whether the table keeps which rows each version inserted, updated and deleted.
        merge_in: where a merge is computed: `process` by delta-rs, or `engine` by Delta MERGE on Spark's executors.
        care: how the table is maintained as declared; None for the default of its layer.
        event_time: of a table of a database, the column by whose values partitions made from it exist.
    """

    layer: Layer
    domain: str
    name: str
    transform: Callable[..., Any]
    model: type[DataFrameModel[Any]]
    inputs: Mapping[str, dg.AssetIn]
    partitions: dg.PartitionsDefinition[Any] | None = None
    mode: WriteMode = "replace"
    absent: AbsentKeys = "keep"
    schema_evolution: SchemaEvolution = "strict"
    latest_by: tuple[str, ...] = ()
    table_checks: tuple[TableCheck, ...] = ()
    max_rejected: float = 0.05
    on_bad_partition: OnBadPartition = "block"
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    freshness: dg.FreshnessPolicy | None = None
    code_version: str | None = None
    change_feed: bool = False
    merge_in: MergeIn = "process"
    care: Maintenance | None = None
    event_time: str | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the transform alone, as a test does."""
        return self.transform(*args, **kwargs)

    @cached_property
    def contract(self) -> Contract:
        """The compiled contract."""
        return Contract.of(self.model)

    @cached_property
    def schema(self) -> Schema:
        """The Delta schema of the table: the contract's, whose texts are nullable in a table that rows are merged into.

        Sail can't read NOT NULL texts from files that a MERGE of delta-rs wrote. The contract's rules refuse a NULL
        before it gets there.
        """
        from deltalake import Field, Schema
        from deltalake.schema import PrimitiveType

        declared = self.contract.delta_schema()
        if self.mode not in ("merge", "scd2") and not self.reads_source:
            return declared
        return Schema(
            [
                item
                if isinstance(item.type, PrimitiveType) and item.type.type not in ("string", "binary")
                else Field(item.name, item.type, nullable=True, metadata=item.metadata)
                for item in declared.fields
            ]
        )

    @property
    def path(self) -> tuple[str, str, str]:
        """Asset key path and storage path: layer, domain, name."""
        return (self.layer, self.domain, self.name)

    @property
    def key(self) -> dg.AssetKey:
        """The asset key."""
        return dg.AssetKey(list(self.path))

    @property
    def label(self) -> str:
        """The table as people write it: `silver/olist/orders`."""
        return "/".join(self.path)

    @property
    def group(self) -> str:
        """The asset group: `<domain>_<layer>`."""
        return f"{self.domain}_{self.layer}"

    @property
    def description(self) -> str:
        """The transform's docstring, or the contract's."""
        return (self.transform.__doc__ or self.contract.description).strip()

    @property
    def reads_arrivals(self) -> bool:
        """Whether the transform takes the landed files of its slice."""
        return "arrivals" in self._parameters

    @property
    def reads_source(self) -> bool:
        """Whether the transform takes a table of the domain's database."""
        return self.layer == "bronze" and "source" in self._parameters

    @property
    def reads_selection(self) -> bool:
        """Whether the transform takes the slice that it makes."""
        return self.layer != "bronze" and "selection" in self._parameters

    @cached_property
    def _parameters(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.transform).parameters)

    @property
    def landed_columns(self) -> tuple[str, ...]:
        """The contract's columns that landed files must have; those with a leading underscore are ours."""
        return tuple(name for name in self.contract.column_names if not name.startswith("_"))

    @property
    def primary(self) -> tuple[str, dg.AssetKey] | None:
        """The first input, if it is a bronze table of which each row becomes one row here."""
        for parameter, asset_in in self.inputs.items():
            key = input_key(asset_in)
            return (parameter, key) if key.path[0] == "bronze" and self.layer == "silver" else None
        return None

    @cached_property
    def version(self) -> str:
        """The declared code version, or a hash of the transform and its contract."""
        return self.code_version or code_version_of(self.transform, self.contract)

    @property
    def maintenance(self) -> Maintenance:
        """How the table is maintained."""
        return self.care or (BRONZE if self.layer == "bronze" else DERIVED)

    @property
    def properties(self) -> Mapping[str, str]:
        """Delta properties that the declaration asks for."""
        return CHANGE_FEED if self.change_feed else {}

    @property
    def partition_columns(self) -> dict[str, str]:
        """Column by partition dimension."""
        return self.contract.partition_columns

    @cached_property
    def history(self) -> History | None:
        """The columns of the history that the table keeps; None for a table of another mode."""
        if self.mode != "scd2":
            return None
        columns = self.contract.history_columns
        key = tuple(name for name in self.contract.key if name != columns["valid_from"])
        return History(key, **columns, absent=self.absent)

    def select(self, keys: Any) -> Slice:
        """The slice of some partition keys."""
        return slice_of(self.partitions, keys, self.partition_columns)

    @cached_property
    def checks(self) -> tuple[TableCheck, ...]:
        """All table checks: those that follow from the declaration, then those it names."""
        derived: list[TableCheck] = []
        if self.contract.key:
            derived.append(UniqueKey(self.contract.key))
        if self.reads_source:
            derived += [RowsMatchSource(), TotalsMatchSource()]
        if self.primary is not None:
            derived.append(RowsReconcile())
        if self.layer != "bronze":
            derived.append(RowCountInBounds())
        named = {check.name for check in self.table_checks}
        checks = (*[check for check in derived if check.name not in named], *self.table_checks)
        names = [*[rule.name for rule in self.contract.rules], *[check.name for check in checks]]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise DeclarationError(f"{self.label}: checks {repeated} are declared twice")
        return checks

    def reads_alike(self, source: Table, parameter: str) -> bool:
        """Whether every partition is made from the same partition of an input."""
        mapping = self.inputs[parameter].partition_mapping
        return self.partitions is not None and source.partitions == self.partitions and mapping is None

    @property
    def reads(self) -> frozenset[str]:
        """Tables that the checks read and the transform does not, such as `silver/olist/products`."""
        return self.all_reads - self._input_labels

    @property
    def all_reads(self) -> frozenset[str]:
        """Tables that the transform or the checks read."""
        checked = {label for check in self.table_checks for label in check.reads}
        return (self._input_labels | checked) - {self.label}

    @property
    def _input_labels(self) -> frozenset[str]:
        return frozenset("/".join(input_key(asset_in).path) for asset_in in self.inputs.values())

    def validate(self) -> None:
        """Refuse a declaration that would only fail at run time.

        Raises:
            DeclarationError: partitions without a column, merging without a key, deduplicating without a key.
        """
        dimensions = set(self.partition_columns)
        wanted: set[str] = set()
        if isinstance(self.partitions, dg.MultiPartitionsDefinition):
            wanted = {dimension.name for dimension in self.partitions.partitions_defs}
        elif self.partitions is not None:
            wanted = {""}
        if dimensions != wanted:
            raise DeclarationError(
                f"{self.label}: partition dimensions {sorted(wanted)} need contract columns with "
                f"metadata={{'partition': …}}, the contract has {self.partition_columns}"
            )
        if (self.mode == "merge" or self.latest_by) and not self.contract.key:
            raise DeclarationError(f"{self.label}: merge and latest_by need a key; declare Config.unique")
        if self.on_bad_partition not in get_args(OnBadPartition):
            raise DeclarationError(
                f"{self.label}: on_bad_partition is {self.on_bad_partition!r}; it is one of {get_args(OnBadPartition)}"
            )
        if self.on_bad_partition == "isolate" and self.partitions is None:
            raise DeclarationError(f"{self.label}: on_bad_partition='isolate' needs partitions; declare some")
        self._validate_history()
        self._validate_source()
        self._validate_merge()
        if not 0 <= self.max_rejected <= 1:
            raise DeclarationError(f"{self.label}: max_rejected is a share between 0 and 1, not {self.max_rejected}")
        kept = self.maintenance
        if kept.archive_after_days is not None and self.layer != "bronze":
            raise DeclarationError(f"{self.label}: only bronze is archived; the other layers can be made from it again")
        orderable = set(self.contract.column_names) - set(self.partition_columns.values())
        if strange := sorted(set(kept.z_order) - orderable):
            raise DeclarationError(
                f"{self.label}: z_order names {strange}; it takes columns of the contract that are no partition columns"
            )
        _ = self.checks

    def _validate_merge(self) -> None:
        if self.merge_in not in get_args(MergeIn):
            raise DeclarationError(f"{self.label}: merge_in is {self.merge_in!r}; it is one of {get_args(MergeIn)}")
        if self.merge_in == "process":
            return
        if self.mode != "merge" and not self.reads_source:
            raise DeclarationError(f"{self.label}: merge_in='engine' needs mode='merge'; the mode is {self.mode!r}")
        if self.change_feed:
            raise DeclarationError(
                f"{self.label}: merge_in='engine' can't keep a change feed, whose files only delta-rs brings into the "
                "table; take one of the two away"
            )

    def _validate_source(self) -> None:
        if not self.reads_source:
            if self.event_time is not None:
                raise DeclarationError(f"{self.label}: event_time is for tables that read a database")
            return
        if self.partitions is not None or not self.contract.key:
            raise DeclarationError(
                f"{self.label} mirrors a table of a database: name the source's primary key in Config.unique, and "
                "declare no partitions"
            )
        if strays := [rule.name for rule in self.contract.rules if rule.name not in self._key_rules]:
            raise DeclarationError(
                f"{self.label}: its contract has the rules {strays}; a mirror takes rows as the source has them: make "
                "its columns nullable and put the rules into silver"
            )
        if self.event_time is not None and self.event_time not in self.contract.column_names:
            raise DeclarationError(f"{self.label}: event_time {self.event_time!r} is no column of its contract")

    @property
    def _key_rules(self) -> frozenset[str]:
        return frozenset(not_null(name).name for name in self.contract.key)

    def _validate_history(self) -> None:
        columns = self.contract.history_columns
        if self.mode != "scd2":
            if columns:
                raise DeclarationError(
                    f"{self.label}: its contract has the history columns {sorted(columns.values())}, which only "
                    f"mode='scd2' fills; the mode is {self.mode!r}"
                )
            if self.absent != "keep":
                raise DeclarationError(f"{self.label}: absent={self.absent!r} needs mode='scd2'")
            return
        if len(columns) < len(_HISTORY) or columns["valid_from"] not in self.contract.key or len(self.contract.key) < 2:
            raise DeclarationError(
                f"{self.label}: mode='scd2' needs a contract that extends Versioned and names its key and valid_from "
                f"in Config.unique; {self.contract.name} has history columns {columns} and the key {self.contract.key}"
            )
        if self.layer == "bronze":
            raise DeclarationError(f"{self.label}: bronze keeps every file as it arrived; keep the history in silver")
        if strays := sorted(set(self.partition_columns.values()) - set(self.contract.key)):
            raise DeclarationError(
                f"{self.label}: the history of a key has to be in one partition, but {strays} are not part of the key "
                f"{self.contract.key}; declare no partitions"
            )
        if self.partitions is not None and self.absent == "close":
            raise DeclarationError(f"{self.label}: absent='close' takes full snapshots; declare no partitions")


def input_key(asset_in: dg.AssetIn) -> dg.AssetKey:
    """The asset that an input names."""
    if not isinstance(asset_in.key, dg.AssetKey):
        raise DeclarationError("every input needs an asset key")
    return asset_in.key
