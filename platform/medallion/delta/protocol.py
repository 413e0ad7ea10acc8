"""What a Delta table demands of its readers and writers, and what is refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

DELETION_VECTORS, COLUMN_MAPPING = "deletionVectors", "columnMapping"
_APPEND_ONLY, _INVARIANTS, _CHECKS, _GENERATED = "appendOnly", "invariants", "checkConstraints", "generatedColumns"
_CHANGE_FEED, _IDENTITY, _VARIANT = "changeDataFeed", "identityColumns", "variantType"
_ANY = frozenset({"timestampNtz", "v2Checkpoint", _VARIANT, DELETION_VECTORS, COLUMN_MAPPING})
_READABLE = _ANY
_WRITABLE = _ANY | {_APPEND_ONLY, _INVARIANTS, _CHECKS, _GENERATED, _CHANGE_FEED}
# What the writer versions stood for before version 7 listed features by name.
_BY_WRITER_VERSION = {
    2: (_APPEND_ONLY, _INVARIANTS),
    3: (_CHECKS,),
    4: (_CHANGE_FEED, _GENERATED),
    5: (COLUMN_MAPPING,),
    6: (_IDENTITY,),
}
_FEATURE_LISTS = 7
_DROP = {
    _CHECKS: "ALTER TABLE … DROP CONSTRAINT …, and declare the rule in the contract",
    _INVARIANTS: "make the column anew, and declare the rule in the contract",
    _GENERATED: "make the column anew, and compute it in the transform",
    DELETION_VECTORS: "REORG TABLE … APPLY (PURGE)",
}


class UnsupportedTableError(ValueError):
    """A table that another Delta writer gave a feature which can't be read or written without loss."""


def require_readable(name: str, table: DeltaTable) -> None:
    """Refuse a table that delta-rs or the engine would read wrongly or not at all.

    Args:
        name: the table, for the message.
        table: opened; only its protocol and metadata are looked at.

    Raises:
        UnsupportedTableError: names the features and the next step.
    """
    unknown = sorted(reader_features(table) - _READABLE)
    if _VARIANT in reader_features(table) and '"variant"' in table.schema().to_json():
        unknown.append(_VARIANT)
    if unknown:
        raise UnsupportedTableError(
            f"{name} uses the Delta features {', '.join(unknown)}, which can't be read here; copy it into a table "
            f"without them with the engine that wrote it, or drop them there (ALTER TABLE … DROP FEATURE {unknown[0]})"
        )


def require_writable(name: str, table: DeltaTable, mode: str) -> None:
    """Refuse to write to a table whose rules the commit could not keep.

    delta-rs reports an unsupported feature as a lost race, and files that enter a table by reference pass none of its
    checks, so both would go wrong later and elsewhere.

    Args:
        name: the table, for the message.
        table: opened.
        mode: `replace`, `append`, `merge` or `scd2`, or another verb that changes rows.

    Raises:
        UnsupportedTableError: names the feature, why, and the next step; nothing was written.
    """
    if unknown := sorted(_writer_features(table) - _WRITABLE):
        raise _refusal(name, unknown[0], "which can't be kept up here")
    configuration = table.metadata().configuration
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        why = "so files that enter it by reference would have columns of other names"
        raise _refusal(name, COLUMN_MAPPING, why)
    if DELETION_VECTORS in _writer_features(table) and deleted_rows(table):
        why = "and a file that has one can't be replaced by reference without bringing its deleted rows back"
        raise _refusal(name, DELETION_VECTORS, why)
    if mode != "append" and configuration.get("delta.appendOnly") == "true":
        raise UnsupportedTableError(
            f"{name} is append-only (delta.appendOnly), so it can't be written with mode {mode!r}; nothing was "
            "written. Declare mode='append', or set delta.appendOnly to false where the table was made"
        )
    if checks := sorted(key for key in configuration if key.startswith("delta.constraints.")):
        constraint = checks[0].removeprefix("delta.constraints.")
        why = f"such as {constraint}, which files that enter it by reference would not be checked against"
        raise _refusal(name, _CHECKS, why)
    for column, key in _field_metadata(table):
        if key == "delta.invariants":
            why = f"on column {column}, which files that enter it by reference would not be checked against"
            raise _refusal(name, _INVARIANTS, why)
        if key == "delta.generationExpression":
            raise _refusal(name, _GENERATED, f"of which {column} would not be computed")


def require_own_files(name: str, table: DeltaTable) -> None:
    """Refuse a shallow clone, whose files are in another table's folder: the engine looks for them in its own.

    Raises:
        UnsupportedTableError: names a file that is elsewhere.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    paths = pa.table(table.get_add_actions())["path"]
    elsewhere = paths.filter(pc.match_substring(paths.cast(pa.string()), "://"))
    if len(elsewhere):
        raise UnsupportedTableError(
            f"{name} is a shallow clone: its data file {elsewhere[0].as_py()} is outside of its folder, where the "
            "engine does not find it. Take the input as a pyarrow Table or a polars frame, or make a deep clone"
        )


def reader_features(table: DeltaTable) -> frozenset[str]:
    """The features that a reader must know, those that an older protocol has without naming them included."""
    protocol = table.protocol()
    if protocol.reader_features is None:
        return frozenset({COLUMN_MAPPING} if protocol.min_reader_version >= 2 else ())
    return frozenset(protocol.reader_features)


def deleted_rows(table: DeltaTable) -> dict[str, int]:
    """Rows that deletion vectors hide, by the URI of their file; such rows still count in the file's statistics."""
    if DELETION_VECTORS not in reader_features(table):
        return {}
    import pyarrow as pa
    import pyarrow.compute as pc

    hidden: dict[str, int] = {}
    for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()):
        for path, kept in zip(batch["filepath"], batch["selection_vector"], strict=True):
            hidden[path.as_py()] = len(kept.values) - (pc.sum(kept.values).as_py() or 0)
    return hidden


def unreadable(name: str, error: DeltaError) -> UnsupportedTableError | None:
    """The error for a person, if delta-rs could not open a table because of a feature it does not know."""
    text = str(error)
    if "Unsupported" not in text and "catalog-managed" not in text:
        return None
    cause = text.rsplit("error:", 1)[-1].removeprefix(" Unsupported:").strip(" .")
    return UnsupportedTableError(
        f"{name} can't be read here: {cause}. Copy it into a table without the feature with the engine that wrote it, "
        "or drop the feature there (ALTER TABLE … DROP FEATURE)"
    )


def _writer_features(table: DeltaTable) -> frozenset[str]:
    protocol = table.protocol()
    if protocol.min_writer_version >= _FEATURE_LISTS:
        return frozenset(protocol.writer_features or ())
    known = _BY_WRITER_VERSION.items()
    return frozenset(name for version, names in known if version <= protocol.min_writer_version for name in names)


def _refusal(name: str, feature: str, why: str) -> UnsupportedTableError:
    return UnsupportedTableError(
        f"{name} uses the Delta feature {feature}, {why}; nothing was written. Write to another table, or drop it "
        f"where the table was made ({_DROP.get(feature, f'ALTER TABLE … DROP FEATURE {feature}')})"
    )


def _field_metadata(table: DeltaTable) -> Iterator[tuple[str, str]]:
    """Every metadata key of every column, nested ones under the name of the innermost field."""
    pending: list[Any] = [json.loads(table.schema().to_json())]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if isinstance(node.get("metadata"), dict) and "name" in node:
                yield from ((str(node["name"]), str(key)) for key in node["metadata"])
            pending.extend(value for key, value in node.items() if key != "metadata")
        elif isinstance(node, list):
            pending.extend(node)
