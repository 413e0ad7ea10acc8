"""A deployed system with landed orders, and the database that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from medallion.postgres.connection import Connection
from tests.fixtures.production import System


@pytest.fixture
def executor() -> Literal["in_process", "multiprocess"]:
    """Of the system's runs; a test that wants the other one says so by its parameters."""
    return "multiprocess"


@pytest.fixture
def system(tmp_path: Path, executor: Literal["in_process", "multiprocess"]) -> Iterator[System]:
    """The blue edition of the code, three landed orders, and the Connect server if there is to be one."""
    with System(tmp_path, executor) as system:
        if executor == "multiprocess":
            system.connect_server()
        system.release("blue")
        system.land("a", "b", "c")
        yield system


@pytest.fixture
def depot(postgres: Connection) -> Connection:
    """A session in the depot's database, which has an empty shelf and an empty yard."""
    for table in ("shelf", "yard"):
        postgres.execute(f"create table {table} (id int primary key)")
    return postgres
