"""A pandera model read as a contract: columns for Spark and Delta, the key, and the rules that every row must pass."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from medallion.rules import RowRule, field_rule, not_null, parses

if TYPE_CHECKING:
    from deltalake import Schema
    from pandera.pyspark import DataFrameModel
    from pyspark.sql.types import DataType

HistoryRole = Literal["valid_from", "valid_to", "is_current", "version_hash"]
_HISTORY = get_args(HistoryRole)
_MADE = _HISTORY[1:]
_ROW_RULE = "__medallion_row_rule__"
_Method = TypeVar("_Method", bound=Callable[..., Any])


class ContractError(ValueError):
    """A contract that can't be compiled; the message names the model and the field."""


def row_rule(severity: Literal["ERROR", "WARN"] = "ERROR") -> Callable[[_Method], _Method]:
    """Declare a rule over several columns of a contract.

    The decorated method takes the model class, with or without `@classmethod`, and returns a boolean Column that is
    false for a row that breaks the rule; NULL counts as kept, as in a SQL CHECK. Its name is the rule's name, its
    docstring the description.

    Args:
        severity: `ERROR` sends the row to quarantine, `WARN` publishes and reports it.
    """

    def mark(method: _Method) -> _Method:
        setattr(getattr(method, "__func__", method), _ROW_RULE, severity)
        return method

    return mark


@dataclass(frozen=True)
class ContractColumn:
    """One column of a contract.

    Attributes:
        name: column name.
        type: Spark type.
        nullable: whether NULL is a valid value.
        description: what the column holds, for people.
        pii: personal data, which no check metadata or message may show.
        source: the raw text column that the value is parsed from, if it is.
        format: Spark date/time pattern of the raw text, if it is not ISO.
        partition: name of the partition dimension the column holds; empty for the only one.
        history: what the column says about a version of a row: `valid_from`, `valid_to`, `is_current`, `version_hash`.
    """

    name: str
    type: DataType
    nullable: bool
    description: str
    pii: bool
    source: str | None
    format: str | None
    partition: str | None
    history: HistoryRole | None


@dataclass(frozen=True)
class Contract:
    """What a table promises: compiled once from a `pandera.pyspark.DataFrameModel`."""

    name: str
    description: str
    columns: tuple[ContractColumn, ...]
    key: tuple[str, ...]
    rules: tuple[RowRule, ...]

    @classmethod
    @cache
    def of(cls, model: type[DataFrameModel[Any]]) -> Contract:
        """Compile a model.

        Raises:
            ContractError: a check has no row-wise form, or key or partition columns are missing or nullable.
        """
        _keep_time_zones()
        schema = model.to_schema()
        if schema.checks:
            names = [check.name for check in schema.checks]
            raise ContractError(f"{model.__name__}: dataframe checks {names} have no row-wise form; use @row_rule")
        columns, rules = [], []
        for name, column in schema.columns.items():
            spec = _column(model.__name__, name, column)
            columns.append(spec)
            if name.startswith("_") or spec.history in _MADE:
                continue  # written by the framework, not by a source
            if spec.source and spec.type.typeName() != "string":
                rules.append(parses(spec.name, spec.type.simpleString()))
            if not spec.nullable:
                rules.append(not_null(name))
            for check in column.checks:
                try:
                    rules.append(field_rule(name, check.name, check.statistics or {}))
                except KeyError as error:
                    raise ContractError(
                        f"{model.__name__}.{name}: check {check.name!r} has no row-wise form; use @row_rule"
                    ) from error
        rules.extend(_model_rules(model))
        contract = cls(
            name=model.__name__,
            description=(model.__doc__ or "").strip(),
            columns=tuple(sorted(columns, key=lambda column: column.history is not None)),
            key=tuple([schema.unique] if isinstance(schema.unique, str) else schema.unique or ()),
            rules=tuple(rules),
        )
        contract._validate()
        return contract

    def _validate(self) -> None:
        names = [rule.name for rule in self.rules]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ContractError(f"{self.name}: rule names {repeated} are used twice")
        if unknown := [name for name in self.key if name not in self.column_names]:
            raise ContractError(f"{self.name}: Config.unique names {unknown}, which are no columns of the model")
        for column in self.columns:
            if column.history is not None and column.history not in _HISTORY:
                raise ContractError(f"{self.name}.{column.name}: history is one of {_HISTORY}, not {column.history!r}")
            if column.nullable and (column.name in self.key or column.partition is not None):
                role = "key" if column.name in self.key else "partition column"
                raise ContractError(f"{self.name}.{column.name} is a {role} and must not be nullable")

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Names in declared order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def partition_columns(self) -> dict[str, str]:
        """Column by partition dimension; the dimension of a single-dimension table is the empty string."""
        return {column.partition: column.name for column in self.columns if column.partition is not None}

    @cached_property
    def history_columns(self) -> dict[str, str]:
        """Column by what it says about a version of a row; empty for a table without history."""
        return {column.history: column.name for column in self.columns if column.history is not None}

    @cached_property
    def incoming(self) -> Contract:
        """What a transform has to return: all but the columns that make its rows versions."""
        return replace(self, columns=tuple(column for column in self.columns if column.history not in _MADE))

    @cached_property
    def sample_columns(self) -> tuple[str, ...]:
        """Key columns that check metadata may show: none when any of the key is personal data."""
        pii = {column.name for column in self.columns if column.pii}
        return () if pii & set(self.key) else self.key

    def delta_schema(self) -> Schema:
        """The Delta schema that a table of this contract is created with, column descriptions as comments."""
        from deltalake import Field, Schema

        fields = []
        for column in self.columns:
            metadata = {"comment": column.description} if column.description else None
            fields.append(Field(column.name, _delta_type(column.type), nullable=column.nullable, metadata=metadata))
        return Schema(fields)


def _keep_time_zones() -> None:
    """Undo what pandera.pyspark does by importing pyspark.pandas: pyarrow then reads 09:00+05:30 as 09:00 UTC."""
    if os.environ.get("PYARROW_IGNORE_TIMEZONE"):
        os.environ["PYARROW_IGNORE_TIMEZONE"] = ""


def _column(model: str, name: str, column: Any) -> ContractColumn:
    metadata = column.metadata or {}
    if unknown := sorted(set(metadata) - {"pii", "source", "format", "partition", "history"}):
        raise ContractError(
            f"{model}.{name}: metadata {unknown} is unknown; use pii, source, format, partition, history"
        )
    source, partition = metadata.get("source"), metadata.get("partition")
    return ContractColumn(
        name=name,
        type=column.dtype.type,
        nullable=bool(column.nullable),
        description=column.description or "",
        pii=bool(metadata.get("pii")),
        source=name if source is True else source,
        format=metadata.get("format"),
        partition="" if partition is True else partition,
        history=metadata.get("history"),
    )


def _model_rules(model: type[DataFrameModel[Any]]) -> list[RowRule]:
    methods = {
        name: getattr(value, "__func__", value)
        for base in reversed(model.__mro__)
        for name, value in vars(base).items()
    }
    return [
        RowRule(name, getattr(method, _ROW_RULE), (method.__doc__ or name).strip(), partial(method, model), column=None)
        for name, method in methods.items()
        if hasattr(method, _ROW_RULE)
    ]


def _delta_type(spark_type: DataType) -> Any:
    """The Delta type of a Spark type; both share Spark's JSON schema notation."""
    from deltalake.schema import ArrayType, MapType, PrimitiveType, StructType

    kinds: dict[str, Any] = {"array": ArrayType, "map": MapType, "struct": StructType}
    kind = kinds.get(spark_type.typeName(), PrimitiveType)
    return kind.from_json(spark_type.json())
