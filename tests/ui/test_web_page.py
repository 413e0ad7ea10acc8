"""A person's way through Dagster's page, in headless Chromium: look at the graph, look at a table, make it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assets.olist.synthetic import generate
from medallion.landing import SNAPSHOT, Landing
from tests.fixtures.ports import free_port
from tests.fixtures.requirements import skip_unless_ci

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = [pytest.mark.ui, pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SERVE = """
import sys
from functools import partial
from pathlib import Path
from medallion.instance.server import serve
home, port = sys.argv[1:]
sys.exit(serve(Path(home), Path("workspace.yaml"), int(port), report=partial(print, flush=True)))
"""
START_MS, STEP_MS, RUN_MS = 60_000, 30_000, 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    """A Chromium that is already on the machine, as Playwright's own is not downloaded; its tabs share a cache."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        skip_unless_ci("no Chromium or Chrome is on PATH; scripts/browser.sh installs one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium.new_context(viewport={"width": 1600, "height": 1000})
        chromium.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, browser: BrowserContext) -> Iterator[str]:
    """The page of a home in which the products of a synthetic shop have landed, and nothing else."""
    home = tmp_path_factory.mktemp("home")
    generate(home / "synthetic", orders=300, seed=1)
    landing = Landing(str(home / "landing"))
    with landing.write("olist", "products", SNAPSHOT, "products.csv") as file:
        file.write((home / "synthetic" / "olist_products_dataset.csv").read_bytes())
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDALLION_")}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(home), str(port)],
        cwd=ROOT,
        env={**environment, "MEDALLION_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        assert line.startswith("Dagster is at"), line + server.stdout.read()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        server.stdout.close()


@pytest.fixture
def page(browser: BrowserContext, url: str) -> Iterator[Page]:
    """A new tab; a test in which the page logs an error fails."""
    errors: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(STEP_MS)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors


def test_the_asset_graph_shows_the_three_layers(page: Page, url: str) -> None:
    page.goto(f"{url}/asset-groups/", timeout=START_MS)

    for group in ("olist_bronze", "olist_silver", "olist_gold"):
        page.locator("svg").get_by_text(group, exact=True).wait_for(timeout=START_MS)


def test_the_page_of_a_table_says_what_it_is_who_owns_it_and_what_its_columns_mean(page: Page, url: str) -> None:
    page.goto(f"{url}/assets/silver/olist/orders?view=overview")

    for text in (
        "One row per order",
        "olist_silver",
        "commerce",
        "Silver",
        "Delta Lake",
        "silver.olist.orders",
        "inputs updated",
        "When the order was placed.",
    ):
        page.get_by_text(text).first.wait_for()


def test_the_checks_of_a_table_are_listed_and_the_blocking_ones_marked(page: Page, url: str) -> None:
    page.goto(f"{url}/assets/silver/olist/orders?view=checks&checkDetail=key_is_unique")

    for text in ("key_is_unique", "rows_reconcile", "order_id_not_null", "blocking"):
        page.get_by_text(text).first.wait_for()


def test_sensors_and_the_daily_schedule_are_listed(page: Page, url: str) -> None:
    page.goto(f"{url}/automation")

    for name in ("landing_olist", "updates", "failed_runs", "daily_olist"):
        page.get_by_text(name, exact=True).first.wait_for()


def test_a_table_that_is_made_from_its_page_ends_green(page: Page, url: str) -> None:
    page.goto(f"{url}/assets/bronze/olist/products")
    page.locator("button", has_text="Materialize").first.click()
    page.get_by_role("link", name="View", exact=True).click()

    page.get_by_text("Success", exact=True).first.wait_for(timeout=RUN_MS)

    page.goto(f"{url}/assets/bronze/olist/products?view=overview")
    for text in ("Row count", "The product catalogue", "Characters of the name"):
        page.get_by_text(text).first.wait_for()
