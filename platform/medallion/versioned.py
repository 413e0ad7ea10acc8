"""Base contract of tables that keep the history of their rows: what the framework adds to every version."""

import pandera.pyspark as pa
import pyspark.sql.types as T


class Versioned(pa.DataFrameModel):  # type: ignore[type-arg]
    """A version of a row: its values hold from `valid_from` until before `valid_to`.

    A contract that extends it names the key and `valid_from` in `Config.unique`; all its other columns are tracked. The
    transform returns `valid_from`, the framework makes the rest. To call a column otherwise, declare one with the same
    `history` metadata; moments may be dates.
    """

    valid_from: T.TimestampType() = pa.Field(  # type: ignore[valid-type]
        description="When the version begins.", metadata={"history": "valid_from"}
    )
    valid_to: T.TimestampType() = pa.Field(  # type: ignore[valid-type]
        nullable=True,
        description="When it ends, which is not part of it; NULL while it is the current one.",
        metadata={"history": "valid_to"},
    )
    is_current: T.BooleanType() = pa.Field(  # type: ignore[valid-type]
        description="Whether it has no end; true for at most one version of a key.",
        metadata={"history": "is_current"},
    )
    version_hash: T.StringType() = pa.Field(  # type: ignore[valid-type]
        alias="_version_hash",
        description="SHA-256 of the tracked values by column name, in hexadecimal.",
        metadata={"history": "version_hash"},
    )
