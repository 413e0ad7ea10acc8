"""One snapshot of a source for several sessions, as the processes of a run have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from medallion.postgres.connection import Connection
from medallion.postgres.database import Database
from medallion.postgres.errors import SourceError, SourceUnavailableError
from medallion.postgres.moment import Moment, exported_moment


def count(database: Database) -> int:
    return int(database.query("select count(*)::int4 as rows from film").column("rows")[0].as_py())


def test_sessions_read_what_was_there_when_the_snapshot_was_exported(
    postgres: Connection, postgres_url: str, tmp_path: Path
) -> None:
    postgres.execute("set synchronous_commit = on")  # else the position moves some time after the insert
    postgres.execute("create table film (id int primary key)")
    postgres.execute("insert into film values (1)")
    with exported_moment("shop", postgres_url, tmp_path):
        postgres.execute("insert into film values (2)")
        moment = Moment.find(tmp_path, "shop")
        assert moment is not None
        with Database("shop", postgres_url, moment) as first, Database("shop", postgres_url, moment) as second:
            assert count(first) == count(second) == 1
            assert first.describe("film").columns.keys() == {"id"}
            assert (first.position, first.now) == (second.position, second.now) == (moment.position, moment.now)
    with Database("shop", postgres_url) as later:
        assert count(later) == 2
        assert later.position > moment.position


def test_a_domain_that_nobody_exported_has_no_moment(tmp_path: Path) -> None:
    assert Moment.find(tmp_path, "shop") is None
    assert Moment.find(None, "shop") is None


def test_a_snapshot_that_has_ended_is_an_error_and_not_a_newer_one(
    postgres: Connection, postgres_url: str, tmp_path: Path
) -> None:
    postgres.execute("create table film (id int primary key)")
    with exported_moment("shop", postgres_url, tmp_path):
        moment = Moment.find(tmp_path, "shop")
    with (
        Database("shop", postgres_url, moment) as database,
        pytest.raises(SourceError, match=r"the snapshot of this run has ended .*; run again"),
    ):
        count(database)


def test_a_database_that_does_not_answer_ends_the_run_before_a_step_begins(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceUnavailableError, match="no connection to its database"),
        exported_moment("shop", "postgresql://nobody@127.0.0.1:1/none", tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
