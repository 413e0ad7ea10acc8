"""`medallion history`, `diff`, `changes`, `restore`: what a person reads and what Dagster knows afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABEL = "silver/shop/orders"
FIRST = "month,order_id,price\n2017-01,a,1\n2017-01,b,2\n2017-02,c,3\n"
SECOND = "month,order_id,price\n2017-01,a,1\n2017-01,b,20\n2017-02,c,3\n2017-04,d,4\n"


@pytest.fixture(scope="module")
def made(shop: Any) -> Any:
    """Orders of two months, then one changed and one more month."""
    for text in (FIRST, SECOND):
        shop.land(text)
        shop.call("run", "-s", f"+{LABEL}")
    return shop


@pytest.fixture
def versions(made: Any) -> dict[str, Any]:
    """The versions of silver orders by number."""
    document = made.document("history", LABEL)
    assert document["table"] == LABEL
    return {commit["version"]: commit for commit in document["versions"]}


def line_of(text: str, start: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.strip().startswith(start))


def runs_of(versions: dict[int, Any]) -> list[int]:
    """Versions that a run replaced rows in, oldest first."""
    return sorted(number for number, commit in versions.items() if commit["operation"] == "replace")


def test_history_tells_run_partitions_rows_and_files_of_every_version(made: Any, versions: dict[int, Any]) -> None:
    first = versions[runs_of(versions)[0]]

    assert versions[0]["operation"] == "create"
    assert first["partitions"]
    assert first["run_id"]
    assert versions[max(versions)]["rows"] == 4
    assert sum(commit["rows_added"] - commit["rows_removed"] for commit in versions.values()) == 4
    assert first["details"]["medallion/mode"] == "replace"


def test_history_is_a_table_with_the_newest_version_first(made: Any, versions: dict[int, Any]) -> None:
    text = made.call("history", "silver/shop/orders", "--limit", "2").stdout

    assert [line.split()[0] for line in text.splitlines()[2:4]] == [str(max(versions)), str(max(versions) - 1)]
    assert f"2 versions; older ones: medallion history {LABEL} --limit 10" in text


def test_diff_tells_added_and_changed_rows_by_key(made: Any, versions: dict[int, Any]) -> None:
    start = str(next(number for number, commit in sorted(versions.items()) if commit["rows"] == 3))
    document = made.document("diff", LABEL, start)

    assert (document["added"], document["removed"], document["changed"]) == (1, 0, 1)
    changed = document["rows"][0]
    assert (changed["kind"], changed["columns"]) == ("changed", ["price"])
    assert (changed["before"]["price"], changed["after"]["price"]) == ("2.00", "20.00")
    text = made.call("diff", LABEL, start).stdout
    assert line_of(text, "~")[:5] == ["~", "b", "2.00", "→", "20.00"]
    assert line_of(text, "+")[:3] == ["+", "d", "4.00"]
    assert "+1 added  -0 removed  ~1 changed" in text


def test_diff_of_a_version_with_itself_reads_no_file(made: Any) -> None:
    text = made.call("diff", LABEL, "1", "1").stdout

    assert "no row differs" in text
    assert "0 files read" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diff", LABEL, "99"], f"{LABEL} has no version 99; its newest is"),
        (["diff", LABEL, "0", "--ignore", "nope"], "has no column nope; it has month, order_id, price."),
        (["restore", LABEL, "--version", "99", "--yes"], f"{LABEL} has no version 99; its newest is"),
        (["restore", LABEL], "either --version or --at"),
        (["restore", LABEL, "--at", "yesterday"], "--at is 'yesterday'; write a time such as"),
        (["restore", LABEL, "--at", "2001-01-01"], f"{LABEL} has no version at 2001-01-01 00:00:00 UTC; its oldest"),
        (["changes", LABEL, "0"], f"{LABEL} keeps no change data feed; declare change_feed=True"),
        (["history", "gold/shop/revenue"], "gold/shop/revenue has no data"),
    ],
)
def test_what_can_not_be_is_told_with_the_next_step(made: Any, arguments: list[str], message: str) -> None:
    result = made.call(*arguments, COLUMNS="500")

    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_restore_asks_and_changes_nothing_without_a_yes(made: Any, versions: dict[int, Any]) -> None:
    result = made.call("restore", LABEL, "--version", "0")

    assert result.exit_code == 1
    assert "4 rows now, 0 after" in result.stdout
    assert len(made.document("history", LABEL)["versions"]) == len(versions)


def test_restore_brings_rows_back_by_a_new_version_and_dagster_knows(made: Any, versions: dict[int, Any]) -> None:
    from dagster import AssetKey, AssetRecordsFilter

    from medallion.instance.home import open_instance

    target = next(number for number, commit in sorted(versions.items()) if commit["rows"] == 3)
    result = made.call("restore", LABEL, "--at", versions[target]["time"], "--yes")

    newest = made.document("history", LABEL)["versions"][0]
    assert "4 rows now, 3 after" in result.stdout
    assert f"is version {newest['version']} now, with the 3 rows of version {target}" in result.stdout
    assert (newest["operation"], newest["rows"], newest["run_id"]) == ("restore", 3, None)
    assert newest["details"]["medallion/restored_version"] == str(target)
    assert made.document("diff", LABEL, str(target))["rows"] == []
    with open_instance(made.folder / "home") as instance:
        wanted = AssetRecordsFilter(asset_key=AssetKey(LABEL.split("/")))
        events = instance.fetch_materializations(wanted, limit=3).records
    told = {
        event.partition_key: {name: value.value for name, value in event.asset_materialization.metadata.items()}
        for event in events
    }
    rows = {key: metadata["dagster/partition_row_count"] for key, metadata in told.items()}
    assert rows == {"2017-01": 2, "2017-02": 1, "2017-04": 0}
    assert {metadata["dagster/row_count"] for metadata in told.values()} == {3}
    assert {metadata["delta/version"] for metadata in told.values()} == {newest["version"]}


def test_a_restored_bronze_table_is_not_read_again_from_the_files_that_landed(made: Any) -> None:
    from dagster import AssetKey, AssetRecordsFilter

    from medallion.instance.home import open_instance

    assert made.call("restore", "bronze/shop/orders", "--version", "1", "--yes").exit_code == 0

    with open_instance(made.folder / "home") as instance:
        wanted = AssetRecordsFilter(asset_key=AssetKey(["bronze", "shop", "orders"]), asset_partitions=["2017-01"])
        restored, run = instance.fetch_materializations(wanted, limit=2).records
    assert restored.asset_materialization.metadata["delta/operation"].value == "restore"
    landed = [event.asset_materialization.metadata["medallion/landed"].value for event in (restored, run)]
    assert landed[0] == landed[1]


def test_the_way_on_after_a_restore_makes_downstream_tables_and_not_the_restored_one(made: Any) -> None:
    before = made.document("history", LABEL)["versions"][0]["version"]
    document = made.document("run", "-s", f"{LABEL}+ and not {LABEL}")

    assert document["success"]
    assert made.document("history", LABEL)["versions"][0]["version"] == before


KILLED_BEFORE_THE_EVENT = """
import os, signal, sys
import medallion.restored
medallion.restored.report_restore = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from medallion.cli.app import main
main()
"""


def test_a_restore_that_was_killed_after_its_commit_tells_dagster_when_it_is_run_again(made: Any) -> None:
    from dagster import AssetKey

    from medallion.instance.home import open_instance

    def known() -> Any:
        with open_instance(made.folder / "home") as instance:
            event = instance.get_latest_materialization_event(AssetKey(LABEL.split("/")))
        return event and event.asset_materialization and event.asset_materialization.metadata["delta/version"].value

    command = [sys.executable, "-c", KILLED_BEFORE_THE_EVENT, "restore", LABEL, "--version", "0", "--yes"]
    # Without byte code a start takes three times as long.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = os.pathsep.join(path for path in sys.path if path)
    child = subprocess.run(command, cwd=made.folder, env={**inherited, **made.environment, "PYTHONPATH": paths})
    newest = made.document("history", LABEL)["versions"][0]
    assert child.returncode == -signal.SIGKILL
    assert (newest["operation"], newest["rows"]) == ("restore", 0)
    assert known() == newest["version"] - 1

    made.call("restore", LABEL, "--version", "0", "--yes")

    assert known() == made.document("history", LABEL)["versions"][0]["version"] == newest["version"]


def test_restore_of_what_the_table_holds_makes_no_version(made: Any) -> None:
    newest = made.document("history", LABEL)["versions"][0]["version"]
    result = made.call("restore", LABEL, "--version", str(newest), "--yes")

    assert f"holds the rows of version {newest} already" in result.stdout
    assert made.document("history", LABEL)["versions"][0]["version"] == newest


@pytest.fixture(scope="module")
def declared(new_shop: Callable[[], Any]) -> Any:
    """The same two runs, where revenue keeps a change feed and prices are personal data."""
    shop = new_shop()
    for file, old, new in (
        ("gold.py", "@gold(contract=Revenue)", "@gold(contract=Revenue, change_feed=True)"),
        ("contracts.py", 'ge=0, metadata={"source": True}', 'ge=0, metadata={"source": True, "pii": True}'),
    ):
        module = shop.folder / "shop_domains/shop" / file
        assert old in module.read_text()
        module.write_text(module.read_text().replace(old, new))
    for text in (FIRST, SECOND):
        shop.land(text)
        shop.call("run", "-s", "+gold/shop/revenue")
    return shop


def test_a_table_that_declares_a_change_feed_shows_its_changes(declared: Any) -> None:
    text = declared.call("changes", "revenue", "0").stdout
    newest = declared.document("changes", "revenue", "2")

    assert line_of(text, "1  ")[:4] == ["1", "+", "2017-01-01", "3.00"]
    assert newest["counts"]["insert"] - newest["counts"]["delete"] == 1
    assert {row["revenue"] for row in newest["changes"] if row["_change_type"] == "insert"} == {"21.00", "3.00", "4.00"}


def test_personal_data_is_masked_and_still_counted(declared: Any) -> None:
    document = declared.document("diff", LABEL, "1")
    texts = [declared.call("diff", LABEL, "1", *more).stdout for more in ([], ["--json"])]

    assert (document["added"], document["changed"]) == (1, 1)
    assert document["rows"][0]["before"]["price"] == document["rows"][0]["after"]["price"] == "•••"
    assert not any("20.00" in text or "4.00" in text for text in texts)
