"""Row rules: what one row must fulfil, as Spark expressions that one pass over the data evaluates together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pyspark.sql import Column

Severity = Literal["ERROR", "WARN"]
UNPARSED = "_unparsed"
"""Carried column: names of the `parses` rules that a row broke, written by `medallion.parsing.parse`."""


@dataclass(frozen=True)
class RowRule:
    """A named condition that a row keeps or breaks.

    Attributes:
        name: unique within the contract; also the name of the asset check.
        severity: `ERROR` sends rows that break it to quarantine, `WARN` publishes and counts them.
        description: the condition for people.
        kept: builds the condition; NULL counts as kept. None for `parses` rules, which the parser evaluates.
        column: the only column it reads, if it is one.
    """

    name: str
    severity: Severity
    description: str
    kept: Callable[[], Column] | None
    column: str | None


def not_null(column: str) -> RowRule:
    """The column has a value."""
    return RowRule(f"{column}_not_null", "ERROR", f"{column} has a value", lambda: _col(column).isNotNull(), column)


def parses(column: str, type_name: str) -> RowRule:
    """The raw text, where there is any, is a value of the declared type and format."""
    return RowRule(f"{column}_parses", "ERROR", f"{column} arrives as {type_name} in the declared format", None, column)


def field_rule(column: str, check: str, arguments: Mapping[str, Any]) -> RowRule:
    """A pandera `Field` check as a row rule.

    Args:
        column: the column it is declared on.
        check: pandera's name of the check, such as `greater_than`.
        arguments: pandera's statistics of the check, such as `{"min_value": 0}`.

    Raises:
        KeyError: the check has no row-wise form.
    """
    short, build, describe = _FIELD_CHECKS[check]
    values = dict(arguments)
    return RowRule(
        f"{column}_{short}", "ERROR", f"{column} {describe(values)}", lambda: build(_col(column), values), column
    )


def _col(name: str) -> Column:
    from pyspark.sql import functions as F

    return F.col(f"`{name}`")


def _between(c: Column, a: Mapping[str, Any]) -> Column:
    low = c >= a["min_value"] if a.get("include_min", True) else c > a["min_value"]
    high = c <= a["max_value"] if a.get("include_max", True) else c < a["max_value"]
    both: Column = low & high
    return both


def _length(c: Column, a: Mapping[str, Any]) -> Column:
    from pyspark.sql import functions as F

    size = F.length(c)
    if a.get("exact_value") is not None:
        exact: Column = size == a["exact_value"]
        return exact
    condition = F.lit(True)
    if a.get("min_value") is not None:
        condition = condition & (size >= a["min_value"])
    if a.get("max_value") is not None:
        condition = condition & (size <= a["max_value"])
    return condition


def _describe_length(a: Mapping[str, Any]) -> str:
    if a.get("exact_value") is not None:
        return f"has {a['exact_value']} characters"
    return f"has {a.get('min_value') or 0} to {a.get('max_value') or 'any number of'} characters"


_Build = Callable[["Column", Mapping[str, Any]], "Column"]
_FIELD_CHECKS: dict[str, tuple[str, _Build, Callable[[Mapping[str, Any]], str]]] = {
    "equal_to": ("eq", lambda c, a: c == a["value"], lambda a: f"is {a['value']!r}"),
    "not_equal_to": ("ne", lambda c, a: c != a["value"], lambda a: f"is not {a['value']!r}"),
    "greater_than": ("gt", lambda c, a: c > a["min_value"], lambda a: f"is over {a['min_value']}"),
    "greater_than_or_equal_to": ("ge", lambda c, a: c >= a["min_value"], lambda a: f"is at least {a['min_value']}"),
    "less_than": ("lt", lambda c, a: c < a["max_value"], lambda a: f"is under {a['max_value']}"),
    "less_than_or_equal_to": ("le", lambda c, a: c <= a["max_value"], lambda a: f"is at most {a['max_value']}"),
    "in_range": ("in_range", _between, lambda a: f"is between {a['min_value']} and {a['max_value']}"),
    "isin": ("isin", lambda c, a: c.isin(*a["allowed_values"]), lambda a: f"is one of {list(a['allowed_values'])}"),
    "notin": ("notin", lambda c, a: ~c.isin(*a["forbidden_values"]), lambda a: f"is none of {a['forbidden_values']}"),
    "str_matches": (
        "str_matches",
        lambda c, a: c.rlike(rf"^(?:{_pattern(a)})"),
        lambda a: f"matches `{_pattern(a)}`",
    ),
    "str_contains": ("str_contains", lambda c, a: c.rlike(_pattern(a)), lambda a: f"contains `{_pattern(a)}`"),
    "str_startswith": (
        "str_startswith",
        lambda c, a: c.startswith(a["string"]),
        lambda a: f"starts with {a['string']}",
    ),
    "str_endswith": ("str_endswith", lambda c, a: c.endswith(a["string"]), lambda a: f"ends with {a['string']}"),
    "str_length": ("str_length", _length, _describe_length),
}


def _pattern(arguments: Mapping[str, Any]) -> str:
    pattern = arguments["pattern"]
    return pattern.pattern if isinstance(pattern, re.Pattern) else str(pattern)
