"""`medallion show`: rows of a table, of one of its versions, of a query, or of the candidate of a blocked write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from medallion.cli.output import count, terminal

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

    from medallion.delta.store import DeltaStore
    from medallion.tables import Table

TableName = Annotated[str, typer.Argument(metavar="TABLE", help="Such as silver/olist/orders, or a unique short name.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="Rows to show.")]

_AHEAD = ("_outcome", "_errors")


_SORTED_ROWS = 100_000
"""Tables up to this size are shown in the order of their key; of larger ones, the rows that come first."""


class QueryError(ValueError):
    """A query that can't be answered; the message is the database's."""


class NoCandidateError(LookupError):
    """A table that has no candidate of a blocked write."""


def show(
    table: TableName,
    version: Annotated[int | None, typer.Option("--version", min=0, help="Delta version. Default: the newest.")] = None,
    sql: Annotated[
        str | None,
        typer.Option("--sql", metavar="QUERY", help="DuckDB query over the table, which has its short name there."),
    ] = None,
    limit: Limit = 20,
    candidate: Annotated[
        bool, typer.Option("--candidate", help="The newest candidate that a check has kept from being published.")
    ] = False,
) -> None:
    """Show rows of a table."""
    from medallion.cli.lake import lake_of, tables_of
    from medallion.cli.rows import print_rows
    from medallion.cli.selection import table_named
    from medallion.settings import Settings

    if candidate and version is not None:
        raise typer.BadParameter("A candidate has no versions; leave --version or --candidate out.")
    settings = Settings()
    store = lake_of(settings)
    found = table_named(table, tables_of(settings))
    delta = candidate_of(store, found) if candidate else store.open(found.path, version)
    names, rows, total = query(delta, found.name, sql, limit) if sql else first_rows(delta, limit, candidate)
    if not sql and not candidate and found.contract.key and total is not None and total <= _SORTED_ROWS:
        key = ", ".join(f'"{column}"' for column in found.contract.key)
        names, rows, _ = query(delta, found.name, f'SELECT * FROM "{found.name}" ORDER BY {key}', limit)
    if not sql:
        names, rows = ours_last(names, rows)
    console = terminal()
    what = "candidate" if candidate else f"version {delta.version()}"
    console.print(f"[bold]{found.label}[/] [bright_black]{what}{', query' if sql else ''}[/]")
    print_rows(console, names, rows, f"Choose columns: medallion show {found.label} --sql 'select … from {found.name}'")
    of = f"{count(len(rows))} of {count(total)} rows" if total is not None else f"{count(len(rows))} rows"
    console.print(f"[bright_black]{of}[/]")


def candidate_of(store: DeltaStore, table: Table) -> DeltaTable:
    """The newest staged candidate of a table that was never published.

    Raises:
        NoCandidateError: there is none.
    """
    from medallion.cli.lake import candidates

    staged = candidates(store, table.path)
    if not staged:
        raise NoCandidateError(
            f"{table.label} has no candidate: no write of it was blocked since the last clean-up. "
            f"See its rows with `medallion show {table.label}`."
        )
    return store.open((*table.path, staged[-1]))


def first_rows(delta: DeltaTable, limit: int, candidate: bool = False) -> tuple[list[str], list[list[Any]], int]:
    """Some rows of a table, and how many it has; of a candidate, the rejected ones first."""
    from medallion.delta.staging import OUTCOME, REJECTED
    from medallion.delta.store import data_files
    from medallion.partitions import WHOLE

    names: list[str] = []
    rows: list[list[Any]] = []
    for predicate in [f"{OUTCOME} = '{REJECTED}'", f"{OUTCOME} != '{REJECTED}'"] if candidate else [None]:
        reader = _reader(delta, predicate)
        names = list(reader.schema.names)
        for batch in reader:
            rows.extend(list(row.values()) for row in batch.slice(0, limit - len(rows)).to_pylist())
            if len(rows) >= limit:
                break
    return names, rows, sum(file.rows for file in data_files(delta, WHOLE))


def query(delta: DeltaTable, name: str, sql: str, limit: int) -> tuple[list[str], list[list[Any]], int | None]:
    """The answer to a query over a table.

    The rows go through DuckDB's own storage, which spills, so that a query may read them more than once.

    Raises:
        QueryError: DuckDB can't answer it.
    """
    import duckdb

    with duckdb.connect() as database:
        rows = _reader(delta)  # noqa: F841 - DuckDB finds it by its name
        database.execute(f'CREATE TABLE "{name}" AS SELECT * FROM rows')
        try:
            answer = database.execute(sql)
            names = [column[0] for column in answer.description or []]
            fetched = [list(row) for row in answer.fetchmany(limit + 1)]
        except duckdb.Error as error:
            columns = ", ".join(column.name for column in delta.schema().fields)
            raise QueryError(f"{error}\n  The table {name} has the columns {columns}.") from error
    return names, fetched[:limit], None if len(fetched) > limit else len(fetched)


def ours_last(names: list[str], rows: list[list[Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns with the outcome and the broken rules first, and those that the framework adds last."""
    ranks = {name: rank for rank, name in enumerate(_AHEAD, start=-len(_AHEAD))}
    order = sorted(range(len(names)), key=lambda index: ranks.get(names[index], names[index].startswith("_")))
    return [names[index] for index in order], [[row[index] for index in order] for row in rows]


def _reader(delta: DeltaTable, predicate: str | None = None) -> pa.RecordBatchReader:
    from medallion.delta.store import scan

    return scan(delta, predicate=predicate)
