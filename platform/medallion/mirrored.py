"""Base contract of bronze tables that mirror a table of a database: what the framework adds to every row."""

import pandera.pyspark as pa
import pyspark.sql.types as T


class Mirrored(pa.DataFrameModel):  # type: ignore[type-arg]
    """A row of the source with its types, and when it was read.

    A contract that extends it names the source's primary key in `Config.unique`. Its columns are nullable: the source
    has its own rules, and silver has ours.
    """

    ingested_at: T.TimestampType() = pa.Field(  # type: ignore[valid-type]
        alias="_ingested_at", nullable=True, description="When the run that brought these values read them, UTC."
    )
    lsn: T.LongType() = pa.Field(  # type: ignore[valid-type]
        alias="_lsn", nullable=True, description="Position of the source's write-ahead log at which they were read."
    )
