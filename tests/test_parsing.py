"""Raw text to declared types: exact, or NULL with the rule that was broken."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pandera.pyspark as pa
import pyarrow
import pyspark.sql.types as T
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medallion.engine.frames import from_arrow
from medallion.parsing import parse


def model_of(kind: Any, **metadata: Any) -> Any:
    annotations = {"__annotations__": {"v": kind}, "__module__": __name__}
    return type("M", (pa.DataFrameModel,), {**annotations, "v": pa.Field(metadata={"source": "raw", **metadata})})


def parsed(spark: Any, texts: list[str | None], kind: Any, **metadata: Any) -> list[tuple[Any, list[str]]]:
    raw = from_arrow(spark, pyarrow.table({"n": range(len(texts)), "raw": pyarrow.array(texts, pyarrow.string())}))
    rows = parse(raw, model_of(kind, **metadata)).orderBy("n").collect()
    return [(row["v"], list(row["_unparsed"])) for row in rows]


GOOD: list[tuple[Any, dict[str, str], dict[str, Any]]] = [
    (T.StringType(), {}, {"a": "a", " a b ": "a b", "": None, "   ": None, "00123": "00123"}),
    (T.IntegerType(), {}, {"1": 1, " -7 ": -7, "+3": 3, "007": 7, "2147483647": 2147483647, "": None}),
    (T.LongType(), {}, {"9223372036854775807": 9223372036854775807}),
    (T.DoubleType(), {}, {"1": 1.0, "-1.5": -1.5, ".5": 0.5, "5.": 5.0, "1e3": 1000.0, "-2.5E-1": -0.25}),
    (T.DecimalType(12, 2), {}, {"1": Decimal("1.00"), "-0.05": Decimal("-0.05"), "1.500": Decimal("1.50")}),
    (T.DecimalType(9, 0), {}, {"12": Decimal(12), "12.0": Decimal(12)}),
    (T.BooleanType(), {}, {"true": True, "false": False}),
    (T.DateType(), {}, {"2024-02-29": dt.date(2024, 2, 29)}),
    (T.DateType(), {"format": "dd/MM/yyyy"}, {"29/02/2024": dt.date(2024, 2, 29)}),
    (T.TimestampNTZType(), {}, {"2024-02-29 23:59:59": dt.datetime(2024, 2, 29, 23, 59, 59)}),
    (T.TimestampNTZType(), {"format": "yyyy-MM-dd'T'HH:mm"}, {"2024-02-29T23:59": dt.datetime(2024, 2, 29, 23, 59)}),
]
BAD: list[tuple[Any, dict[str, str], list[str]]] = [
    (T.IntegerType(), {}, ["x", "1.0", "1.5", "1_000", "1e3", "2147483648", "--1", "1 2", "0x10", "٣"]),
    (T.LongType(), {}, ["9223372036854775808"]),
    (T.DoubleType(), {}, ["x", "nan", "NaN", "inf", "-Infinity", "1d", "1f", "1,5", "0x1p3", "."]),
    (T.DecimalType(12, 2), {}, ["x", "1.505", "1.001", "1,50", "1e2", ".5", "5.", "12345678901.00", "$1", "1.5.0"]),
    (T.DecimalType(9, 0), {}, ["1.5"]),
    (T.BooleanType(), {}, ["maybe", "2"]),
    (T.DateType(), {}, ["2023-02-29", "2024-13-01", "29/02/2024", "2024-2-9", "2024-02-29 00:00:00", "24-02-29", "0"]),
    (T.DateType(), {"format": "dd/MM/yyyy"}, ["2024-02-29", "31/02/2024", "1/2/2024", "02/29/2024"]),
    (T.TimestampType(), {}, ["2024-02-30 00:00:00", "2024-02-29", "2024-02-29T00:00:00", "2024-02-29 24:00:00", "now"]),
    (T.TimestampType(), {"format": "dd/MM/yyyy HH:mm"}, ["2024-02-29 00:00", "31/02/2024 10:00", "01/01/2024 25:00"]),
]


@pytest.mark.parametrize(("kind", "metadata", "values"), GOOD)
def test_a_value_is_read_exactly(spark: Any, kind: Any, metadata: dict[str, str], values: dict[str, Any]) -> None:
    found = parsed(spark, list(values), kind, **metadata)
    assert found == [(value, []) for value in values.values()]


@pytest.mark.parametrize(("kind", "metadata", "texts"), BAD)
def test_text_that_is_no_value_is_reported_and_never_guessed(
    spark: Any, kind: Any, metadata: dict[str, str], texts: list[str]
) -> None:
    found = parsed(spark, texts, kind, **metadata)
    assert dict(zip(texts, found, strict=True)) == {text: (None, ["v_parses"]) for text in texts}


def test_a_timestamp_is_utc(spark: Any) -> None:
    raw = from_arrow(spark, pyarrow.table({"raw": ["2024-02-29 23:59:59"]}))
    for metadata in ({}, {"format": "yyyy-MM-dd HH:mm:ss"}):
        frame = parse(raw, model_of(T.TimestampType(), **metadata))
        assert frame.selectExpr("unix_seconds(v)").collect()[0][0] == 1709251199


def test_nothing_there_is_null_and_no_broken_rule(spark: Any) -> None:
    for kind in (T.IntegerType(), T.DateType(), T.DecimalType(12, 2), T.TimestampType(), T.StringType()):
        assert parsed(spark, [None, "", "  "], kind) == [(None, [])] * 3


def test_other_columns_of_the_raw_rows_are_kept(spark: Any) -> None:
    raw = from_arrow(spark, pyarrow.table({"raw": ["1"], "_batch": ["2024-01"], "extra": ["x"]}))
    row = parse(raw, model_of(T.IntegerType())).collect()[0].asDict()
    assert row == {"raw": "1", "_batch": "2024-01", "extra": "x", "v": 1, "_unparsed": []}


def test_a_source_column_of_the_same_name_is_replaced_by_its_value(spark: Any) -> None:
    model = type(
        "M",
        (pa.DataFrameModel,),
        {"__annotations__": {"v": T.IntegerType()}, "v": pa.Field(metadata={"source": True}), "__module__": __name__},
    )
    frame = parse(from_arrow(spark, pyarrow.table({"v": ["1"]})), model)
    assert frame.columns == ["v", "_unparsed"]
    assert frame.dtypes[0] == ("v", "int")


def test_a_missing_source_column_is_named(spark: Any) -> None:
    with pytest.raises(ValueError, match=r"M: source columns \['raw'\] are not among the raw columns \['other'\]"):
        parse(from_arrow(spark, pyarrow.table({"other": ["1"]})), model_of(T.IntegerType()))


def test_every_column_that_did_not_parse_is_named(spark: Any) -> None:
    class Two(pa.DataFrameModel):
        """Two columns."""

        a: T.IntegerType() = pa.Field(metadata={"source": True})
        b: T.DateType() = pa.Field(metadata={"source": True})

    raw = from_arrow(spark, pyarrow.table({"a": ["x", "1"], "b": ["y", "2024-01-01"]}))
    assert [list(row["_unparsed"]) for row in parse(raw, Two).orderBy("a").collect()] == [["a_parses", "b_parses"], []]


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), min_size=1, max_size=20))
def test_any_text_is_either_the_number_it_says_or_reported(spark: Any, texts: list[str]) -> None:
    texts = [*texts, *[text.translate({ord(c): "1" for c in text if not c.isascii()}) for text in texts]]
    for text, (value, broken) in zip(texts, parsed(spark, list(texts), T.LongType()), strict=True):
        if value is not None:
            assert (int(text.strip(" ")), broken) == (value, [])
        else:
            assert broken == ([] if not text.strip(" ") else ["v_parses"])
