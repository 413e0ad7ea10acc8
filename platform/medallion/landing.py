"""The landing zone: files that arrived, by domain, table and slice, on local disk or in an object store."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from medallion.object_store import open_store
from medallion.storage_errors import storage_error

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

SNAPSHOT = "snapshot"
"""The slice of a table that arrives whole."""

_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".inprogress", "~")
_CHUNK_BYTES = 1 << 20
_PLAIN_MD5 = re.compile(r"[0-9a-f]{32}")


class LandingError(Exception):
    """Landed files can't be found, read or written; the message names the place, the cause and the next step."""


@dataclass(frozen=True)
class LandedFile:
    """One file that arrived whole.

    Attributes:
        path: relative to the landing root, with `/`: `olist/orders/2017-01/orders.csv`.
        size: bytes.
        fingerprint: changes when the file is replaced: the store's ETag.
    """

    path: str
    size: int
    fingerprint: str


class Landing:
    """Files at `<root>/<domain>/<table>/<slice>/<file>`; a slice is a Dagster partition key or `snapshot`.

    Prevents half-arrived files from being read: a file that is written here appears whole or not at all, and names
    that other writers use for unfinished files (a leading `.` or `_`, a trailing `.tmp`, `.part`, …) are passed over.

    Args:
        root: a local folder, or `s3://bucket/prefix`.
        storage_options: for S3, the names that delta-rs uses: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
            AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ALLOW_HTTP. Those that are left out come from the
            environment, others are ignored.

    Raises:
        LandingError: `root` is a URL of another store.
    """

    def __init__(self, root: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.root = root.rstrip("/") or "/"
        self._options = dict(storage_options or {})
        scheme, separator, rest = self.root.partition("://")
        if separator and scheme not in ("s3", "s3a", "file"):
            raise LandingError(f"The landing root {root} is neither a local folder nor s3://bucket/prefix.")
        self._folder = None if separator and scheme != "file" else Path(rest if separator else self.root).absolute()
        self._opened: ObjectStore | None = None

    def __repr__(self) -> str:
        return f"Landing({self.root!r})"  # never the options: they hold the secret key

    @property
    def is_local(self) -> bool:
        """Whether the files are on this machine's disk."""
        return self._folder is not None

    def slices(self, domain: str, table: str) -> list[str]:
        """The slices of a table that have at least one file, sorted; none when nothing has landed yet."""
        return sorted({slice_key for _, slice_key in self._grouped(f"{domain}/{table}")})

    def files(self, domain: str, table: str, slice_key: str) -> list[LandedFile]:
        """The files of a slice, sorted by path: always at least one.

        Raises:
            LandingError: nothing has landed for this slice.
        """
        _check_parts(domain, table, slice_key)
        files = self._grouped(f"{domain}/{table}/{slice_key}").get((table, slice_key), [])
        if files:
            return files
        there = self.slices(domain, table)
        known = f"It has {', '.join(_shortened(there))}." if there else "No slice of this table has landed."
        raise LandingError(
            f"Nothing has landed in {self.root}/{domain}/{table}/{slice_key}. {known}"
            f" Land it with `medallion land {domain} PATH`, or leave this slice out of the run."
        )

    def scan(self, domain: str, table: str | None = None) -> dict[tuple[str, str], str]:
        """Every landed (table, slice) of a domain with a fingerprint of its files, by one listing of the store.

        The fingerprint changes when a file of the slice is added, removed or replaced.

        Args:
            domain: the domain.
            table: the only table to list; all of the domain if left out.
        """
        return {
            key: hashlib.sha256("\n".join(f"{file.path}\t{file.fingerprint}" for file in files).encode()).hexdigest()[
                :32
            ]
            for key, files in sorted(self._grouped(domain if table is None else f"{domain}/{table}").items())
        }

    @contextmanager
    def fetch(self, file: LandedFile) -> Iterator[Path]:
        """Give a landed file as a local path: the file itself, or a copy that is removed when the block ends.

        Raises:
            LandingError: the file is gone, or was replaced since it was listed.
        """
        if self._folder is not None:
            there = self._head(file.path)
            if there != file:
                change = "is gone" if there is None else "was replaced"
                raise LandingError(f"{self.root}/{file.path} {change} after it was listed. Run again to list anew.")
            yield self._folder / file.path
            return
        with tempfile.TemporaryDirectory(prefix="medallion-landing-") as folder:
            path = Path(folder) / Path(file.path).name
            with path.open("wb") as copy:
                for chunk in self._chunks(file):
                    copy.write(chunk)
            yield path

    def _chunks(self, file: LandedFile) -> Iterator[bytes]:
        import obstore
        from obstore.exceptions import PreconditionError

        with self._explained(f"{self.root}/{file.path} can't be read"):
            try:
                answer = obstore.get(self._store, file.path, options={"if_match": file.fingerprint})
                for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
                    yield bytes(chunk)
            except FileNotFoundError as error:
                raise LandingError(
                    f"{self.root}/{file.path} is gone after it was listed. Run again to list anew."
                ) from error
            except PreconditionError as error:
                raise LandingError(
                    f"{self.root}/{file.path} was replaced after it was listed. Run again to list anew."
                ) from error

    @contextmanager
    def write(self, domain: str, table: str, slice_key: str, name: str) -> Iterator[IO[bytes]]:
        """Give a binary file to write; it appears in the slice when the block ends, and never when the block fails.

        An existing file of that name is replaced in one step.

        Raises:
            LandingError: a part of the path can't be one, or the file can't be written.
            StorageError: the object store refuses the file.
        """
        _check_parts(domain, table, slice_key, name)
        path = f"{domain}/{table}/{slice_key}/{name}"
        if self._folder is not None:
            with _replacing(self._folder / path) as file:
                yield file
            return
        import obstore

        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            with self._explained(f"{self.root}/{path} can't be written"):
                obstore.put(self._store, path, spool)

    def holds(self, domain: str, table: str, slice_key: str, name: str, content: Path) -> bool:
        """Whether the file in the landing zone has exactly the bytes of the local file `content`.

        A plain MD5 ETag of an object store is believed; under any other ETag the object is read and compared.
        """
        _check_parts(domain, table, slice_key, name)
        file = self._head(f"{domain}/{table}/{slice_key}/{name}")
        if file is None or file.size != content.stat().st_size:
            return False
        with content.open("rb") as ours:
            if not self.is_local and _PLAIN_MD5.fullmatch(file.fingerprint.strip('"')):
                return hashlib.file_digest(ours, "md5").hexdigest() == file.fingerprint.strip('"')
            with self.fetch(file) as local, local.open("rb") as theirs:
                return hashlib.file_digest(ours, "sha256").digest() == hashlib.file_digest(theirs, "sha256").digest()

    def _head(self, path: str) -> LandedFile | None:
        import obstore

        if self._folder is not None and not (self._folder / path).is_file():
            return None
        with self._explained(f"{self.root}/{path} can't be read"):
            try:
                return _landed(obstore.head(self._store, path))
            except FileNotFoundError:
                return None

    def _grouped(self, prefix: str) -> dict[tuple[str, str], list[LandedFile]]:
        """The finished files below a prefix, by (table, slice), each list sorted by path."""
        grouped: dict[tuple[str, str], list[LandedFile]] = {}
        for file in sorted(self._listed(prefix), key=lambda landed: landed.path):
            parts = file.path.split("/")
            if (
                len(parts) < 4
                or any(part.startswith((".", "_")) for part in parts[1:])
                or parts[-1].endswith(_UNFINISHED)
            ):
                continue
            grouped.setdefault((parts[1], parts[2]), []).append(file)
        return grouped

    def _listed(self, prefix: str) -> Iterator[LandedFile]:
        import obstore

        if self._folder is not None and not (self._folder / prefix).is_dir():
            return
        with self._explained(f"{self.root}/{prefix} can't be listed"):
            for chunk in obstore.list(self._store, prefix):
                yield from (_landed(meta) for meta in chunk)

    @contextmanager
    def _explained(self, failure: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            if (refusal := storage_error(error)) is not None:
                raise refusal from None
            # The store's message goes on for a page of debug output, which repeats its first paragraph.
            cause = " ".join(str(error).split("Debug source:")[0].split())
            raise LandingError(f"{failure}: {cause} Check the address, the credentials and the rights.") from error

    @property
    def _store(self) -> ObjectStore:
        if self._opened is None:
            self._opened = open_store(self.root, self._options)
        return self._opened


def _landed(meta: ObjectMeta) -> LandedFile:
    stamp = meta["e_tag"] or f"{meta['last_modified'].isoformat()}-{meta['size']}"
    return LandedFile(path=meta["path"], size=meta["size"], fingerprint=stamp)


def _check_parts(*parts: str) -> None:
    for part in parts:
        if not part or "/" in part or "\\" in part or part.startswith((".", "_")) or part.endswith(_UNFINISHED):
            raise LandingError(
                f"{part!r} can't be a part of a landed file's path: it is empty, has a slash, or looks unfinished"
                " (a leading `.` or `_`, an ending like `.tmp`)."
            )


def _shortened(names: list[str], most: int = 6) -> list[str]:
    return names if len(names) <= most else [*names[: most - 2], "…", names[-1]]


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A hidden file beside `path` that takes its place, flushed to disk, when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with hidden.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
