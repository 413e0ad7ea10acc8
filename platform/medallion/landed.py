"""Base contracts of bronze tables: what the framework adds to every landed row."""

import pandera.pyspark as pa
import pyspark.sql.types as T


class Landed(pa.DataFrameModel):  # type: ignore[type-arg]
    """A landed row as text, with where it came from."""

    ingested_at: T.TimestampType() = pa.Field(  # type: ignore[valid-type]
        alias="_ingested_at", nullable=True, description="When the run read the row, UTC."
    )
    source_file: T.StringType() = pa.Field(  # type: ignore[valid-type]
        alias="_source_file", nullable=True, description="Landed file, relative to the landing zone."
    )
    source_row: T.LongType() = pa.Field(  # type: ignore[valid-type]
        alias="_source_row", nullable=True, description="Number of the record in its file, from 1, header not counted."
    )
    row_hash: T.StringType() = pa.Field(  # type: ignore[valid-type]
        alias="_row_hash", nullable=True, description="SHA-256 of the values by column name, in hexadecimal."
    )
    batch: T.StringType() = pa.Field(  # type: ignore[valid-type]
        alias="_batch", nullable=True, description="Landing slice that the row arrived in: partition key or snapshot."
    )


class LandedByBatch(Landed):
    """A landed row of a table that is partitioned by landing slice."""

    batch: T.StringType() = pa.Field(  # type: ignore[valid-type]
        alias="_batch", description="Landing slice that the row arrived in.", metadata={"partition": True}
    )
