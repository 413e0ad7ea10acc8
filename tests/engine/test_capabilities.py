"""One probe per row of the capability table: a new pysail that behaves otherwise turns the row's test red.

Each probe shows the difference, then that what the row says to do instead gives the right result. When one fails after
a version bump, look at both: the row may be gone, and code that worked around it may be simplified.
"""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from medallion.engine.capabilities import CAPABILITIES, PINNED_VERSION, Capability
from medallion.engine.frames import arrow_batches, read_delta, read_version, write_delta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import DataFrame, SparkSession

PROBES: dict[str, Callable[[Engine], None]] = {}


class Engine:
    """What a probe works with: a session and a folder of its own."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark = spark
        self.folder = folder
        self.table = str(folder / "table")

    def sql(self, query: str) -> DataFrame:
        return self.spark.sql(query)

    def value(self, expression: str, rows: str = "values (1) t(x)") -> Any:
        return self.sql(f"select {expression} from {rows}").collect()[0][0]

    def create(self, query: str, *partition_by: str) -> str:
        write_delta(self.sql(query), self.table, partition_by)
        return self.table

    def write(self, query: str, mode: str, **options: str) -> None:
        self.sql(query).write.format("delta").mode(mode).options(**options).save(self.table)

    def rows(self, table: str | None = None) -> list[tuple[Any, ...]]:
        return sorted(tuple(row) for row in read_delta(self.spark, table or self.table).collect())

    def csv(self, text: str | bytes, schema: str | None = None, **options: str) -> list[tuple[Any, ...]]:
        file = self.folder / "file.csv"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        reader = self.spark.read.options(header="true", **options)
        return [tuple(row) for row in (reader.schema(schema) if schema else reader).csv(str(file)).collect()]


def pins(name: str) -> Callable[[Callable[[Engine], None]], Callable[[Engine], None]]:
    def register(probe: Callable[[Engine], None]) -> Callable[[Engine], None]:
        assert name not in PROBES
        PROBES[name] = probe
        return probe

    return register


@contextmanager
def fails(message: str) -> Iterator[None]:
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException, match=message):
        yield


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda capability: capability.name)
def test_the_embedded_engine_still_behaves_as_the_row_says(
    capability: Capability, spark: SparkSession, tmp_path: Path
) -> None:
    PROBES[capability.name](Engine(spark, tmp_path))


def test_every_row_has_a_probe_and_every_probe_a_row() -> None:
    names = [capability.name for capability in CAPABILITIES]
    assert len(names) == len(set(names))
    assert set(names) == set(PROBES)


def test_no_row_leaves_a_column_empty() -> None:
    for row in CAPABILITIES:
        assert all([row.sail, row.spark, row.instead, row.source]), row.name


def test_the_table_describes_the_installed_engine() -> None:
    assert version("pysail") == PINNED_VERSION, "run these tests, correct the rows, then change PINNED_VERSION"


# Delta tables and object stores


@pins("dynamic_partition_overwrite")
def _(engine: Engine) -> None:
    engine.create("select * from values (1, 'a'), (2, 'b') t(v, p)", "p")
    engine.write("select 3 v, 'b' p", "overwrite", partitionOverwriteMode="dynamic")
    assert engine.rows() == [(3, "b")]


@pins("replace_where")
def _(engine: Engine) -> None:
    from deltalake import write_deltalake
    from deltalake.exceptions import DeltaError

    engine.create("select * from values (1, 'a'), (2, 'b') t(v, p)", "p")
    stray = "select * from values (9, 'a'), (8, 'b') t(v, p)"
    engine.write(stray, "overwrite", replaceWhere="p = 'a'")
    assert engine.rows() == [(2, "b"), (8, "b"), (9, "a")]
    with pytest.raises(DeltaError, match="failed validation"):
        write_deltalake(engine.table, arrow_batches(engine.sql(stray)), mode="overwrite", predicate="p = 'a'")


@pins("transactional_append")
def _(engine: Engine) -> None:
    for _repeat in range(2):
        engine.write("select 1 v", "append", txnAppId="load", txnVersion="1")
    assert engine.rows() == [(1,), (1,)]


@pins("shallow_clone")
def _(engine: Engine) -> None:
    table = engine.create("select 1 v")
    with fails("found shallow"):
        engine.sql(f"create table delta.`{engine.folder / 'clone'}` shallow clone delta.`{table}`").collect()


@pins("signs_in_column_names")
def _(engine: Engine) -> None:
    table = engine.create("select 1 `net (EUR), paid`")
    frame = read_delta(engine.spark, table)
    assert frame.columns == ["net (EUR), paid"]
    assert frame.withColumnRenamed("net (EUR), paid", "net_paid").columns == ["net_paid"]


@pins("schema_evolution")
def _(engine: Engine) -> None:
    engine.create("select 1 a")
    engine.write("select 2 a, 'lost' b", "append")
    engine.write("select 3 a, 'lost' b", "append", mergeSchema="true")
    assert engine.rows() == [(1,), (2,), (3,)]


@pins("lossy_append")
def _(engine: Engine) -> None:
    engine.create("select 1L a")
    engine.write("select 4.7D a", "append")
    assert engine.rows() == [(1,), (4,)]


@pins("inferred_not_null")
def _(engine: Engine) -> None:
    from deltalake import DeltaTable

    engine.create("select 1L id, 'x' label")
    assert [field.nullable for field in DeltaTable(engine.table).schema().fields] == [False, False]
    with fails("NOT_NULL_CONSTRAINT_VIOLATED"):
        engine.write("select 2L id, cast(null as string) label", "append")
    assert all(field.nullable for field in arrow_batches(engine.sql("select 1L id, 'x' label")).schema)


@pins("untyped_null_column")
def _(engine: Engine) -> None:
    with fails("Invalid data type for Delta Lake: Null"):
        engine.create("select 1 a, null b")


@pins("time_travel_past_a_checkpoint")
def _(engine: Engine) -> None:
    for value in range(12):
        engine.write(f"select {value} v", "append")
    reader = engine.spark.read.format("delta").option("versionAsOf", "3")
    with fails("Missing commit file"):
        reader.load(engine.table).count()
    assert reader.option("metadataAsDataRead", "true").load(engine.table).count() == 2
    assert read_version(engine.spark, engine.table, 3).count() == 4


@pins("change_data_feed")
def _(engine: Engine) -> None:
    from deltalake import DeltaTable, Field, Schema

    schema = Schema([Field("v", "integer")])
    DeltaTable.create(engine.table, schema, configuration={"delta.enableChangeDataFeed": "true"})
    with fails("ChangeDataFeed"):
        engine.write("select 1 v", "append")


@pins("delete_with_subquery")
def _(engine: Engine) -> None:
    engine.create("select 1 v")
    with fails("InSubquery"):
        engine.sql(f"delete from delta.`{engine.table}` where v in (select 1)").collect()


@pins("affected_rows")
def _(engine: Engine) -> None:
    from deltalake import DeltaTable

    write_delta(engine.sql("select id, 'a' p from range(0, 3, 1, 1)"), engine.table)
    assert engine.sql(f"update delta.`{engine.table}` set p = 'z' where id = 1").collect()[0][0] == 3
    assert DeltaTable(engine.table).history(1)[0]["operationMetrics"]["numUpdatedRows"] == 1


@pins("table_maintenance")
def _(engine: Engine) -> None:
    engine.create("select 1 v")
    for statement in ("optimize {}", "vacuum {}", "restore table {} to version as of 0", "describe history {}"):
        with fails("invalid argument: found"):
            engine.sql(statement.format(f"delta.`{engine.table}`")).collect()


@pins("streaming_into_delta")
def _(engine: Engine) -> None:
    stream = engine.spark.readStream.format("rate").load().writeStream.format("delta")
    with fails("unsupported extension node for streaming: DeltaWriteNode"):
        stream.option("checkpointLocation", str(engine.folder / "checkpoint")).start(engine.table)


_READ_FROM_STORE = """
import os, sys
from medallion.engine.resource import SparkEngine
reader = SparkEngine().spark_session.read.format("delta")
try:
    reader.option("AWS_ENDPOINT_URL", sys.argv[1]).option("AWS_ACCESS_KEY_ID", "option").load("s3://bucket/table").count()
except Exception as error:
    print(error)
"""


@pins("store_credentials")
def _(engine: Engine) -> None:
    with empty_object_store() as (url, keys), empty_object_store() as (other_url, other_keys):
        environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "environment",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        # In a process of its own: the engine keeps the first credentials it sees as long as the process lives.
        answer = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _READ_FROM_STORE, other_url],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert "Generic S3 error" in answer.stdout
    assert set(keys) == {"environment"}
    assert other_keys == []


@contextmanager
def empty_object_store() -> Iterator[tuple[str, list[str]]]:
    """Answer every request with 404; yield the address and the access keys that were seen."""
    keys: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers["authorization"].split("Credential=")[1].split("/")[0])
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", keys
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Files


@pins("missing_path")
def _(engine: Engine) -> None:
    for kind in ("csv", "json", "parquet", "text"):
        assert engine.spark.read.format(kind).load(f"{engine.folder}/absent.{kind}").count() == 0
    with fails("No commit files found"):
        read_delta(engine.spark, f"{engine.folder}/absent").count()


@pins("csv_null_value")
def _(engine: Engine) -> None:
    assert engine.csv("a,b\nNA,1\n", nullValue="NA") == [("NA", "1")]


@pins("csv_quoted_empty_string")
def _(engine: Engine) -> None:
    assert engine.csv('a,b\n"",\n') == [(None, None)]


@pins("csv_encoding")
def _(engine: Engine) -> None:
    assert engine.csv("a\né\n".encode("latin-1"), encoding="ISO-8859-1") == [("\ufffd",)]


@pins("csv_white_space")
def _(engine: Engine) -> None:
    options = {"ignoreLeadingWhiteSpace": "true", "ignoreTrailingWhiteSpace": "true"}
    assert engine.csv("a,b\n x ,1\n", **options) == [(" x ", "1")]


@pins("csv_bad_values")
def _(engine: Engine) -> None:
    for mode in ("PERMISSIVE", "DROPMALFORMED"):
        with fails("Error while parsing value 'z'"):
            engine.csv("a,b\n1,x\nz,y\n", schema="a int, b string", mode=mode)


@pins("csv_date_format")
def _(engine: Engine) -> None:
    with fails("Error while parsing value '31/12/2024'"):
        engine.csv("d\n31/12/2024\n", schema="d date", dateFormat="dd/MM/yyyy")
    with fails("Error parsing timestamp from '31/12/2024 01:02:03'"):
        engine.csv("t\n31/12/2024 01:02:03\n", schema="t timestamp", timestampFormat="dd/MM/yyyy HH:mm:ss")
    assert engine.value("try_to_timestamp('31/12/2024', 'dd/MM/yyyy')") == datetime(2024, 12, 31)


@pins("csv_backslash_escape")
def _(engine: Engine) -> None:
    assert engine.csv('a,b\n"x\\"y",1\n') == [('x\\y"', "1")]


@pins("csv_ragged_rows")
def _(engine: Engine) -> None:
    with fails("expected 2 got 1"):
        engine.csv("a,b\n1,2\n3\n")


@pins("csv_column_order")
def _(engine: Engine) -> None:
    (engine.folder / "1.csv").write_text("a,b\n1,2\n")
    (engine.folder / "2.csv").write_text("b,a\n2,1\n")
    rows = engine.spark.read.option("header", "true").csv(str(engine.folder)).collect()
    assert sorted(tuple(row) for row in rows) == [("1", "2"), ("2", "1")]


@pins("input_file_name")
def _(engine: Engine) -> None:
    engine.sql("select 1 a").write.parquet(engine.table)
    frame = engine.spark.read.parquet(engine.table)
    with fails("function: input_file_name"):
        frame.selectExpr("input_file_name()").collect()
    with fails("_metadata"):
        frame.select("_metadata.file_path").collect()


# Arithmetic


@pins("integer_overflow")
def _(engine: Engine) -> None:
    assert engine.spark.conf.get("spark.sql.ansi.enabled") == "true"
    assert engine.value("2147483647 + 1") == -(2**31)
    assert engine.value("9223372036854775807 + 1") == -(2**63)
    assert engine.value("cast(2147483647 as bigint) + 1") == 2**31


@pins("sum_overflow")
def _(engine: Engine) -> None:
    assert engine.value("sum(x)", "values (9223372036854775807), (1) t(x)") == -(2**63)
    nines = "9" * 38
    assert engine.value("sum(cast(x as decimal(38, 0)))", f"values ('{nines}'), ('1') t(x)") == 10**38
    assert engine.sql("select sum(cast(1 as decimal(18, 2))) s").dtypes == [("s", "decimal(28,2)")]


@pins("decimal_division")
def _(engine: Engine) -> None:
    quotient = engine.sql("select cast(10.01 as decimal(18, 2)) / cast(3 as decimal(18, 2)) q")
    assert quotient.dtypes == [("q", "decimal(24,6)")]
    assert quotient.collect()[0].q == Decimal("3.336666")
    assert engine.value("round(cast(10.01 as double) / 3, 6)") == 3.336667


@pins("decimal_average")
def _(engine: Engine) -> None:
    amounts = "(select cast(x as decimal(18, 2)) x from values (1), (2), (2) t(x)) t"
    assert engine.value("avg(x)", amounts) == Decimal("1.666666")
    assert engine.value("round(cast(sum(x) as double) / count(x), 6)", amounts) == 1.666667


@pins("double_against_decimal_literal")
def _(engine: Engine) -> None:
    import pyspark.sql.functions as F

    numbers = engine.sql("select cast(x as double) x from values ('NaN'), ('inf'), ('0.5') t(x)")
    with fails("Decimal128"):
        numbers.where("x > 1.0").count()
    assert numbers.where("x > 1.0D").count() == numbers.where(F.col("x") > 1.0).count() == 2


@pins("banker_rounding")
def _(engine: Engine) -> None:
    assert engine.value("bround(2.5)") == 3
    assert engine.value("bround(2.5D)") == 2
    assert engine.value("round(2.5)") == 3


@pins("approximate_percentile")
def _(engine: Engine) -> None:
    assert engine.value("percentile_approx(id, 0.5)", "range(10)") == 4.5
    with fails("failed to match any signature"):
        engine.value("percentile_approx(id, array(0.5))", "range(10)")
    assert engine.value("percentile(id, array(0.5))", "range(101)") == [50.0]


@pins("safe_division")
def _(engine: Engine) -> None:
    for operands in ("1D, 0D", "cast(1 as decimal(10, 2)), 0"):
        with fails("Unsupported Data Type"):
            engine.value(f"try_divide({operands})")
    assert engine.value("1D / nullif(0D, 0D)") is None


@pins("null_divided_by_zero")
def _(engine: Engine) -> None:
    with fails("(?i)divi(de|sion) by zero"):
        engine.value("x / 0", "values (cast(null as double)) t(x)")
    empty = "values (cast(null as double), cast(null as int)) t(x, y)"
    with fails("Division by zero"):
        engine.value("sum(x) / count(y)", empty)
    assert engine.value("sum(x) / nullif(count(y), 0)", empty) is None


# Expressions


@pins("range_over_date")
def _(engine: Engine) -> None:
    def window(order: str, preceding: str) -> list[int]:
        frame = f"order by {order} range between {preceding} preceding and current row"
        days = "values (date'2024-01-01'), (date'2024-01-02'), (date'2024-01-10') t(d)"
        return [row.c for row in engine.sql(f"select d, count(*) over ({frame}) c from {days} order by d").collect()]

    assert window("d", "interval 1 day") == window("d", "1") == [1, 2, 3]
    assert window("unix_date(d)", "1") == [1, 2, 1]


@pins("filter_order")
def _(engine: Engine) -> None:
    engine.create("select * from values ('x'), ('1') t(s)")
    digits = read_delta(engine.spark, engine.table).where("s rlike '^[0-9]+$'")
    with fails("Cannot cast string 'x'"):
        digits.where("cast(s as int) > 0").collect()
    with fails("Cannot cast string 'x'"):
        digits.selectExpr("cast(s as int) i").where("i > 0").collect()
    assert digits.where("try_cast(s as int) > 0").count() == 1


@pins("extract_day_of_week")
def _(engine: Engine) -> None:
    assert engine.value("extract(dow from date'2024-01-07')") == 0
    assert engine.value("dayofweek(date'2024-01-07')") == 1


@pins("weekday_of_sunday")
def _(engine: Engine) -> None:
    week = "(select explode(sequence(date'2024-01-01', date'2024-01-07')) d)"
    days = engine.sql(f"select d, weekday(d) w, (dayofweek(d) + 5) % 7 instead from {week} order by d").collect()
    assert [day.w for day in days] == [0, 1, 2, 3, 4, 5, -1]
    assert [day.instead for day in days] == [day.d.weekday() for day in days] == list(range(7))


@pins("date_difference")
def _(engine: Engine) -> None:
    assert engine.sql("select date'2024-01-03' - date'2024-01-01' n").dtypes == [("n", "bigint")]
    assert engine.sql("select datediff(date'2024-01-03', date'2024-01-01') n").dtypes == [("n", "bigint")]


@pins("truncated_date")
def _(engine: Engine) -> None:
    from deltalake import DeltaTable

    engine.create("select date_trunc('MM', date'2024-02-03') m")
    assert DeltaTable(engine.table).protocol().min_reader_version == 3
    assert engine.value("trunc(date'2024-02-03', 'MM')") == date(2024, 2, 1)


@pins("initial_capitals")
def _(engine: Engine) -> None:
    assert engine.value("initcap('a-b c')") == "A-B C"


@pins("decimal_hash")
def _(engine: Engine) -> None:
    assert engine.value("hash(1)") == -559580957
    assert engine.value("hash(cast(1.5 as decimal(10, 2)))") == -1527362282


@pins("array_contains_null")
def _(engine: Engine) -> None:
    assert engine.value("array_contains(array(1, null), 2)") is False
    assert engine.value("coalesce(array_contains(array(1, null), 2), false)") is False


@pins("exploded_map")
def _(engine: Engine) -> None:
    from pyspark.errors import PySparkException

    # How the panic reaches the client varies: a cancelled stream, or an internal error.
    with pytest.raises(PySparkException):
        engine.sql("select explode(map('a', 1))").collect()
    assert engine.sql("select inline(array(struct('a' as k, 1 as v)))").collect() == [("a", 1)]


@pins("json_timestamp")
def _(engine: Engine) -> None:
    document = """'{"t": "2024-01-01T10:00:00Z"}'"""
    with fails("expected datetime literal"):
        engine.value(f"from_json({document}, 't timestamp')")
    assert engine.value(f"try_to_timestamp(from_json({document}, 't string').t)") == datetime(2024, 1, 1, 10)


@pins("higher_order_functions")
def _(engine: Engine) -> None:
    with fails("function: zip_with"):
        engine.value("zip_with(array(1), array(2), (a, b) -> a + b)")
    with fails("function: transform_values"):
        engine.value("transform_values(map('a', 1), (k, v) -> v + 1)")
    assert engine.value("transform(arrays_zip(l, r), p -> p.l + p.r)", "(select array(1) l, array(2) r)") == [3]


@pins("look_around_in_patterns")
def _(engine: Engine) -> None:
    with fails("look-around"):
        engine.value("regexp_replace('ab', '(?=b)', '-')")


@pins("self_join")
def _(engine: Engine) -> None:
    frame = engine.sql("select id v from range(3)")
    with fails("ambiguous attribute"):
        frame.join(frame.where("v > 0"), frame["v"] == frame["v"]).count()
    left, right = frame.alias("l"), frame.where("v > 0").alias("r")
    import pyspark.sql.functions as F

    assert left.join(right, F.col("l.v") == F.col("r.v")).count() == 2


@pins("void_union")
def _(engine: Engine) -> None:
    union = engine.sql("select null a").union(engine.sql("select 2 a"))
    assert union.dtypes == [("a", "void")]
    with fails("SUM not supported for Null"):
        union.selectExpr("sum(a)").collect()
    assert engine.sql("select cast(null as int) a").union(engine.sql("select 2 a")).dtypes == [("a", "int")]


@pins("union_of_commented_columns")
def _(engine: Engine) -> None:
    import pyarrow as pa
    import pyspark.sql.functions as F
    from deltalake import write_deltalake

    def keys(name: str, nullable: bool) -> DataFrame:
        fields = [
            pa.field("n", pa.int64(), nullable, metadata={"comment": f"{name}'s number"}),
            pa.field("s", pa.string(), nullable, metadata={"comment": f"{name}'s name"}),
        ]
        uri = str(engine.folder / name)
        write_deltalake(uri, pa.table({"n": [1], "s": ["a"]}, schema=pa.schema(fields)))
        return read_delta(engine.spark, uri)

    def counted(frame: DataFrame, key: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in frame.groupBy(key).agg(F.count(key)).collect()]

    orders, items = keys("orders", False), keys("items", True)
    refused = {
        "as it is": lambda key: F.col(key),
        "alias": lambda key: F.col(key).alias(key),
        "coalesce": lambda key: F.coalesce(F.col(key), F.col(key)).alias(key),
    }
    for kept in refused.values():
        for key in ("n", "s"):
            with fails("Physical input schema should be the same"):
                counted(orders.select(kept(key)).union(items.select(kept(key))), key)
    computed = {"n": F.col("n") + 0, "s": F.concat("s", F.lit(""))}
    for key, value in (("n", 1), ("s", "a")):
        assert counted(orders.select(computed[key].alias(key)).union(items.select(key)), key) == [(value, 2)]
        assert counted(orders.select(key).union(items.select(computed[key].alias(key))), key) == [(value, 2)]
        assert counted(orders.select(key).join(items.select(key), key, "full"), key) == [(value, 1)]


@pins("array_size_as_window_key")
def _(engine: Engine) -> None:
    rows = "values (1, array('x')), (2, array()) t(v, a)"
    for window in ("partition by size(a) > 0 order by v", "order by size(a) > 0"):
        with fails("Error during planning"):
            engine.sql(f"select row_number() over ({window}) from {rows}").collect()
    numbered = f"select v, row_number() over (order by filled desc) n from (select v, size(a) > 0 filled from {rows})"
    assert sorted(engine.sql(numbered).collect()) == [(1, 1), (2, 2)]


# Execution


@pins("cache")
def _(engine: Engine) -> None:
    frame = engine.sql("select uuid() u").cache()
    assert frame.collect() != frame.collect()
    write_delta(engine.sql("select uuid() u"), engine.table)
    kept = read_delta(engine.spark, engine.table, 0)
    assert kept.collect() == kept.collect()


@pins("broadcast_hint")
def _(engine: Engine) -> None:
    import re

    import pyspark.sql.functions as F

    def plan(hinted: bool) -> str:
        large = engine.spark.range(1000)
        frame = engine.spark.range(3).join(F.broadcast(large) if hinted else large, "id")
        return re.sub(r"#\d+", "#", frame._explain_string())

    assert plan(hinted=True) == plan(hinted=False)


@pins("observed_metrics")
def _(engine: Engine) -> None:
    import pyspark.sql.functions as F
    from pyspark.sql import Observation

    with fails("collect metrics"):
        engine.spark.range(3).observe(Observation("rows"), F.count(F.lit(1)).alias("rows")).collect()


@contextmanager
def session_of_its_own(memory_bytes: int = 256 << 20, *, spilling_joins: bool = False) -> Iterator[SparkSession]:
    """A session on another server of this process, which has seen no settings and no object store yet."""
    from pyspark.sql import SparkSession

    from medallion.engine.sail import EmbeddedSail

    server = EmbeddedSail(memory_bytes, spilling_joins=spilling_joins)
    spark = SparkSession.builder.remote(server.url).create()
    try:
        yield spark
    finally:
        spark.stop()
        server.stop()


@pins("hash_join_memory")
def _(engine: Engine) -> None:
    def join(spilling: bool) -> int:
        with session_of_its_own(128 << 20, spilling_joins=spilling) as spark:
            keys = spark.sql("select concat('key-', id) k, sha2(cast(id as string), 256) v from range(1500000)")
            other = spark.sql("select concat('key-', id) k2 from range(1500000)")
            return keys.join(other, keys["k"] == other["k2"]).selectExpr("count(v)").collect()[0][0]

    with fails("HashJoinInput"):
        join(spilling=False)
    assert join(spilling=True) == 1_500_000
