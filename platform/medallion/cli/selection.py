"""What a person selected: Dagster's selection syntax, table labels and short names, as declared tables."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medallion.runs import Platform
    from medallion.tables import Table

_TOKEN = re.compile(r'"[^"]*"|[A-Za-z_]+\s*:\s*(?:"[^"]*"|[^\s()+,]+)|[A-Za-z_]+\s*\(|[\w./*-]+|.', re.DOTALL)
_NAME = re.compile(r"(?!\d+$)[\w./-]+")
_WORDS = frozenset({"and", "or", "not"})


def table_named(name: str, tables: Mapping[str, Table]) -> Table:
    """The table with a label, or with a short name that only one table has.

    Raises:
        SelectionError: there is none, or several; names those that come near.
    """
    from medallion.planning import SelectionError

    if name in tables:
        return tables[name]
    short = [label for label in tables if label.endswith(f"/{name}")]
    if len(short) == 1:
        return tables[short[0]]
    if short:
        raise SelectionError(f"{name!r} is the name of several tables; say which: {', '.join(short)}.")
    raise SelectionError(f"There is no table {name!r}. {_hint(name, tables)}")


def select(platform: Platform, selections: Sequence[str]) -> list[Table]:
    """The tables that selections name together, in the order of the graph; all tables for none.

    Args:
        platform: the definitions.
        selections: Dagster's selection syntax, in which a label (`silver/olist/orders`) or a unique short name stands
            for `key:"…"`.

    Raises:
        SelectionError: a selection is not valid, or selects nothing.
    """
    chosen: set[str] = set()
    for selection in selections:
        chosen |= _labels(platform, selection)
    graph = platform.repository.asset_graph
    ordered = ["/".join(key.path) for key in graph.toposorted_asset_keys]
    return [platform.tables[label] for label in ordered if label in (chosen if selections else platform.tables)]


def expand(selection: str, tables: Mapping[str, Table]) -> str:
    """Write table labels and short names in a selection as Dagster's `key:"…"`.

    Raises:
        SelectionError: a name is no table's, or several tables'.
    """
    return "".join(
        f'key:"{table_named(token, tables).label}"' if _NAME.fullmatch(token) and token not in _WORDS else token
        for token in _TOKEN.findall(selection)
    )


def _labels(platform: Platform, selection: str) -> set[str]:
    import dagster as dg
    from dagster._core.definitions.asset_selection import DagsterInvalidAssetSelectionError

    from medallion.planning import SelectionError

    expanded = expand(selection, platform.tables)
    try:
        keys = dg.AssetSelection.from_string(expanded).resolve(platform.repository.asset_graph)
    except DagsterInvalidAssetSelectionError as error:
        raise SelectionError(
            f"{selection!r} is no asset selection. Write for example silver/olist/orders, 'group:olist_gold' or "
            "'key:\"silver/olist/orders\"+'."
        ) from error
    found = {"/".join(key.path) for key in keys} & platform.tables.keys()
    if not found:
        named = re.findall(r'"([^"]*)"', expanded)
        hint = _hint(named[0] if named else selection, platform.tables)
        raise SelectionError(f"{selection!r} selects no table. {hint}")
    return found


def _hint(name: str, tables: Mapping[str, Table]) -> str:
    near = difflib.get_close_matches(name, tables, n=3, cutoff=0.5)
    tails = {label.rsplit("/", 1)[-1]: label for label in tables}
    near += [tails[tail] for tail in difflib.get_close_matches(name.rsplit("/", 1)[-1], tails, n=3, cutoff=0.6)]
    if near:
        return f"Did you mean {' or '.join(dict.fromkeys(near))}?"
    return "List them with `medallion tables`." if tables else "No domain declares one."
