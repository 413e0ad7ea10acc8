"""What the embedded engine does otherwise than Apache Spark, as data, and what Medallion's code does instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capability:
    """One difference between the engines; a test with the same name pins the Sail side of it.

    Attributes:
        name: Identifier, also of the test.
        sail: What pysail does.
        spark: What Apache Spark 4.2 with Delta Lake 4 does.
        instead: What code that has to give the same result on both does.
        source: How the Spark side is known: run side by side, or the documentation that says so.
    """

    name: str
    sail: str
    spark: str
    instead: str
    source: str


PINNED_VERSION = "0.7.2"

_RUN = "run on pysail 0.7.2 and Spark 4.2.0 local[2]"
_DELTA = "Delta Lake documentation, table batch reads and writes"
_CSV = "Spark documentation, CSV files: data source options"

CAPABILITIES: tuple[Capability, ...] = (
    # Delta tables and object stores
    Capability(
        "dynamic_partition_overwrite",
        "partitionOverwriteMode=dynamic is ignored: the whole table is replaced",
        "only partitions that the new rows touch are replaced",
        "publish with delta-rs and an exact predicate; never overwrite a table through the engine",
        f"{_DELTA}: dynamic partition overwrites",
    ),
    Capability(
        "replace_where",
        "replaceWhere is not enforced: rows outside of the predicate are written too",
        "a row outside of the predicate fails the write",
        "publish with delta-rs, which checks every row, or with whole files of the slice's partitions",
        f"{_DELTA}: selective overwrite",
    ),
    Capability(
        "transactional_append",
        "txnAppId and txnVersion are ignored: a repeated append doubles the rows",
        "an append with a known application id and version is skipped",
        "compare delta-rs's transaction_version before the append and commit a Transaction with it",
        f"{_DELTA}: idempotent table writes",
    ),
    Capability(
        "shallow_clone",
        "CREATE TABLE … SHALLOW CLONE is a syntax error",
        "a table that refers to the files of another",
        'merge_in="process"; merge_in="engine" merges in a clone and needs Spark',
        _RUN,
    ),
    Capability(
        "signs_in_column_names",
        "a Delta table's columns may have any name",
        "a blank, a tab, a line break and each of ,;{}()= is refused: DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES",
        "rename the column in the transform: withColumnRenamed, or an alias",
        _RUN,
    ),
    Capability(
        "schema_evolution",
        "columns the table lacks are dropped silently on append, with and without mergeSchema",
        "an error without mergeSchema; with it the columns are added",
        "compare schemas first and add columns with delta-rs",
        f"{_DELTA}: schema enforcement and automatic schema update",
    ),
    Capability(
        "lossy_append",
        "4.7 appended to a bigint column is stored as 4",
        "the append fails: Failed to merge incompatible data types",
        "compare schemas before the write; a contract casts each column itself",
        f"{_DELTA}: schema enforcement",
    ),
    Capability(
        "inferred_not_null",
        "NOT NULL is inferred from expressions (range, lit, count) and stored in the table; later NULLs fail",
        "columns of a table that a DataFrame makes are nullable",
        "create tables from their contract with delta-rs; arrow_batches() drops inferred nullability",
        f"{_DELTA}: create a table",
    ),
    Capability(
        "untyped_null_column",
        "lit(None) without a cast can't be written to Delta",
        "the column is written as void and left out of the files",
        "cast every literal NULL to the contract's type",
        "Delta Lake documentation, void columns",
    ),
    Capability(
        "time_travel_past_a_checkpoint",
        "versions before the last checkpoint fail: Missing commit file; with metadataAsDataRead rows are missing",
        "any version whose log and files are kept can be read",
        "read_version(spark, uri, version), which then reads the version's files",
        f"{_DELTA}: query an older snapshot",
    ),
    Capability(
        "change_data_feed",
        "a table with delta.enableChangeDataFeed can't be written",
        "it can, and the changes are recorded",
        "commit to such tables with delta-rs",
        "Delta Lake documentation, change data feed",
    ),
    Capability(
        "delete_with_subquery",
        "DELETE … WHERE x IN (SELECT …) fails",
        "the rows are deleted",
        "MERGE with delta-rs, or collect the keys when they are few",
        "Delta Lake documentation, table deletes, updates and merges",
    ),
    Capability(
        "affected_rows",
        "UPDATE and MERGE return the number of rows written, copied ones included",
        "they return the number of rows affected",
        "take numUpdatedRows and the like from the commit's operationMetrics",
        "Delta Lake documentation, operation metrics keys",
    ),
    Capability(
        "table_maintenance",
        "OPTIMIZE, VACUUM, RESTORE and DESCRIBE HISTORY don't parse",
        "all four work",
        "maintain tables with delta-rs",
        "Delta Lake documentation, table utility commands",
    ),
    Capability(
        "streaming_into_delta",
        "writeStream to Delta fails: unsupported extension node",
        "micro-batches with exactly-once commits",
        "sensors and partitions, each an idempotent batch",
        "Delta Lake documentation, table streaming reads and writes",
    ),
    Capability(
        "store_credentials",
        "reader and writer options are ignored; only AWS_* variables of the process count",
        "fs.s3a.* options of the session or the reader",
        "SparkEngine(storage_options=…), which exports them and refuses a second set",
        "Hadoop documentation, S3A",
    ),
    # Files
    Capability(
        "missing_path",
        "a csv, json, parquet or text path that isn't there reads as an empty frame without columns",
        "AnalysisException PATH_NOT_FOUND",
        "list files with medallion's landing code, which fails on none, and read Delta tables with read_delta()",
        _RUN,
    ),
    Capability(
        "csv_null_value",
        "the nullValue option is ignored",
        "the text becomes NULL",
        "read CSV with DuckDB as text; turn texts into NULL in silver",
        _RUN,
    ),
    Capability(
        "csv_quoted_empty_string",
        'a quoted empty value ("") reads as NULL',
        "it reads as an empty string, unlike a value that is absent",
        "read CSV with DuckDB as text",
        f"{_CSV}: emptyValue",
    ),
    Capability(
        "csv_encoding",
        "the encoding option is ignored: latin-1 letters become U+FFFD",
        "the file is decoded with it",
        "read CSV with DuckDB, with the encoding declared",
        _RUN,
    ),
    Capability(
        "csv_white_space",
        "ignoreLeadingWhiteSpace and ignoreTrailingWhiteSpace are ignored",
        "values are trimmed",
        "trim() in silver",
        _RUN,
    ),
    Capability(
        "csv_bad_values",
        "a value that isn't of the column's type fails the file in every mode",
        "NULL in PERMISSIVE mode, the row is left out in DROPMALFORMED mode",
        "read every value as text and use try_cast in silver",
        _RUN,
    ),
    Capability(
        "csv_date_format",
        "dateFormat and timestampFormat are ignored: another format fails the file",
        "values are parsed with it",
        "read every value as text and use try_to_timestamp with the format in silver",
        _RUN,
    ),
    Capability(
        "csv_backslash_escape",
        "a backslash before a quote is kept and the quote ends the value",
        "backslash is the default escape character",
        "read CSV with DuckDB, with the escape declared",
        _RUN,
    ),
    Capability(
        "csv_ragged_rows",
        "a row with fewer values fails the file",
        "missing values are NULL",
        "read CSV with DuckDB, which reports the line; the line goes to quarantine",
        _RUN,
    ),
    Capability(
        "csv_column_order",
        "several files are read by position: a file with another column order has its values swapped",
        "the same, unless enforceSchema=false, which fails",
        "read file by file, by column name",
        f"{_CSV}: enforceSchema",
    ),
    Capability(
        "input_file_name",
        "input_file_name() and _metadata.file_path fail",
        "the path of the row's file",
        "read file by file and add the path as a literal",
        _RUN,
    ),
    # Arithmetic
    Capability(
        "integer_overflow",
        "int and bigint arithmetic wraps around, also with ansi.enabled=true",
        "ARITHMETIC_OVERFLOW",
        "cast to bigint or decimal before multiplying; keep money in decimal(18,2)",
        _RUN,
    ),
    Capability(
        "sum_overflow",
        "sum(bigint) wraps around, and sum(decimal(38,0)) exceeds 38 digits",
        "ARITHMETIC_OVERFLOW, or NUMERIC_VALUE_OUT_OF_RANGE",
        "sum decimal(18,2), whose sum is decimal(28,2)",
        _RUN,
    ),
    Capability(
        "decimal_division",
        "decimal(18,2) / decimal(18,2) is decimal(24,6) and truncated",
        "decimal(38,20), rounded half up",
        "divide as double and round, or cast both sides to decimal(38,10) and round",
        _RUN,
    ),
    Capability(
        "decimal_average",
        "avg(decimal) truncates: avg(1, 2, 2) is 1.666666",
        "rounds half up: 1.666667",
        "sum and count, divided as double and rounded",
        _RUN,
    ),
    Capability(
        "double_against_decimal_literal",
        "double > 1.0 in SQL text compares as decimal(30,15) and fails on NaN and infinity",
        "the literal is cast to double",
        "F.col('x') > 1.0, or 1.0D in SQL text",
        _RUN,
    ),
    Capability(
        "banker_rounding",
        "bround(2.5) of a decimal is 3",
        "2",
        "round(), which is half up on both, or bround() of a double",
        _RUN,
    ),
    Capability(
        "approximate_percentile",
        "percentile_approx interpolates to a double, and fails with an array",
        "a value of the column, and an array of them",
        "percentile(), which is exact and the same on both",
        _RUN,
    ),
    Capability(
        "safe_division",
        "try_divide of decimal or double fails",
        "NULL on a zero divisor",
        "x / nullif(y, 0)",
        _RUN,
    ),
    Capability(
        "null_divided_by_zero",
        "NULL / 0 raises: Division by zero, so sum(x) / count(y) fails where y is all NULL",
        "NULL: only a number divided by zero raises",
        "x / nullif(y, 0)",
        _RUN,
    ),
    # Expressions
    Capability(
        "range_over_date",
        "RANGE frames over a DATE column have no bounds",
        "the frame holds the days asked for",
        "order by unix_date(day), with a range of integers",
        _RUN,
    ),
    Capability(
        "filter_order",
        "filters are reordered: a cast fails on rows that an earlier filter excludes",
        "a cast of a row that was filtered out isn't evaluated",
        "try_cast in every filter and column of silver",
        _RUN,
    ),
    Capability(
        "extract_day_of_week",
        "extract(DOW) counts Sunday as 0",
        "Sunday is 1",
        "dayofweek(), which is the same on both",
        _RUN,
    ),
    Capability(
        "weekday_of_sunday",
        "weekday() of a Sunday is -1",
        "6",
        "(dayofweek(day) + 5) % 7",
        "Spark documentation, SQL functions: weekday",
    ),
    Capability(
        "date_difference",
        "date - date and datediff() are bigints of days",
        "an interval, and datediff() an int",
        "cast(datediff() as int)",
        _RUN,
    ),
    Capability(
        "truncated_date",
        "date_trunc(unit, DATE) is a timestamp_ntz, which raises the Delta table to reader version 3",
        "a timestamp",
        "trunc(day, unit), a date on both",
        _RUN,
    ),
    Capability(
        "initial_capitals",
        "initcap('a-b') is 'A-B'",
        "'A-b': only white space starts a word",
        "lower() for keys; no initcap() in what is compared",
        _RUN,
    ),
    Capability(
        "decimal_hash",
        "hash() of a decimal differs",
        "another value",
        "xxhash64() or sha2() of the value cast to string",
        _RUN,
    ),
    Capability(
        "array_contains_null",
        "array_contains(array(1, NULL), 2) is false",
        "NULL",
        "coalesce(array_contains(…), false)",
        "Spark source, ArrayContains.nullSafeEval",
    ),
    Capability(
        "exploded_map",
        "explode of a map made by map() or create_map() panics",
        "one row per entry",
        "inline(array(struct(key, value), …))",
        _RUN,
    ),
    Capability(
        "json_timestamp",
        "from_json with an ISO timestamp (with T) fails the query",
        "the timestamp is parsed",
        "declare it as string in from_json and use try_to_timestamp",
        _RUN,
    ),
    Capability(
        "higher_order_functions",
        "zip_with and transform_values don't exist",
        "both exist",
        "transform() over arrays_zip(), or over map_entries()",
        _RUN,
    ),
    Capability(
        "look_around_in_patterns",
        "look-ahead and look-behind fail",
        "Java's regular expressions",
        "capture groups with regexp_extract",
        _RUN,
    ),
    Capability(
        "self_join",
        "x.join(x.filter(…), x.v == x.v) is ambiguous",
        "the join is resolved",
        "alias() both sides",
        _RUN,
    ),
    Capability(
        "void_union",
        "a union of void and int reports void, and its sum fails",
        "the union is an int",
        "cast NULL literals",
        _RUN,
    ),
    Capability(
        "union_of_commented_columns",
        "aggregates of a union of Delta columns with different comments fail: Physical input schema",
        "comments don't matter to a query",
        "a full join on the column, or compute it on one side (x + 0, concat(x, '')); an alias keeps the comment",
        _RUN,
    ),
    Capability(
        "array_size_as_window_key",
        "size(x) > 0 in PARTITION BY or ORDER BY of a window fails: Error during planning",
        "any expression can be a window's key",
        "make it a column first, and the column the key",
        _RUN,
    ),
    # Execution
    Capability(
        "cache",
        "cache() and persist() do nothing: a plan runs again each time",
        "the result is kept",
        "write_delta() to a staging table and read_delta() it",
        _RUN,
    ),
    Capability(
        "broadcast_hint",
        "broadcast() and other join hints do nothing",
        "the hinted side is sent to every executor",
        "keep the hint for Spark; the embedded engine picks the side by its statistics",
        _RUN,
    ),
    Capability(
        "observed_metrics",
        "observe() fails: collect metrics",
        "metrics of the rows that pass by",
        "count in a separate aggregate over the staged table",
        _RUN,
    ),
    Capability(
        "hash_join_memory",
        "the build side of a hash join doesn't spill: the query fails when it doesn't fit into the pool",
        "a join sorts and spills",
        "SparkEngine(spilling_joins=True), or a larger memory_bytes",
        "Spark documentation, SQL performance tuning: join strategy hints",
    ),
)
