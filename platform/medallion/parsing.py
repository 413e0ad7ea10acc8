"""Raw text to the types of a contract: exact or reported, never guessed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from medallion.contracts import Contract, ContractColumn
from medallion.rules import UNPARSED, parses

if TYPE_CHECKING:
    from pandera.pyspark import DataFrameModel
    from pyspark.sql import Column, DataFrame

_ISO_TIMESTAMP = "yyyy-MM-dd HH:mm:ss"
_ISO_DATE = "yyyy-MM-dd"
_DIGITS = "0123456789"
_PATTERN_DIGITS = re.compile(r"y+|M+|d+|H+|m+|s+")


def parse(raw: DataFrame, model: type[DataFrameModel[Any]]) -> DataFrame:
    """Add the columns that the contract declares a `source` for, trimmed and typed.

    Empty text is NULL. Text that is not a value of the declared type in the declared format is NULL too, and the row
    breaks the rule `<column>_parses`, which sends it to quarantine. Every other column of `raw` is kept.

    Args:
        raw: rows of text columns, such as a bronze table.
        model: the contract of the table that is being built.

    Raises:
        ValueError: a declared source column is not in `raw`.
    """
    from pyspark.sql import functions as F

    contract = Contract.of(model)
    parsed = [column for column in contract.columns if column.source]
    if missing := sorted({str(column.source) for column in parsed} - set(raw.columns)):
        raise ValueError(f"{contract.name}: source columns {missing} are not among the raw columns {raw.columns}")
    produced = {column.name for column in parsed}
    kept = [F.col(f"`{name}`") for name in raw.columns if name not in produced]
    typed, broken = [], []
    for column in parsed:
        text = F.trim(F.col(f"`{column.source}`"))
        text = F.when(text != "", text)
        value = _typed(text, column)
        typed.append(value.alias(column.name))
        if column.type.typeName() != "string":
            rule = parses(column.name, column.type.simpleString()).name
            broken.append(F.when(text.isNotNull() & value.isNull(), F.lit(rule)))
    unparsed = F.filter(F.array(*broken), lambda name: name.isNotNull()) if broken else F.array().cast("array<string>")
    return raw.select(*kept, *typed, unparsed.alias(UNPARSED))


def _typed(text: Column, column: ContractColumn) -> Column:
    from pyspark.sql import functions as F
    from pyspark.sql.types import DecimalType

    kind = column.type.typeName()
    if kind == "string":
        return text
    if kind in ("timestamp", "timestamp_ntz", "date"):
        pattern = column.format or (_ISO_DATE if kind == "date" else _ISO_TIMESTAMP)
        # Not a regular expression: the engine compiles those again for every batch of rows.
        well_formed = F.when(F.translate(text, _DIGITS, "9" * len(_DIGITS)) == _mask(pattern), text)
        if column.format is None:
            return well_formed.try_cast(kind)
        moment = F.try_to_timestamp(well_formed, F.lit(pattern))
        return moment if kind == "timestamp" else moment.cast(kind)
    if isinstance(column.type, DecimalType):
        fraction = rf"(\.[0-9]{{1,{column.type.scale}}}0*)?" if column.type.scale else r"(\.0*)?"
        return F.when(text.rlike(rf"^[+-]?[0-9]+{fraction}$"), text).try_cast(column.type)
    if kind in ("byte", "short", "integer", "long"):
        return F.when(text.rlike(r"^[+-]?[0-9]+$"), text).try_cast(column.type)
    if kind in ("float", "double"):
        # The cast alone would also take "nan", "inf" and, on some engines, "1d".
        return F.when(text.rlike(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"), text).try_cast(column.type)
    return text.try_cast(column.type)


def _mask(pattern: str) -> str:
    """What a well-formed text looks like with a 9 for each digit: no shorter or longer form slips through."""
    return _PATTERN_DIGITS.sub(lambda match: "9" * len(match.group()), pattern).replace("'", "")
