"""The days of a calendar as every dimension of dates has them: their columns, and how these follow from the date."""

import pandera.pyspark as pa
import pyspark.sql.types as T
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class CalendarDay(pa.DataFrameModel):  # type: ignore[type-arg]
    """A day, with what reports group by; a contract that extends it names `date` in `Config.unique`."""

    date: T.DateType() = pa.Field(description="The day; the key.")  # type: ignore[valid-type]
    year: T.IntegerType() = pa.Field(description="Calendar year.")  # type: ignore[valid-type]
    quarter: T.IntegerType() = pa.Field(description="Quarter, 1 to 4.")  # type: ignore[valid-type]
    month: T.IntegerType() = pa.Field(description="Month, 1 to 12.")  # type: ignore[valid-type]
    day: T.IntegerType() = pa.Field(description="Day of the month, 1 to 31.")  # type: ignore[valid-type]
    month_start: T.DateType() = pa.Field(description="First day of the month.")  # type: ignore[valid-type]
    iso_year: T.IntegerType() = pa.Field(  # type: ignore[valid-type]
        description="Year that the ISO 8601 week belongs to."
    )
    iso_week: T.IntegerType() = pa.Field(description="ISO 8601 week, 1 to 53.")  # type: ignore[valid-type]
    iso_weekday: T.IntegerType() = pa.Field(  # type: ignore[valid-type]
        description="Day of the week, 1 is Monday and 7 Sunday."
    )
    weekday_name: T.StringType() = pa.Field(description="English name of the weekday.")  # type: ignore[valid-type]
    is_weekend: T.BooleanType() = pa.Field(description="Saturday or Sunday.")  # type: ignore[valid-type]


def calendar_days(days: DataFrame) -> DataFrame:
    """The columns of `CalendarDay` for a frame with a column `date`."""
    day = F.col("date")
    iso_weekday = (F.dayofweek(day) + 5) % 7 + 1
    return days.select(
        "date",
        F.year(day).cast("int").alias("year"),
        F.quarter(day).cast("int").alias("quarter"),
        F.month(day).cast("int").alias("month"),
        F.dayofmonth(day).cast("int").alias("day"),
        F.trunc(day, "month").alias("month_start"),
        F.year(F.date_add(day, (4 - iso_weekday).cast("int"))).cast("int").alias("iso_year"),
        F.weekofyear(day).cast("int").alias("iso_week"),
        iso_weekday.cast("int").alias("iso_weekday"),
        F.element_at(F.array(*[F.lit(name) for name in _DAYS]), iso_weekday.cast("int")).alias("weekday_name"),
        (iso_weekday >= 6).alias("is_weekend"),
    )
