"""`medallion run` on a small workspace: what it makes, tells and keeps in the instance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medallion.instance.home import open_instance

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def landed(shop: Any) -> Any:
    """January and February without a month-blocking row, April in which half of the rows are bad."""
    from workspace import ORDERS

    assert shop.land(ORDERS).exit_code == 0
    return shop


@pytest.fixture(scope="module")
def whole(landed: Any) -> dict[str, Any]:
    """The document of a run of everything that landed."""
    return landed.document("run")


def assets(document: dict[str, Any], run: int = 0) -> dict[str, dict[str, Any]]:
    return {asset["table"]: asset for asset in document["runs"][run]["assets"]}


def test_a_run_per_contiguous_range_makes_what_has_landed(whole: dict[str, Any]) -> None:
    assert [run["partitions"] for run in whole["runs"]] == ["2017-01...2017-02", "2017-04"]


def test_the_job_of_the_domain_runs(whole: dict[str, Any]) -> None:
    assert {run["job"] for run in whole["runs"]} == {"shop"}


def test_rows_in_are_out_or_quarantined_or_deduplicated(whole: dict[str, Any]) -> None:
    orders = assets(whole)["silver/shop/orders"]

    assert (orders["rows_in"], orders["rows_out"], orders["quarantined"], orders["deduplicated"]) == (6, 4, 1, 1)


def test_a_blocked_table_fails_its_run_and_skips_what_reads_it(whole: dict[str, Any]) -> None:
    april = assets(whole, 1)

    assert {label: asset["state"] for label, asset in april.items()} == {
        "bronze/shop/orders": "done",
        "silver/shop/orders": "blocked",
        "silver/shop/prices": "skipped",
        "gold/shop/revenue": "skipped",
    }
    assert not whole["success"]


def test_the_error_names_the_table_the_check_and_the_next_step(whole: dict[str, Any]) -> None:
    (error,) = whole["errors"]

    assert error["table"] == "silver/shop/orders"
    assert "rejected_share failed: rejected 1, ratio 0.5, allowed 0.4" in error["error"]
    assert error["next"] == "medallion show silver/shop/orders --candidate"


def test_totals_add_up_over_the_runs(whole: dict[str, Any]) -> None:
    assert whole["rows"] == sum(asset["rows_out"] or 0 for run in whole["runs"] for asset in run["assets"])
    assert whole["checks"]["blocking"] == 1
    assert whole["assets"] == 4


def test_the_instance_has_the_runs_with_their_code_location_and_partitions(landed: Any, whole: dict[str, Any]) -> None:
    from dagster import AssetKey

    with open_instance(Path(landed.environment["MEDALLION_HOME"])) as instance:
        run = instance.get_run_by_id(whole["runs"][0]["run_id"])
        made = instance.get_materialized_partitions(AssetKey(["silver", "shop", "orders"]))

    assert run.remote_job_origin.location_name == "shop-place"
    assert run.status.value == "SUCCESS"
    assert made >= {"2017-01", "2017-02"}


def test_nothing_is_left_in_the_list_of_running_processes(landed: Any, whole: dict[str, Any]) -> None:
    assert not list((landed.folder / "home" / "running").iterdir())


def test_named_partitions_with_holes_are_one_run_and_one_commit(landed: Any, whole: dict[str, Any]) -> None:
    from dagster import AssetKey, DagsterEventType

    document = landed.document("run", "-s", "bronze/shop/orders", "-p", "2017-01,2017-04")
    assert [run["partitions"] for run in document["runs"]] == ["2017-01, 2017-04"]
    assert assets(document)["bronze/shop/orders"]["rows_out"] == 6
    with open_instance(Path(landed.environment["MEDALLION_HOME"])) as instance:
        run_id, made = document["runs"][0]["run_id"], DagsterEventType.ASSET_MATERIALIZATION
        records = instance.get_records_for_run(run_id, of_type=made).records
    assert {(record.asset_key, record.partition_key) for record in records} == {
        (AssetKey(["bronze", "shop", "orders"]), month) for month in ("2017-01", "2017-04")
    }


def test_the_lines_name_every_table_and_the_summary_counts_them(landed: Any) -> None:
    result = landed.call("run", "-s", "silver/shop/orders", "-p", "2017-01...2017-02")

    assert result.exit_code == 0
    assert "✓ silver/shop/orders         6         4           1   9/10" in result.stdout
    assert "✓ 1 table made, 4 rows, 1 quarantined, 0 failed checks" in result.stdout
    assert "Look at it with: medallion tables" in result.stdout


def test_a_failed_transform_shows_its_own_message_and_no_trace(landed: Any) -> None:
    result = landed.call("run", "-s", "silver/shop/orders", "-p", "2017-01", SHOP_BREAKS="1")

    assert result.exit_code == 1
    assert "silver/shop/orders: ValueError: the shop is closed" in result.stderr
    assert "Next: medallion run -s silver/shop/orders --verbose" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


def test_ctrl_c_ends_the_command_says_so_and_skips_the_rest(landed: Any) -> None:
    result = landed.call("run", "-p", "2017-01,2017-04", SHOP_INTERRUPTS="1")

    assert result.exit_code == 130
    assert "Interrupted. What was being written is not published; run it again." in result.stderr
    assert "○ gold/shop/revenue" in result.stdout
    assert "run 2 of 2" not in result.stdout


def test_verbose_shows_the_trace(landed: Any) -> None:
    result = landed.call("run", "-s", "silver/shop/orders", "-p", "2017-01", "--verbose", SHOP_BREAKS="1")

    assert "in orders" in result.stderr
    assert "the shop is closed" in result.stderr


def test_an_error_that_says_the_next_step_is_not_given_another(landed: Any) -> None:
    document = landed.document("run", "-s", "bronze/shop/orders", "-p", "2017-03")

    (error,) = document["errors"]
    assert error["error"].startswith("Nothing has landed in ")
    assert error["next"] is None


def test_tables_without_partitions_run_once(landed: Any) -> None:
    document = landed.document("run", "-s", "revenue")

    assert [run["partitions"] for run in document["runs"]] == ["whole tables"]
    assert document["success"]


def test_log_lines_are_json_on_request(landed: Any) -> None:
    landed.call("run", "-s", "+revenue")

    result = landed.call("run", "-s", "revenue", MEDALLION_LOG="json")

    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["message"] for line in lines] == ["run 1 of 1", "gold/shop/revenue done", "finished"]
    assert lines[1]["rows_out"] == 2
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["-s", "silver/shop/ordrs"], "There is no table 'silver/shop/ordrs'. Did you mean silver/shop/orders", 2),
        (["-s", "group:nothing"], "'group:nothing' selects no table", 2),
        (["-s", "orders"], "is the name of several tables; say which: bronze/shop/orders, silver/shop/orders", 2),
        (["-s", "revenue", "-p", "2017-01"], "None of the selected tables has partitions", 2),
        (["-p", "2016-01"], "'2016-01' does not exist; there are 2017-01...2017-06", 2),
        (["--partition", "x"], "No such option", 2),
    ],
)
def test_what_can_not_be_selected_is_one_line_and_exit_code_2(
    landed: Any, arguments: list[str], message: str, code: int
) -> None:
    result = landed.call("run", *arguments)

    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_without_landed_files_it_says_how_to_get_some(new_shop: Callable[[], Any]) -> None:
    result = new_shop().call("run")

    assert result.exit_code == 1
    assert "medallion land shop PATH" in result.stderr
    assert "medallion generate shop" in result.stderr
