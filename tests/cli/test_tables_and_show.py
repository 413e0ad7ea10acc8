"""`medallion tables`, `show`, `quarantine`, `doctor`, `land`, `generate`: what a person reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from workspace import ORDERS

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def made(shop: Any) -> Any:
    """A lake after a run in which the write of one month was blocked."""
    shop.land(ORDERS)
    shop.call("run")
    return shop


def line_of(text: str, start: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.startswith(start))


def test_tables_tells_rows_versions_partitions_and_quarantine(made: Any) -> None:
    text = made.call("tables").stdout

    _, rows, *_, partitions, quarantined = line_of(text, "silver/shop/orders")
    assert (rows, partitions, quarantined) == ("4", "2/3", "1")
    assert line_of(text, "bronze/shop/orders")[-1] == "3/3"
    assert "4 tables, " in text


def test_tables_of_an_empty_lake_says_what_to_do(new_shop: Callable[[], Any]) -> None:
    text = new_shop().call("tables").stdout

    assert "not made yet" in text
    assert "medallion land DOMAIN PATH" in text


def test_show_prints_the_rows_and_how_many_there_are(made: Any) -> None:
    text = made.call("show", "silver/shop/orders", "--limit", "3").stdout

    assert line_of(text, "order_id") == ["order_id", "price", "month"]
    assert "3 of 4 rows" in text


def test_show_puts_the_columns_of_the_source_before_ours(made: Any) -> None:
    text = made.call("show", "bronze/shop/orders").stdout

    assert line_of(text, "order_id")[:3] == ["order_id", "price", "_ingested_at"]


def test_show_answers_a_query_over_the_short_name(made: Any) -> None:
    query = "select a.month, a.revenue * 2 as twice from revenue a join revenue b using (month) order by 1"
    text = made.call("show", "revenue", "--sql", query).stdout

    assert line_of(text, "2017-01-01") == ["2017-01-01", "15.00"]
    assert "2 of 2 rows" in text


def test_show_of_a_wrong_query_tells_the_columns(made: Any) -> None:
    result = made.call("show", "revenue", "--sql", "select nope from revenue")

    assert result.exit_code == 1
    assert "The table revenue has the columns month, revenue." in result.stderr


def test_show_of_an_old_version_reads_that_version(made: Any) -> None:
    assert "0 of 0 rows" in made.call("show", "silver/shop/orders", "--version", "0").stdout
    assert "has no version 99" in made.call("show", "silver/shop/orders", "--version", "99").stderr


def test_show_candidate_has_the_rows_that_were_not_published_with_their_outcome(made: Any) -> None:
    text = made.call("show", "silver/shop/orders", "--candidate").stdout

    assert line_of(text, "_outcome")[:3] == ["_outcome", "_errors", "order_id"]
    assert line_of(text, "rejected")[:3] == ["rejected", "price_ge", "g"]


def test_show_candidate_of_a_clean_table_says_there_is_none(made: Any) -> None:
    result = made.call("show", "revenue", "--candidate")

    assert result.exit_code == 1
    assert "gold/shop/revenue has no candidate" in result.stderr


def test_a_candidate_has_no_versions(made: Any) -> None:
    assert made.call("show", "revenue", "--candidate", "--version", "1").exit_code == 2


def test_quarantine_lists_rows_by_table_and_rule(made: Any) -> None:
    text = made.call("quarantine", "list").stdout

    assert line_of(text, "silver/shop/orders")[:4] == ["silver/shop/orders", "price_parses", "1", "2017-01"]
    assert "1 row in quarantine" in text


def test_quarantine_shows_the_row_as_it_arrived_with_its_origin(made: Any) -> None:
    text = made.call("quarantine", "show", "silver/shop/orders").stdout

    assert "price_parses  2017-01  shop/orders/2017-01/orders.csv, record 2" in text
    assert "order_id=b  price=x" in text
    assert "1 of 1 rejected row" in text


@pytest.mark.parametrize("narrowed", [["--rule", "price_ge"], ["--partition", "2017-02"]])
def test_quarantine_show_narrows(made: Any, narrowed: list[str]) -> None:
    text = made.call("quarantine", "show", "silver/shop/orders", *narrowed).stdout

    assert "0 of 0 rejected rows that match" in text


def test_replay_refuses_a_table_that_is_appended_to(made: Any) -> None:
    result = made.call("quarantine", "replay", "prices")

    assert result.exit_code == 1
    assert "would add its rows a second time" in result.stderr


def test_replay_makes_only_the_slices_with_rejected_rows(made: Any) -> None:
    text = made.call("quarantine", "replay", "silver/shop/orders").stdout

    assert text.startswith("2017-01 1 table")
    assert "0 rows passed now, 1 remain in quarantine" in text
    assert "land it and read it again: medallion run -s '+silver/shop/orders' -p 2017-01" in text


def test_replay_without_rejected_rows_runs_nothing(made: Any) -> None:
    text = made.call("quarantine", "replay", "silver/shop/orders", "-p", "2017-02").stdout

    assert text == "✓ silver/shop/orders has no rejected rows there.\n"


def test_a_row_passes_after_its_source_was_fixed(new_shop: Callable[[], Any]) -> None:
    shop = new_shop()
    shop.land("month,order_id,price\n2017-01,a,1\n2017-01,b,2\n2017-01,c,x\n")
    assert shop.document("run")["quarantined"] == 1
    shop.land("month,order_id,price\n2017-01,a,1\n2017-01,b,2\n2017-01,c,3\n")
    shop.call("run", "-s", "bronze/shop/orders", "-p", "2017-01")

    text = shop.call("quarantine", "replay", "silver/shop/orders").stdout

    assert "1 row passed now, 0 remain in quarantine" in text
    assert "medallion run -s 'silver/shop/orders+' -p 2017-01" in text
    assert "Quarantine is empty" in shop.call("quarantine", "list").stdout


def test_doctor_finds_what_a_blocked_write_left_and_is_healthy_otherwise(made: Any) -> None:
    result = made.call("doctor", "--json", MEDALLION_PORT="38911")

    document = json.loads(result.stdout)
    verdicts = {finding["name"]: finding["verdict"] for finding in document["findings"]}
    assert result.exit_code == 0
    assert document["healthy"]
    assert verdicts["definitions"] == verdicts["engine"] == verdicts["lake"] == "ok"
    assert verdicts["candidates"] == "warn"


def test_doctor_fails_with_the_next_step_and_no_secret(made: Any) -> None:
    result = made.call(
        "doctor",
        MEDALLION_DEFINITIONS="nowhere",
        MEDALLION_WORKSPACE="nowhere.yaml",
        AWS_SECRET_ACCESS_KEY="very-secret",
    )

    assert result.exit_code == 1
    assert "✗ definitions  There is no module 'nowhere' here" in result.stdout
    assert "✗ workspace    nowhere.yaml does not exist" in result.stdout
    assert "2 failures" in result.stdout
    assert "very-secret" not in result.output


def test_generate_lands_what_it_made_and_calls_it_synthetic(new_shop: Callable[[], Any]) -> None:
    shop = new_shop()
    result = shop.call("generate", "shop", "--orders", "4")

    assert result.exit_code == 0
    assert "✓ 4 synthetic rows in 1 file" in result.stdout
    assert "✓ 2 files landed: 2 written (90 B), 0 unchanged (synthetic data)" in result.stdout
    assert (shop.folder / "home" / "landing" / "shop" / "orders" / "2017-01" / "orders.csv").is_file()


def test_generate_writes_where_it_is_told(new_shop: Callable[[], Any], tmp_path: Path) -> None:
    new_shop().call("generate", "shop", "--out", str(tmp_path / "here"))

    assert (tmp_path / "here" / "orders.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["land", "shop", "nowhere"], "nowhere has no orders.csv. Give the folder that has it."),
        (["land", "shoes", "nowhere"], "there is no domain 'shoes'; there are ['shop']"),
        (["generate", "shop", "--orders", "0"], "--orders is 0, but at least one is needed."),
        (["show", "nothing"], "There is no table 'nothing'."),
        (["show", "revnue"], "Did you mean gold/shop/revenue?"),
        (["ui"], "Workspace file nowhere.yaml doesn't exist"),
    ],
)
def test_an_expected_error_is_told_without_a_trace(made: Any, arguments: list[str], message: str) -> None:
    result = made.call(*arguments, MEDALLION_WORKSPACE="nowhere.yaml", MEDALLION_PORT="38912")

    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_setting_that_is_not_valid_is_named_as_the_environment_names_it(made: Any) -> None:
    result = made.call("tables", MEDALLION_PORT="none")

    assert result.exit_code == 1
    assert "MEDALLION_PORT: Input should be a valid integer" in result.stderr
