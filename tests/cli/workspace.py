"""A small workspace on disk: one domain of four tables, its definitions and its workspace file."""

from __future__ import annotations

from pathlib import Path

_MODULES = {
    "shop_definitions.py": '''
"""Definitions of the test workspace."""

import dagster as dg

from medallion.domains import declared_tables
from medallion.graph import build_assets
from medallion.settings import Settings
from resources import build_resources

tables = declared_tables("shop_domains")
defs = dg.Definitions(
    assets=build_assets(tables),
    jobs=[
        dg.define_asset_job(domain, selection=[table.key for table in tables if table.domain == domain])
        for domain in sorted({table.domain for table in tables})
    ],
    resources=build_resources(Settings()),
    executor=dg.in_process_executor,
)
''',
    "workspace.yaml": """
load_from:
  - python_module: {module_name: shop_definitions, location_name: shop-place, working_directory: .}
""",
    "shop_domains/__init__.py": "",
    "shop_domains/shop/__init__.py": "",
    "shop_domains/shop/contracts.py": '''
"""Contracts of the test domain."""

import dagster as dg
import pandera.pyspark as pa
import pyspark.sql.types as T

from medallion.landed import LandedByBatch

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2017-01", end_date="2017-07", fmt="%Y-%m")


class RawOrder(LandedByBatch):
    """An order as it landed."""

    order_id: T.StringType() = pa.Field(nullable=True)
    price: T.StringType() = pa.Field(nullable=True)


class Order(pa.DataFrameModel):
    """An order, typed."""

    order_id: T.StringType() = pa.Field(metadata={"source": True}, description="The id.")
    price: T.DecimalType(12, 2) = pa.Field(ge=0, metadata={"source": True}, description="In reais.")
    month: T.DateType() = pa.Field(metadata={"partition": True}, description="First day of the month.")

    class Config:
        unique = ["order_id"]


class Revenue(pa.DataFrameModel):
    """Revenue of a month."""

    month: T.DateType() = pa.Field(description="First day of the month.")
    revenue: T.DecimalType(18, 2) = pa.Field(description="In reais.")

    class Config:
        unique = ["month"]


class Event(pa.DataFrameModel):
    """A price that was seen."""

    price: T.DecimalType(12, 2) = pa.Field(lt=1000, description="In reais.")
    month: T.DateType() = pa.Field(metadata={"partition": True}, description="First day of the month.")
''',
    "shop_domains/shop/bronze.py": '''
"""Bronze of the test domain."""

from medallion.arrivals import Arrivals
from medallion.layers import bronze
from shop_domains.shop.contracts import MONTHS, RawOrder


@bronze(contract=RawOrder, partitions=MONTHS, max_rejected=0.5)
def orders(arrivals: Arrivals):
    """Orders as they landed."""
    return arrivals.csv()
''',
    "shop_domains/shop/silver.py": '''
"""Silver of the test domain."""

import os
import signal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from medallion.layers import silver
from medallion.parsing import parse
from shop_domains.shop.contracts import MONTHS, Event, Order


@silver(contract=Order, partitions=MONTHS, owner="team:shop", latest_by=["_source_row"], max_rejected=0.4)
def orders(raw_orders: DataFrame) -> DataFrame:
    """Orders, typed."""
    if os.environ.get("SHOP_INTERRUPTS"):
        os.kill(os.getpid(), signal.SIGINT)
    if os.environ.get("SHOP_BREAKS"):
        raise ValueError("the shop is closed")
    return parse(raw_orders, Order).withColumn("month", F.to_date(F.concat("_batch", F.lit("-01"))))


@silver(contract=Event, partitions=MONTHS, mode="append", max_rejected=0.9)
def prices(orders: DataFrame) -> DataFrame:
    """Prices that were seen; a run adds to them."""
    return orders.select("price", "month")
''',
    "shop_domains/shop/gold.py": '''
"""Gold of the test domain."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from medallion.layers import gold
from shop_domains.shop.contracts import Revenue


@gold(contract=Revenue)
def revenue(orders: DataFrame) -> DataFrame:
    """Revenue by month."""
    return orders.groupBy("month").agg(F.sum("price").cast("decimal(18,2)").alias("revenue"))
''',
    "shop_domains/shop/source.py": '''
"""The shop's files: one `orders.csv` with a month in its first column."""

from collections import defaultdict
from dataclasses import dataclass, field

from medallion.landing import LandingError


@dataclass
class Report:
    """What landed."""

    rows: dict = field(default_factory=dict)
    written: list = field(default_factory=list)
    unchanged: list = field(default_factory=list)
    bytes_written: int = 0
    dated_otherwise: int = 0
    undated: dict = field(default_factory=dict)
    stale: list = field(default_factory=list)


def land(source, landing, progress=None):
    """Split the file by month."""
    if not (source / "orders.csv").is_file():
        raise LandingError(f"{source} has no orders.csv. Give the folder that has it.")
    months = defaultdict(list)
    for line in (source / "orders.csv").read_text().splitlines()[1:]:
        month, rest = line.split(",", 1)
        months[month].append(rest)
    report = Report(rows={"orders": sum(map(len, months.values()))})
    for number, (month, rows) in enumerate(sorted(months.items()), start=1):
        content = ("order_id,price\\\\n" + "\\\\n".join(rows) + "\\\\n").encode()
        with landing.write("shop", "orders", month, "orders.csv") as file:
            file.write(content)
        report.written.append(f"shop/orders/{month}/orders.csv")
        report.bytes_written += len(content)
        if progress:
            progress("orders", number, len(months))
    return report
'''.replace("\\\\n", "\\n"),
    "shop_domains/shop/synthetic.py": '''
"""Made-up orders."""

from dataclasses import dataclass


class SyntheticError(ValueError):
    """What can't be generated."""


@dataclass
class Report:
    """What was generated."""

    orders: int
    seed: int
    rows: dict
    broken: dict


def generate(target, orders=6, seed=1, progress=None):
    """Write orders.csv."""
    if orders < 1:
        raise SyntheticError(f"--orders is {orders}, but at least one is needed.")
    target.mkdir(parents=True, exist_ok=True)
    lines = [f"2017-0{1 + n % 2},order-{seed}-{n},{n}.50" for n in range(orders)]
    (target / "orders.csv").write_text("month,order_id,price\\n" + "\\n".join(lines) + "\\n")
    if progress:
        progress("orders", orders, orders)
    return Report(orders, seed, {"orders": orders}, {"orders": {"price_parses": 0}})
''',
}

ORDERS = """month,order_id,price
2017-01,a,1.50
2017-01,b,x
2017-01,a,2.50
2017-01,c,5
2017-02,d,7
2017-02,e,1
2017-04,f,1.25
2017-04,g,-3
"""
"""Seven orders in three months: a twice, b without a readable price, g with one below zero."""


def write_workspace(folder: Path) -> None:
    """Write the modules of the workspace."""
    for name, text in _MODULES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))


def write_orders(folder: Path, text: str = ORDERS) -> Path:
    """Write the shop's file and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orders.csv").write_text(text)
    return folder
