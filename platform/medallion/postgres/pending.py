"""What the log of a database has for bronze, looked up without reading it; and the dangers of a slot nobody reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medallion.postgres import catalog
from medallion.postgres.connection import Connection, connect
from medallion.postgres.slot import CaptureError, Slot, SlotBusyError, SlotState, slot_name, slot_states

if TYPE_CHECKING:
    from medallion.tables import Table


@dataclass(frozen=True)
class Pending:
    """Changes that were not captured.

    Attributes:
        slot: name of the slot.
        tables: bronze tables that have some; all of them if there is no slot yet.
        position: of the last change; 0 if there is no slot yet.
        behind: bytes of log since the last capture.
        busy: why the log could not be looked at; empty if it was.
    """

    slot: str
    tables: tuple[Table, ...]
    position: int
    behind: int
    busy: str = ""


def pending_changes(domain: str, url: str, lake: str, mirrors: Mapping[str, Table]) -> Pending:
    """Look which tables have changes in the log; a log that has none for them is given up, so that it does not pile up.

    Args:
        domain: whose database it is.
        url: of the database.
        lake: root of the lake.
        mirrors: bronze tables by the name that the source has them by.

    Raises:
        CaptureError: the slot is lost, about to be, or fills the server's disk.
        SourceError: the server can't be asked.
    """
    name = slot_name(domain, lake)
    with connect(domain, url) as connection:
        slot = Slot(connection, name)
        if problems := slot_problems(connection, domain):
            raise CaptureError(f"{domain}: {'; '.join(problems)}")
        state, head = slot.state(), slot.head()
        if state is None:
            return Pending(name, tuple(mirrors.values()), 0, 0)
        nothing = Pending(name, (), 0, state.behind)
        if not state.behind:
            return nothing
        try:
            with slot.held(patience=0):
                oids, last = slot.pending(head)
                found = {oid: table for oid, table in _by_oid(slot, mirrors).items() if oid in oids}
                if not oids:
                    slot.advance(head)
        except SlotBusyError as error:
            return Pending(name, (), 0, state.behind, str(error))
        return Pending(name, tuple(found.values()), last or 0, state.behind) if found else nothing


def slot_problems(connection: Connection, domain: str) -> list[str]:
    """What is wrong with the slots that lakes have for a domain, abandoned ones included, with the next step each."""
    states = slot_states(connection, f"medallion_{domain}_")
    return [problem for state in states if (problem := state.problem(domain)) is not None]


def slots_of(domain: str, url: str) -> tuple[list[SlotState], list[str]]:
    """The slots that lakes have for a domain, and what is wrong with them.

    Raises:
        SourceError: the server can't be asked.
    """
    with connect(domain, url) as connection:
        return slot_states(connection, f"medallion_{domain}_"), slot_problems(connection, domain)


def _by_oid(slot: Slot, mirrors: Mapping[str, Table]) -> dict[int, Table]:
    tables = slot.resolve({name: catalog.describe(slot.connection, name).sql for name in mirrors})
    return {tables[name].oid: table for name, table in mirrors.items()}
