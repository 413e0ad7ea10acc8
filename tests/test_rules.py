"""Every pandera field check as a Spark expression: what it keeps, what it breaks, and NULL."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from medallion.engine.frames import from_arrow
from medallion.rules import field_rule, not_null, parses

CASES: list[tuple[str, dict[str, Any], list[Any], list[Any]]] = [
    ("equal_to", {"value": 3}, [3], [2, 4]),
    ("not_equal_to", {"value": 3}, [2, 4], [3]),
    ("greater_than", {"min_value": 3}, [4], [3, 2]),
    ("greater_than_or_equal_to", {"min_value": 3}, [3, 4], [2]),
    ("less_than", {"max_value": 3}, [2], [3, 4]),
    ("less_than_or_equal_to", {"max_value": 3}, [3, 2], [4]),
    ("in_range", {"min_value": 1, "max_value": 3, "include_min": True, "include_max": True}, [1, 2, 3], [0, 4]),
    ("in_range", {"min_value": 1, "max_value": 3, "include_min": False, "include_max": False}, [2], [1, 3]),
    ("isin", {"allowed_values": ["a", "l'b"]}, ["a", "l'b"], ["A", "", "c"]),
    ("notin", {"forbidden_values": ["a"]}, ["b", ""], ["a"]),
    ("str_matches", {"pattern": "[a-z]+|x9"}, ["ab", "ab1", "x9"], ["1ab", ""]),
    ("str_matches", {"pattern": re.compile(r"^\d{5}$")}, ["01234"], ["1234", "012345", "0123a"]),
    ("str_contains", {"pattern": r"\d"}, ["a1b"], ["ab"]),
    ("str_startswith", {"string": "a."}, ["a.b"], ["ab", "xa."]),
    ("str_endswith", {"string": ".b"}, ["a.b"], ["ab"]),
    ("str_length", {"min_value": 2, "max_value": 3, "exact_value": None}, ["ab", "日本語"], ["a", "abcd"]),
    ("str_length", {"min_value": 2, "max_value": None, "exact_value": None}, ["ab", "abcdef"], ["", "a"]),
    ("str_length", {"min_value": None, "max_value": None, "exact_value": 2}, ["ab"], ["a", "abc"]),
]


@pytest.mark.parametrize(("check", "arguments", "keeps", "breaks"), CASES)
def test_a_field_check_keeps_and_breaks(
    spark: Any, check: str, arguments: dict[str, Any], keeps: list[Any], breaks: list[Any]
) -> None:
    rule = field_rule("the value", check, arguments)
    assert rule.kept is not None
    frame = from_arrow(spark, pa.table({"the value": [*keeps, *breaks, None]}))
    kept = frame.where(F.coalesce(rule.kept(), F.lit(True))).collect()
    assert [row["the value"] for row in kept] == [*keeps, None]


def test_not_null_breaks_null_only(spark: Any) -> None:
    frame = from_arrow(spark, pa.table({"v": ["", "a", None]}))
    rule = not_null("v")
    assert rule.kept is not None
    assert frame.where(rule.kept()).count() == 2


@pytest.mark.parametrize(
    ("check", "arguments", "name", "description"),
    [
        ("greater_than_or_equal_to", {"min_value": 0}, "price_ge", "price is at least 0"),
        ("isin", {"allowed_values": ["a", "b"]}, "price_isin", "price is one of ['a', 'b']"),
        ("str_length", {"min_value": None, "max_value": 5, "exact_value": None}, "price_str_length", "price has 0"),
        ("str_length", {"exact_value": 2}, "price_str_length", "price has 2 characters"),
        ("in_range", {"min_value": 1, "max_value": 3}, "price_in_range", "price is between 1 and 3"),
    ],
)
def test_a_rule_is_named_after_its_column_and_described(
    check: str, arguments: dict[str, Any], name: str, description: str
) -> None:
    rule = field_rule("price", check, arguments)
    assert (rule.name, rule.column, rule.severity) == (name, "price", "ERROR")
    assert rule.description.startswith(description)


def test_a_check_without_a_row_wise_form_is_unknown() -> None:
    with pytest.raises(KeyError):
        field_rule("price", "unique_values_eq", {"values": [1]})


def test_parsing_is_a_rule_that_the_parser_evaluates() -> None:
    rule = parses("price", "decimal(12,2)")
    assert (rule.name, rule.kept) == ("price_parses", None)
    assert rule.description == "price arrives as decimal(12,2) in the declared format"
