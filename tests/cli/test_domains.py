"""`medallion run` where two domains have different partitions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

_WEB = {
    "__init__.py": "",
    "bronze.py": '''
"""Bronze of a domain with daily partitions."""

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T

from medallion.arrivals import Arrivals
from medallion.landed import LandedByBatch
from medallion.layers import bronze

DAYS = dg.DailyPartitionsDefinition(start_date="2017-01-01", end_date="2017-02-01")


class RawVisit(LandedByBatch):
    """A visit as it landed."""

    page: T.StringType() = pa.Field(nullable=True)


@bronze(contract=RawVisit, partitions=DAYS, max_rejected=0.5)
def visits(arrivals: Arrivals):
    """Visits as they landed."""
    return arrivals.csv()
''',
}


@pytest.fixture(scope="module")
def two(new_shop: Callable[[], Any]) -> Any:
    """The shop, whose orders have landed by month, and `web`, of which nothing has."""
    from workspace import ORDERS

    made = new_shop()
    folder = made.folder / "shop_domains" / "web"
    folder.mkdir()
    for name, text in _WEB.items():
        (folder / name).write_text(text.lstrip("\n"))
    assert made.land(ORDERS.split("2017-04")[0]).exit_code == 0
    return made


def land_visits(shop: Any, day: str) -> None:
    folder = Path(shop.environment["MEDALLION_HOME"]) / "landing" / "web" / "visits" / day
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "visits.csv").write_text("page\nhome\n")


def test_a_domain_of_which_nothing_landed_is_left_out_and_named(two: Any) -> None:
    result = two.call("run")

    assert result.exit_code == 0
    assert "web is left out: nothing has landed for it" in result.stderr
    assert "bronze/web/visits" not in result.stdout


def test_each_domain_runs_for_its_own_landed_partitions(two: Any) -> None:
    land_visits(two, "2017-01-02")
    document = two.document("run")

    assert document["success"]
    assert [run["partitions"] for run in document["runs"]] == ["2017-01...2017-02", "2017-01-02"]
    assert [asset["table"] for asset in document["runs"][1]["assets"]] == ["bronze/web/visits"]


def test_partitions_of_several_domains_need_one_of_them(two: Any) -> None:
    result = two.call("run", "-p", "2017-01")

    assert result.exit_code == 2
    assert "The domains shop, web have different partitions, so --partitions needs one of them" in result.stderr


def test_the_domain_that_the_error_proposes_can_be_selected(two: Any) -> None:
    land_visits(two, "2017-01-02")
    document = two.document("run", "-s", 'key:"*/web/*"', "-p", "2017-01-02")

    assert [run["partitions"] for run in document["runs"]] == ["2017-01-02"]
    assert document["success"]
