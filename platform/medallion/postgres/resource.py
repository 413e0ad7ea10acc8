"""The Dagster resource that gives bronze assets the databases they mirror."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr

from medallion.postgres.database import Database
from medallion.postgres.embedded import embedded_url, is_created
from medallion.postgres.errors import SourceUnavailableError, url_setting
from medallion.settings import Settings


def source_url(home: Path, domain: str) -> str:
    """URL of a domain's database: the setting's, else the embedded server's of the home, which is started.

    Raises:
        SourceUnavailableError: there is neither.
    """
    given = Settings().database_url(domain)
    url = given.get_secret_value() if given is not None else embedded_url(home)
    if not url:
        raise SourceUnavailableError(
            f"{domain} has no database; set {url_setting(domain)} to postgresql://user:password@host:5432/database, or "
            f"make a synthetic one with: medallion generate {domain}"
        )
    return url


class Databases(dg.ConfigurableResource["Databases"]):
    """The databases that a run reads: one connection and one snapshot each, so that all of its tables agree.

    Steps of one process share them, which those of the in-process executor are.
    """

    home: str = Field(description="Folder of everything local; the embedded server's data are in its folder postgres.")
    _opened: dict[str, Database] = PrivateAttr(default_factory=dict)

    def has(self, domain: str) -> bool:
        """Whether a domain has a database, reachable or not."""
        return Settings().database_url(domain) is not None or is_created(Path(self.home))

    def database(self, domain: str) -> Database:
        """The database of a domain, which connects when something is read.

        Raises:
            SourceUnavailableError: the domain has none.
        """
        if domain not in self._opened:
            self._opened[domain] = Database(domain, source_url(Path(self.home), domain))
        return self._opened[domain]

    def close(self) -> None:
        """Close all connections; what is asked for afterwards is read in new snapshots."""
        while self._opened:
            self._opened.popitem()[1].close()

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Databases"]:  # noqa: ARG002
        """Close the run's databases when it ends."""
        try:
            yield self
        finally:
            self.close()
