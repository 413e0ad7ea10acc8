"""A table's declaration: everything that the framework derives an asset, its checks and its storage from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from medallion.checks import RowCountInBounds, RowsReconcile, TableCheck, UniqueKey
from medallion.code_version import code_version_of
from medallion.contracts import Contract
from medallion.delta.publish import WriteMode
from medallion.delta.schema import SchemaEvolution
from medallion.partitions import Slice, slice_of

if TYPE_CHECKING:
    from pandera.pyspark import DataFrameModel

Layer = Literal["bronze", "silver", "gold"]


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
        mode: `replace` the slice, `append` to the table, or `merge` by the contract's key.
        schema_evolution: what a write may change about the columns.
        latest_by: columns that say which row of a key wins; empty for no deduplication.
        table_checks: conditions on the whole candidate beyond those that follow from the contract.
        max_rejected: share of rejected rows (0..1) above which nothing is written.
        owners: teams (`team:x`) or e-mail addresses.
        tags: Dagster tags.
        freshness: Dagster freshness policy.
        code_version: changes when the transform's meaning changes; by default a hash of its code and contract.
    """

    layer: Layer
    domain: str
    name: str
    transform: Callable[..., Any]
    model: type[DataFrameModel[Any]]
    inputs: Mapping[str, dg.AssetIn]
    partitions: dg.PartitionsDefinition[Any] | None = None
    mode: WriteMode = "replace"
    schema_evolution: SchemaEvolution = "strict"
    latest_by: tuple[str, ...] = ()
    table_checks: tuple[TableCheck, ...] = ()
    max_rejected: float = 0.05
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    freshness: dg.FreshnessPolicy | None = None
    code_version: str | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the transform alone, as a test does."""
        return self.transform(*args, **kwargs)

    @cached_property
    def contract(self) -> Contract:
        """The compiled contract."""
        return Contract.of(self.model)

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
        return "arrivals" in inspect.signature(self.transform).parameters

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
    def partition_columns(self) -> dict[str, str]:
        """Column by partition dimension."""
        return self.contract.partition_columns

    def select(self, keys: Any) -> Slice:
        """The slice of some partition keys."""
        return slice_of(self.partitions, keys, self.partition_columns)

    @cached_property
    def checks(self) -> tuple[TableCheck, ...]:
        """All table checks: those that follow from the declaration, then those it names."""
        derived: list[TableCheck] = []
        if self.contract.key:
            derived.append(UniqueKey(self.contract.key))
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

    @property
    def reads(self) -> frozenset[str]:
        """Tables that the checks read and the transform does not, such as `silver/olist/products`."""
        inputs = {"/".join(input_key(asset_in).path) for asset_in in self.inputs.values()}
        return frozenset(label for check in self.table_checks for label in check.reads) - inputs - {self.label}

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
        if not 0 <= self.max_rejected <= 1:
            raise DeclarationError(f"{self.label}: max_rejected is a share between 0 and 1, not {self.max_rejected}")
        _ = self.checks


def input_key(asset_in: dg.AssetIn) -> dg.AssetKey:
    """The asset that an input names."""
    if not isinstance(asset_in.key, dg.AssetKey):
        raise DeclarationError("every input needs an asset key")
    return asset_in.key
