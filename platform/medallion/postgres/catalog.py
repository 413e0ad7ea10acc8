"""What a table of the source is made of, from the server's catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medallion.postgres.errors import SourceSchemaError, url_setting
from medallion.postgres.types import SourceColumn
from medallion.sql import literal, quoted

if TYPE_CHECKING:
    from medallion.postgres.connection import Connection

_KINDS = "('r', 'p', 'v', 'm', 'f')"
# Follows domains to what they are made of, and arrays to their elements.
_COLUMNS = """
with recursive resolved as (
    select a.attnum, a.atttypid as type, a.atttypmod as modifier, 0 as dimensions, 0 as step
    from pg_attribute a where a.attrelid = {oid} and a.attnum > 0 and not a.attisdropped
  union all
    select r.attnum,
           case when t.typtype = 'd' then t.typbasetype else t.typelem end,
           case when t.typtype = 'd' and r.modifier = -1 then t.typtypmod else r.modifier end,
           r.dimensions + (t.typtype <> 'd')::int, r.step + 1
    from resolved r join pg_type t on t.oid = r.type
    where t.typtype = 'd' or (t.typcategory = 'A' and t.typelem <> 0)
)
select distinct on (r.attnum) r.attnum::int4 as number, a.attname::text as name,
       format_type(a.atttypid, a.atttypmod) as type, t.typname::text as base, r.dimensions::int4 as dimensions,
       r.modifier::int4 as modifier, coalesce(array_position(i.indkey::int2[], a.attnum), -1)::int4 as in_key
from resolved r
join pg_attribute a on a.attrelid = {oid} and a.attnum = r.attnum
join pg_type t on t.oid = r.type
left join pg_index i on i.indrelid = {oid} and i.indisprimary
order by r.attnum, r.step desc
"""


@dataclass(frozen=True)
class SourceTable:
    """A table of the source; one that is partitioned is one table.

    Attributes:
        name: as it was asked for.
        sql: the name as a statement writes it, schema included.
        columns: by name, in the source's order.
        key: columns of its primary key; empty if it has none.
    """

    name: str
    sql: str
    columns: Mapping[str, SourceColumn]
    key: tuple[str, ...]


def describe(connection: Connection, table: str) -> SourceTable:
    """Look a table up.

    Args:
        connection: to the source.
        table: its name, found by the session's search_path; or `schema.name`.

    Raises:
        SourceSchemaError: there is no such table.
    """
    written = ".".join(quoted(part) for part in table.split(".", 1))
    found = connection.query(
        "select c.oid::int8 as oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) as sql "
        f"from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        f"where c.oid = to_regclass({literal(written)}) and c.relkind in {_KINDS}",
        table=table,
    ).to_pylist()
    if not found:
        raise SourceSchemaError(
            f"{connection.domain}: there is no table {table!r} in its database; check that "
            f"{url_setting(connection.domain)} names the right database, and the table's schema is in the user's "
            "search_path (or write source.table('schema.table'))"
        )
    rows = connection.query(_COLUMNS.format(oid=found[0]["oid"]), table=table).to_pylist()
    keyed = sorted((row for row in rows if row["in_key"] >= 0), key=lambda row: int(row["in_key"]))
    return SourceTable(
        table,
        found[0]["sql"],
        {row["name"]: _column(row) for row in rows},
        tuple(row["name"] for row in keyed),
    )


def _column(row: Mapping[str, Any]) -> SourceColumn:
    return SourceColumn(row["name"], row["type"], row["base"], row["dimensions"], _scale(row["base"], row["modifier"]))


def _scale(base: str, modifier: int) -> int | None:
    if base != "numeric" or modifier < 0:
        return None
    # Eleven bits with a sign, as the server keeps them.
    return (((modifier - 4) & 0x7FF) ^ 1024) - 1024
