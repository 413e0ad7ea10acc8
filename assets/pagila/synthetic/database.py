"""Gets the rows of a synthetic shop into a PostgreSQL database, and keeps off tables that somebody else made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from assets.pagila.synthetic import SyntheticError
from assets.pagila.synthetic.plan import payment_months
from assets.pagila.synthetic.schema import (
    TABLES,
    TRIGGER_FUNCTION,
    TYPES,
    column_names,
    complete_tables,
    create_tables,
    has_last_update,
    partitions,
)
from medallion.postgres.connection import Connection, connect
from medallion.sql import literal

if TYPE_CHECKING:
    import pyarrow as pa

    from assets.pagila.synthetic import Progress

DOMAIN = "pagila"
MARK = "SYNTHETIC: every row is made up; made by "
"""How the comment begins that says of a table that `generate` may replace its rows."""


def fill(url: str, tables: Mapping[str, pa.Table], command: str, progress: Progress) -> None:
    """Make the tables and load their rows, or replace the rows of an earlier synthetic shop, in one transaction.

    Args:
        url: of the database.
        tables: rows by table.
        command: what was typed, for the tables' comments.
        progress: called after each table.

    Raises:
        SyntheticError: there are such tables, types or functions already that `generate` did not make.
        SourceError: the database refuses; nothing is changed.
    """
    with connect(DOMAIN, url) as connection:
        connection.execute("BEGIN")
        # A second `generate` waits for the first, and then finds its tables.
        connection.query("select pg_advisory_xact_lock(hashtext('medallion generate pagila'))::text")
        if _is_made(connection):
            _replace(connection, tables, progress)
        else:
            _create(connection, tables, progress)
        for kind, name in _objects():
            connection.execute(f"COMMENT ON {kind} {name} IS {literal(MARK + command)}")
        for name, table in TABLES.items():
            if table.serial:
                connection.query(
                    f"select setval('{name}_{table.serial}_seq', greatest(max({table.serial}), 1)) from {name}"
                )
        connection.execute("COMMIT")
        # Without statistics the first queries on the new rows take detours.
        connection.execute("ANALYZE " + ", ".join(TABLES))


def _create(connection: Connection, tables: Mapping[str, pa.Table], progress: Progress) -> None:
    for statement in create_tables(payment_months()):
        connection.execute(statement)
    for name, rows in tables.items():
        connection.ingest(name, rows)
        progress(name, rows.num_rows, rows.num_rows)
    for statement in complete_tables():
        connection.execute(statement)


def _replace(connection: Connection, tables: Mapping[str, pa.Table], progress: Progress) -> None:
    """Replace all rows. What is new or different was changed now, as readers by `last_update` must see."""
    connection.execute(f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")
    for name, rows in tables.items():
        columns = ", ".join(column_names(TABLES[name]))
        connection.execute(f"CREATE TEMPORARY TABLE made_{name} ON COMMIT DROP AS SELECT {columns} FROM {name} LIMIT 0")
        connection.ingest(f"made_{name}", rows, temporary=True)
        if has_last_update(TABLES[name]):
            key = TABLES[name].key
            same = " AND ".join(
                # Equality of the key finds the row by its index.
                f"old.{column} {'=' if column in key else 'IS NOT DISTINCT FROM'} made.{column}"
                for column in column_names(TABLES[name])
                if column != "last_update"
            )
            connection.execute(
                f"UPDATE made_{name} made SET last_update = coalesce((SELECT old.last_update FROM {name} old "
                f"WHERE {same}), now())"
            )
    connection.execute(f"TRUNCATE {', '.join(TABLES)}")
    for name, rows in tables.items():
        columns = ", ".join(column_names(TABLES[name]))
        connection.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM made_{name}")
        progress(name, rows.num_rows, rows.num_rows)


def _is_made(connection: Connection) -> bool:
    """Whether the database holds a synthetic shop already.

    Raises:
        SyntheticError: it holds tables of these names that are not known to be synthetic, or only some.
    """
    wanted = _objects()
    found = connection.query(_FOUND, (sorted({name for _, name in wanted}),)).to_pylist()
    if not found:
        return False
    schema, advice = found[0]["schema"], "Name another database in PAGILA_URL, for example a new, empty one"
    if foreign := sorted({row["name"] for row in found if not (row["comment"] or "").startswith(MARK)}):
        shown = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
        raise SyntheticError(
            f"The database has {shown} in its schema {schema}, not made by `medallion generate {DOMAIN}`, "
            f"so these may be somebody's data. {advice}. Nothing was changed."
        )
    there = {row["name"] for row in found}
    if missing := sorted(name for _, name in wanted if name not in there):
        raise SyntheticError(
            f"The synthetic shop in schema {schema} lacks {', '.join(missing[:5])}, so its rows can't be replaced. "
            f"{advice}, or drop what is left of it. Nothing was changed."
        )
    return True


def _objects() -> list[tuple[str, str]]:
    """Kind and name of everything that is marked."""
    types = [("DOMAIN" if made.startswith("CREATE DOMAIN") else "TYPE", name) for name, made in TYPES.items()]
    tables = [("TABLE", name) for name in (*TABLES, *partitions(payment_months()))]
    return [*tables, *types, ("FUNCTION", TRIGGER_FUNCTION)]


_FOUND = """
with found as (
    select relname as name, relnamespace as schema, obj_description(oid, 'pg_class') as comment from pg_class
    where relkind in ('r', 'p', 'v', 'm', 'f')
    union all
    select typname, typnamespace, obj_description(oid, 'pg_type') from pg_type where typrelid = 0
    union all
    select proname, pronamespace, obj_description(oid, 'pg_proc') from pg_proc
)
select name::text as name, schema::regnamespace::text as schema, comment
from found where name::text = any ($1) and schema = current_schema()::regnamespace
"""
