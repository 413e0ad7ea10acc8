"""A real S3 server, the `medallion` command on it, and a table of which other rows have landed since it was made."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medallion.delta.store import DeltaStore
from tests.cli.workspace import write_orders, write_workspace
from tests.fixtures.crash_run import Rows, Scene, published, rows_of, run
from tests.fixtures.object_store import ObjectStore, object_store

_ROOT = Path(__file__).parents[2]
_ORDERS = "month,order_id,price\n2017-01,a,1.50\n2017-01,b,x\n2017-01,c,5\n2017-02,d,7\n"
"""Four orders in two months; b has no readable price."""
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Shop:
    """A workspace of four tables, whose lake and landing zone are in a bucket."""

    folder: Path
    bucket: str

    def call(self, options: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `medallion` command as a user of the object store."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "MEDALLION_HOME": str(self.folder / "home"),
            "MEDALLION_DEFINITIONS": "shop_definitions",
            "MEDALLION_DOMAINS": "shop_domains",
            "MEDALLION_LAKE": f"s3://{self.bucket}/lake",
            "MEDALLION_LANDING": f"s3://{self.bucket}/landing",
            "MEDALLION_STORAGE_RETRY_SECONDS": "1",
            "MEDALLION_RETRY_DELAY": "0",
            "PYTHONPATH": str(_ROOT),
            "COLUMNS": "2000",
            **options,
        }
        command = [str(Path(sys.executable).parent / "medallion"), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    def land(self, options: dict[str, str]) -> None:
        """Land the orders."""
        done = self.call(options, "land", "shop", str(write_orders(self.folder / "source", _ORDERS)))
        assert done.returncode == 0, done.stderr

    def rows(self, options: dict[str, str]) -> dict[str, int]:
        """Rows of each table that was made."""
        store = DeltaStore(f"s3://{self.bucket}/lake", options)
        return {"/".join(path): store.open(path).count() for path in store.tables()}


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store() as running:
        yield running


@pytest.fixture(scope="session")
def bucket() -> Callable[[], str]:
    """Names of buckets, each a new one: a session of the embedded engine keeps a client per bucket."""
    return lambda: f"lake-{os.getpid()}-{next(_numbers)}"


@pytest.fixture(scope="session")
def shop_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shop]:
    """Makes a workspace whose lake is in a bucket."""

    def make(name: str) -> Shop:
        folder = tmp_path_factory.mktemp("workspace")
        write_workspace(folder)
        return Shop(folder, name)

    return make


@pytest.fixture(scope="session")
def policy() -> Callable[[str], dict[str, Any]]:
    """The bucket policy of the documentation, for a bucket of another name."""
    text = (_ROOT / "docs" / "object-storage.md").read_text()
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found is not None

    def named(name: str) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(re.sub(r"arn:aws:s3:::lake\b", f"arn:aws:s3:::{name}", found[1]))
        return made

    return named


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A table in replace mode, on local disk."""
    return published(tmp_path_factory.mktemp("scene"), "replace")


@pytest.fixture(scope="session")
def unharmed(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The rows of its table and its quarantine after a run to which nothing happened."""
    copy = scene.copy(tmp_path_factory.mktemp("unharmed") / "copy")
    run(copy)
    return rows_of(copy)
