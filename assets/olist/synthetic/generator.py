"""Writes a planned synthetic dataset: one table after the other into hidden files, which appear together at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from assets.olist.source import FILES
from assets.olist.synthetic import (
    MARKER,
    Progress,
    SyntheticError,
    SyntheticReport,
    cells,
    orders,
    reviews,
    sales,
    shop,
)
from assets.olist.synthetic.plan import Plan

_FILE_OF = {table: file for file, table in FILES.items()}


def write_dataset(target: Path, plan: Plan, seed: int, progress: Progress) -> SyntheticReport:
    """Generate and write all nine files and the marker. See `assets.olist.synthetic.generate`."""
    _refuse_real_files(target)
    target.mkdir(parents=True, exist_ok=True)
    rows: dict[str, int] = {}
    # One stream of chance per table, so that a change to one table leaves the others' bytes as they are.
    chance = iter(
        np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence([seed, plan.orders]).spawn(12)
    )

    with _appearing_together(target) as folder:

        def write(table: str, columns: cells.Columns) -> None:
            def advance(done: int, total: int) -> None:
                progress(table, done, total)

            rows[table] = cells.write_csv(folder / _FILE_OF[table], columns, advance)

        write("category_translation", shop.translations())
        codes = shop.postcodes(plan, next(chance))
        points, duplicates = shop.geolocation(plan, codes, next(chance))
        write("geolocation", points)
        del points
        columns, sellers = shop.sellers(plan, codes, next(chance))
        write("sellers", columns)
        goods = shop.products(plan, next(chance))
        write("products", goods.columns)
        person, home = orders.homes(plan, codes, next(chance))
        made = orders.orders(plan, home, next(chance))
        write("customers", orders.customers_columns(plan, made, person, codes, next(chance)))
        columns, broken_orders = orders.orders_columns(plan, made, next(chance))
        write("orders", columns)
        columns, totals = sales.items_columns(plan, made, goods, sellers, broken_orders, next(chance))
        write("order_items", columns)
        columns, split = sales.payments_columns(plan, made, totals, broken_orders, next(chance))
        write("payments", columns)
        write("reviews", reviews.reviews_columns(plan, made, broken_orders, next(chance)))
        report = SyntheticReport(
            target=target,
            orders=plan.orders,
            seed=seed,
            rows={table: rows[table] for table in FILES.values()},
            broken=plan.broken,
            dirt={
                "orders without items": plan.orders_without_items,
                "orders without a delivery date": int((made.delivered == orders.ABSENT).sum()),
                "orders without a payment": plan.orders_without_payment,
                "orders paid in several parts": split,
                "orders without a review": plan.orders_without_review,
                "orders reviewed twice": plan.orders_reviewed_twice,
                "reviews with the id of another order's review": plan.reviews_with_a_repeated_id,
                "customers at a postcode without a point": int((home >= codes.mapped).sum()),
                "orders of returning customers": plan.orders - plan.people,
                "products without a category": plan.products_without_category,
                "products of a category without translation": plan.products_of_untranslated_category,
                "exact duplicate geolocation rows": duplicates,
            },
        )
        (folder / MARKER).write_text(_notice(report), encoding="utf-8")
    return report


def _refuse_real_files(target: Path) -> None:
    """Keep a download from being overwritten: only a folder that is marked synthetic may be written again."""
    if not target.is_dir() or (target / MARKER).exists():
        return
    there = sorted(name for name in FILES if (target / name).exists())
    if there:
        raise SyntheticError(
            f"{target} holds {', '.join(there)} and no {MARKER}, so these may be real files."
            " Choose another folder, or delete them."
        )


@contextmanager
def _appearing_together(target: Path) -> Iterator[Path]:
    """A hidden folder in `target` whose files move up when the block ends, and vanish when it fails."""
    with TemporaryDirectory(dir=target, prefix=".generate-") as hidden:
        folder = Path(hidden)
        yield folder
        # The marker goes first: a crash between two moves must not leave synthetic files that look real.
        for file in sorted(folder.iterdir(), key=lambda path: (path.name != MARKER, path.name)):
            file.replace(target / file.name)


def _notice(report: SyntheticReport) -> str:
    lines = [
        "SYNTHETIC DATA. Every row of these files is made up; none comes from the public Olist dataset.",
        f"Made by: medallion generate olist --orders {report.orders} --seed {report.seed}",
        "",
        "Rows:",
        *(f"  {table}: {count:,}" for table, count in report.rows.items()),
        "",
        "Rows that must be quarantined:",
        *(f"  {table}.{rule}: {count:,}" for table, rules in report.broken.items() for rule, count in rules.items()),
        "",
        "Odd but valid, as in the real dataset:",
        *(f"  {name}: {count:,}" for name, count in report.dirt.items()),
    ]
    return "\n".join(lines) + "\n"
