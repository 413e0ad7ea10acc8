"""What can be wrong with a source database, said without its credentials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from adbc_driver_manager import Error


class SourceError(RuntimeError):
    """A source database could not be read; the message says why and what to do, and nothing was written."""


class SourceUnavailableError(SourceError):
    """The server doesn't answer, does not let us in, or went away."""


class SourceSchemaError(SourceError):
    """A table, a column or a right of the source is missing, or a column has a type that its contract can't hold."""


class SourceValueError(SourceError):
    """A value of the source that its column's type in the contract can't hold."""


def url_setting(domain: str) -> str:
    """Name of the environment variable that holds a domain's database URL."""
    return f"{domain.upper()}_URL"


def hide_credentials(url: str, message: str) -> str:
    """A driver's message without the user and the password of the URL that it was given."""
    try:
        parts = urlsplit(url)
        user, password, query = parts.username, parts.password, parse_qs(parts.query)
    except ValueError:
        return "the URL is malformed"
    shown = message.replace(url, "the URL")
    # libpq cuts a password with unescaped signs elsewhere than the standard library does, and names the pieces.
    rest = url.partition("://")[2]
    given = rest.rpartition("@")[0].partition(":")[2]
    raw = re.findall(r"(?:password|sslpassword)=([^&]*)", rest)
    secrets = {password, given, *re.split(r"[@/?#:]", given), *raw}
    secrets |= {*query.get("password", ()), *query.get("sslpassword", ())}
    texts = {text for secret in secrets if secret for text in (secret, unquote(secret))}
    for text in sorted(texts, key=len, reverse=True):
        shown = shown.replace(text, "***")
    for name in [user, *query.get("user", ())]:
        if name:
            shown = shown.replace(f'"{unquote(name)}"', "of the URL")
    return shown


# libpq tells the reason of a failed connection as text only; a server that speaks another language gets the last hint.
_REFUSALS: Mapping[str, str] = {
    "could not translate host name": "check the host in {setting}",
    "connection refused": "start the server, or check host and port in {setting}",
    "no such file or directory": "start the server, or check host and port in {setting}",
    "timeout expired": "check host and port in {setting}, and whether a firewall lets this machine in",
    "password authentication failed": "correct user and password in {setting}",
    "no password supplied": "put a password into {setting}, or a line into ~/.pgpass",
    "does not exist": "check the database and the user in {setting}",
    "no pg_hba.conf entry": "let this machine and user in by the server's pg_hba.conf",
    "too many clients": "wait for other sessions to end, or raise max_connections of the server",
    "remaining connection slots": "wait for other sessions to end, or raise max_connections of the server",
    "starting up": "wait until the server is up, then run again",
    "shutting down": "start the server, then run again",
}
_LOST = ("08", "57P0")


def connection_failed(domain: str, url: str, error: Error) -> SourceUnavailableError:
    """Why no connection could be opened."""
    setting = url_setting(domain)
    told = hide_credentials(url, _message(error))
    hint = next((hint for text, hint in _REFUSALS.items() if text in told.lower()), "check {setting}")
    return SourceUnavailableError(f"{domain}: no connection to its database: {told}; {hint.format(setting=setting)}")


def statement_failed(domain: str, url: str, error: Error, table: str | None = None) -> SourceError:
    """Why a statement failed; the SQLSTATE decides, whatever language the server speaks."""
    setting, state = url_setting(domain), error.sqlstate or ""
    place = f"{domain}, table {table}" if table else domain
    told = hide_credentials(url, _message(error))
    if state == "25P02":
        return SourceError(f"{place}: an earlier statement of this run failed, which ended its snapshot; run again")
    if "snapshot identifier" in told or (state in ("22023", "42704") and "snapshot" in told):
        return SourceError(f"{place}: the snapshot of this run has ended with the session that took it; run again")
    if state in ("42P01", "3F000"):
        return SourceSchemaError(
            f"{place}: {told}; check that {setting} names the right database, or that its search_path has the table"
        )
    if state == "42703":
        return SourceSchemaError(f"{place}: {told}; take the column out of the contract, or bring it back")
    if state == "42501" and "row-level security" in told:
        return SourceSchemaError(
            f"{place}: {told}, and rows that it hides would be taken for deleted; let the user of {setting} see all of "
            "them (ALTER ROLE ... BYPASSRLS), or read a view of those that bronze is to have"
        )
    if state == "42501":
        return SourceSchemaError(f"{place}: {told}; grant it to the user of {setting} (GRANT SELECT ON ... TO ...)")
    if state == "55P03":
        return SourceUnavailableError(f"{place}: {told}; another session holds a lock on it: run again when it is done")
    if state == "40001":
        return SourceUnavailableError(f"{place}: {told}; run again (on a standby, set hot_standby_feedback = on)")
    if state.startswith(_LOST) or not state:
        return SourceUnavailableError(f"{place}: the connection was lost: {told}; run again when the server is back")
    return SourceError(f"{place}: {told} (SQLSTATE {state})")


def stream_failed(domain: str, url: str, error: Exception, table: str | None = None) -> SourceError:
    """Why rows stopped to arrive; of a stream the driver hands on the text alone."""
    place = f"{domain}, table {table}" if table else domain
    told = " ".join(hide_credentials(url, str(error)).split()).removeprefix("[libpq] ")
    if "no COPY in progress" in told:
        return SourceError(f"{place}: another statement ran on the session before the rows were read to the end")
    if "ERROR:" in told and "terminating connection" not in told:
        return SourceError(f"{place}: {told.split('ERROR:', 1)[1].strip()}")
    return SourceUnavailableError(f"{place}: the connection was lost: {told}; run again when the server is back")


def _message(error: Error) -> str:
    """The server's own words where it said any, else libpq's, on one line."""
    details = {_text(name): _text(value) for name, value in error.details or ()}
    primary = details.get("PG_DIAG_MESSAGE_PRIMARY")
    if primary is None:
        text = str(error).split("Query was:")[0]
        primary = text.split("[libpq] ", 1)[-1].removeprefix("Failed to connect: ").removeprefix("IO: ")
    extra = details.get("PG_DIAG_MESSAGE_DETAIL")
    return " ".join(f"{primary} ({extra})".split() if extra else primary.split())


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
