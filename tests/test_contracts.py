"""A pandera model compiled: columns, key, rules, and the mistakes that fail when it loads."""

import datetime as dt
from typing import Any

import pandera.pyspark as pa
import pyarrow
import pyspark.sql.types as T
import pytest
from pyspark.sql import functions as F

from medallion.contracts import Contract, ContractError, row_rule
from medallion.engine.frames import from_arrow


class Order(pa.DataFrameModel):
    """One row per order."""

    order_id: T.StringType() = pa.Field(description="The id.", metadata={"source": True})
    placed: T.TimestampType() = pa.Field(metadata={"source": "placed_at", "format": "dd/MM/yyyy"})
    price: T.DecimalType(12, 2) = pa.Field(ge=0, lt=100, nullable=True, metadata={"source": True})
    email: T.StringType() = pa.Field(nullable=True, str_contains="@", metadata={"pii": True})
    tags: T.ArrayType(T.StringType()) = pa.Field(nullable=True)
    month: T.DateType() = pa.Field(metadata={"partition": True})

    class Config:
        """The key."""

        unique = ["order_id"]

    @row_rule()
    def placed_in_month(cls):
        """The month is that of the order."""
        return F.trunc("placed", "month") == F.col("month")

    @row_rule("WARN")
    @classmethod
    def price_is_round(cls):
        return F.col("price") % 1 == 0


ORDER = Contract.of(Order)


def rule(name: str) -> Any:
    return next(rule for rule in ORDER.rules if rule.name == name)


def test_columns_keep_order_type_nullability_and_description() -> None:
    assert ORDER.column_names == ("order_id", "placed", "price", "email", "tags", "month")
    first = ORDER.columns[0]
    assert (first.type, first.nullable, first.description) == (T.StringType(), False, "The id.")
    assert [column.name for column in ORDER.columns if column.nullable] == ["price", "email", "tags"]


def test_metadata_says_source_format_pii_and_partition() -> None:
    columns = {column.name: column for column in ORDER.columns}
    assert (columns["order_id"].source, columns["placed"].source, columns["email"].source) == (
        "order_id",
        "placed_at",
        None,
    )
    assert columns["placed"].format == "dd/MM/yyyy"
    assert columns["email"].pii
    assert ORDER.partition_columns == {"": "month"}


def test_the_key_is_config_unique() -> None:
    assert (ORDER.name, ORDER.description, ORDER.key) == ("Order", "One row per order.", ("order_id",))


def test_rules_follow_from_types_nullability_checks_and_methods() -> None:
    assert [(rule.name, rule.severity) for rule in ORDER.rules] == [
        *[("order_id_not_null", "ERROR"), ("placed_parses", "ERROR"), ("placed_not_null", "ERROR")],
        *[("price_parses", "ERROR"), ("price_ge", "ERROR"), ("price_lt", "ERROR"), ("email_str_contains", "ERROR")],
        *[("month_not_null", "ERROR"), ("placed_in_month", "ERROR"), ("price_is_round", "WARN")],
    ]


def test_a_row_rule_is_described_by_its_docstring_or_its_name() -> None:
    assert rule("placed_in_month").description == "The month is that of the order."
    assert rule("price_is_round").description == "price_is_round"


@pytest.mark.parametrize("name", ["placed_in_month", "price_is_round"])
def test_a_row_rule_is_evaluated_with_or_without_classmethod(spark: Any, name: str) -> None:
    from datetime import date, datetime
    from decimal import Decimal

    rows = [
        {"placed": datetime(2024, 1, 5), "month": date(2024, 1, 1), "price": Decimal("1.00")},
        {"placed": datetime(2024, 2, 5), "month": date(2024, 1, 1), "price": Decimal("1.50")},
    ]
    frame = from_arrow(spark, pyarrow.Table.from_pylist(rows))
    assert [row[0] for row in frame.select(rule(name).kept()).collect()] == [True, False]


def test_a_rule_of_a_base_contract_is_inherited_and_can_be_replaced() -> None:
    class Strict(Order):
        """Stricter."""

        @row_rule("ERROR")
        def price_is_round(cls):
            return F.lit(True)

    class Lax(Order):
        """Laxer."""

        price_is_round = None

    assert {rule.name: rule.severity for rule in Contract.of(Strict).rules}["price_is_round"] == "ERROR"
    assert "placed_in_month" in {rule.name for rule in Contract.of(Strict).rules}


def test_a_classmethod_around_a_row_rule_is_one_too() -> None:
    class Model(pa.DataFrameModel):
        """A model."""

        v: T.LongType() = pa.Field(nullable=True)

        @classmethod
        @row_rule()
        def v_is_small(cls):
            return F.col("v") < 3

    assert [rule.name for rule in Contract.of(Model).rules] == ["v_is_small"]


def test_the_delta_schema_has_comments_and_nullability() -> None:
    fields = {item.name: item for item in ORDER.delta_schema().fields}
    assert fields["order_id"].metadata == {"comment": "The id."}
    assert fields["placed"].metadata == {}
    assert (fields["order_id"].nullable, fields["price"].nullable) == (False, True)
    assert str(fields["price"].type.type) == "decimal(12,2)"
    assert fields["tags"].type.element_type.type == "string"


def test_pyarrow_still_converts_time_zones_after_a_contract_was_loaded() -> None:
    india = dt.timezone(dt.timedelta(hours=5, minutes=30))
    converted = pyarrow.array([dt.datetime(2024, 1, 1, 9, tzinfo=india)], pyarrow.timestamp("us", "UTC"))
    assert converted[0].as_py() == dt.datetime(2024, 1, 1, 3, 30, tzinfo=dt.UTC)


def test_nested_types_reach_delta() -> None:
    class Nested(pa.DataFrameModel):
        """Nested."""

        zips: T.ArrayType(T.StringType()) = pa.Field(nullable=True)
        scores: T.MapType(T.StringType(), T.IntegerType()) = pa.Field(nullable=True)

    zips, scores = Contract.of(Nested).delta_schema().fields
    assert zips.type.element_type.type == "string"
    assert scores.type.value_type.type == "integer"


def test_columns_of_the_framework_have_no_rules() -> None:
    from medallion.landed import LandedByBatch

    class Raw(LandedByBatch):
        """Raw."""

        v: T.StringType() = pa.Field(nullable=True)

    contract = Contract.of(Raw)
    assert contract.rules == ()
    assert contract.partition_columns == {"": "_batch"}


def test_samples_show_the_key_unless_it_is_personal() -> None:
    class Customer(pa.DataFrameModel):
        """A customer."""

        email: T.StringType() = pa.Field(metadata={"pii": True})
        shop: T.StringType() = pa.Field()

        class Config:
            """The key."""

            unique = ["email", "shop"]

    assert ORDER.sample_columns == ("order_id",)
    assert Contract.of(Customer).sample_columns == ()


def mistake(message: str, **fields: Any) -> Any:
    return pytest.param(fields, message, id=message)


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        mistake(r"Bad.v: metadata \['piii'\] is unknown; use pii, source", v=pa.Field(metadata={"piii": True})),
        mistake(r"Bad: Config.unique names \['w'\]", v=pa.Field(), Config=type("Config", (), {"unique": ["w"]})),
        mistake(r"Bad.v is a key", v=pa.Field(nullable=True), Config=type("Config", (), {"unique": "v"})),
        mistake(r"Bad.v is a partition column", v=pa.Field(nullable=True, metadata={"partition": True})),
        mistake(
            r"Bad: rule names \['v_ge'\] are used twice", v=pa.Field(ge=1), v_ge=row_rule()(lambda cls: F.lit(True))
        ),
        mistake(
            r"Bad.v: check '<lambda>' has no row-wise form; use @row_rule",
            v=pa.Field(),
            v_check=pa.check("v")(lambda cls, v: True),
        ),
        mistake(
            r"Bad: dataframe checks \['whole'\] have no row-wise form",
            v=pa.Field(),
            whole=pa.dataframe_check(lambda cls, df: True, name="whole"),
        ),
    ],
)
def test_a_mistake_fails_when_the_contract_loads(namespace: dict[str, Any], message: str) -> None:
    body = {"__annotations__": {"v": T.LongType}, "__module__": __name__, **namespace}
    model = type("Bad", (pa.DataFrameModel,), body)
    with pytest.raises(ContractError, match=message):
        Contract.of(model)
