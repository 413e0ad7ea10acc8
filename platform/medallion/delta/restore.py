"""A table goes back to one of its versions, by one more commit."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from medallion.delta.commits import ASSET_KEY, WRITE_MODE
from medallion.delta.protocol import require_writable
from medallion.delta.store import DataFile, DeltaStore, data_files
from medallion.partitions import WHOLE

if TYPE_CHECKING:
    from deltalake import DeltaTable

RESTORED = "medallion/restored_version"
"""Commit metadata: the version that a restore brought back."""


class RestoreError(RuntimeError):
    """A version that a table can't go back to; nothing was changed."""


@dataclass(frozen=True)
class Restoration:
    """What going back to a version would change.

    Attributes:
        path: the table.
        version: the newest version now.
        target: the version to go back to.
        rows_before: rows now.
        rows_after: rows of that version.
        files_in: data files that come back.
        files_out: data files that leave.
        columns_in: columns that come back, with their types.
        columns_out: columns that leave or change their type.
    """

    path: tuple[str, ...]
    version: int
    target: int
    rows_before: int
    rows_after: int
    files_in: tuple[DataFile, ...]
    files_out: tuple[DataFile, ...]
    columns_in: tuple[str, ...]
    columns_out: tuple[str, ...]

    @property
    def partitions(self) -> list[Mapping[str, str | None]]:
        """Raw partition values of which the rows change, each once."""
        values = [file.partition for file in (*self.files_in, *self.files_out)]
        return list({tuple(sorted(raw.items(), key=str)): raw for raw in values}.values())

    @property
    def changes_nothing(self) -> bool:
        """Whether the table holds that version's rows and columns already."""
        return not (self.files_in or self.files_out or self.columns_in or self.columns_out)


def plan_restore(store: DeltaStore, path: Sequence[str], target: int) -> Restoration:
    """Compare a version with the newest, and make sure that all of its files are there.

    Raises:
        TableMissingError: the table was never written.
        VersionMissingError: it has no such version.
        UnsupportedTableError: another writer gave the table a rule that the commit would not keep.
        RestoreError: files of the version were vacuumed.
    """
    now = store.open(path)
    name = "/".join(path)
    require_writable(name, now, "restore")
    then = store.open(path, target)
    files_then = data_files(then, WHOLE)
    # delta-rs looks for the files that come back only; one that both versions share may be gone as well.
    gone = _missing(store, path, files_then)
    if gone:
        raise RestoreError(
            f"{name} can't go back to version {target}: {len(gone)} of its {len(files_then)} data files were vacuumed, "
            f"such as {gone[0]}; nothing was changed. Choose a newer version from: medallion history {name}, or make "
            f"the rows again with: medallion run -s {name}"
        )
    return _compare(tuple(path), now, then, files_then)


def last_restore(store: DeltaStore, path: Sequence[str]) -> Restoration | None:
    """What the newest version changed, if it is a restore.

    Raises:
        TableMissingError: the table was never written.
        VersionMissingError: the log no longer has the version before.
    """
    newest = store.open(path)
    commit = newest.history(1)[0]
    if commit.get(WRITE_MODE) != "restore":
        return None
    before = store.open(path, newest.version() - 1)
    plan = _compare(tuple(path), before, newest, data_files(newest, WHOLE))
    return replace(plan, target=int(commit[RESTORED]))


def _compare(
    path: tuple[str, ...], before: DeltaTable, after: DeltaTable, files_after: Sequence[DataFile]
) -> Restoration:
    files_before = data_files(before, WHOLE)
    held, wanted = {file.path for file in files_before}, {file.path for file in files_after}
    columns_before, columns_after = _columns(before), _columns(after)
    return Restoration(
        path=path,
        version=before.version(),
        target=after.version(),
        rows_before=sum(file.rows for file in files_before),
        rows_after=sum(file.rows for file in files_after),
        files_in=tuple(file for file in files_after if file.path not in held),
        files_out=tuple(file for file in files_before if file.path not in wanted),
        columns_in=tuple(column for column in columns_after if column not in columns_before),
        columns_out=tuple(column for column in columns_before if column not in columns_after),
    )


def restore(store: DeltaStore, plan: Restoration) -> DeltaTable:
    """Carry a plan out, if nobody has changed the table since it was made.

    Returns:
        The table at its new version.

    Raises:
        RestoreError: it was changed in the meantime, or a file has been vacuumed.
    """
    from deltalake import CommitProperties
    from deltalake.exceptions import CommitFailedError, DeltaError

    name = "/".join(plan.path)
    table = store.open(plan.path, plan.version)
    commit = {
        ASSET_KEY: name,
        WRITE_MODE: "restore",
        RESTORED: str(plan.target),
        "medallion/user": getpass.getuser(),
    }
    try:
        # Without retries a commit means that what the plan says is what was changed.
        properties = CommitProperties(custom_metadata=commit, max_commit_retries=0)
        table.restore(plan.target, commit_properties=properties)
    except CommitFailedError as error:
        raise RestoreError(
            f"{name} was changed by another writer after version {plan.version}, so it was not restored and nothing "
            f"was changed; look again: medallion history {name}"
        ) from error
    except DeltaError as error:
        if "missing file" not in str(error):
            raise
        raise RestoreError(
            f"{name} can't go back to version {plan.target}: a data file was vacuumed just now ({error}); nothing was "
            f"changed. Choose a newer version from: medallion history {name}"
        ) from error
    return store.open(plan.path)


def _missing(store: DeltaStore, path: Sequence[str], files: Sequence[DataFile]) -> list[str]:
    """The files of a version that are no longer in storage, from one listing of the table's folder."""
    import obstore

    prefix = "/".join(path)
    # Stores differ in whether they list a name as it is or percent-encoded.
    present = {unquote(str(entry["path"])) for batch in obstore.list(store.objects, prefix) for entry in batch}
    # A path with a scheme is a file outside of the folder, which a shallow clone has.
    wanted = [file.path for file in files if "://" not in file.path]
    return [file for file in wanted if unquote(f"{prefix}/{file}") not in present]


def _columns(table: DeltaTable) -> list[str]:
    return [f"{column.name} {getattr(column.type, 'type', column.type)}" for column in table.schema().fields]
