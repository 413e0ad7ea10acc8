"""The Dagster resource that gives bronze assets the databases they mirror."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr

from medallion.postgres.database import Database
from medallion.postgres.embedded import embedded_url, is_created
from medallion.postgres.errors import SourceUnavailableError, url_setting
from medallion.postgres.moment import Moment
from medallion.run_folder import run_folder
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
    """The databases that a run reads: one snapshot each, so that all of its tables agree.

    The steps of one process share the connections too; those in processes of their own read the snapshots that the
    run's process has exported.
    """

    home: str = Field(description="Folder of everything local; the embedded server's data are in its folder postgres.")
    _opened: dict[str, Database] = PrivateAttr(default_factory=dict)
    _shared: Path | None = PrivateAttr(default=None)

    def has(self, domain: str) -> bool:
        """Whether a domain has a database, reachable or not."""
        return Settings().database_url(domain) is not None or is_created(Path(self.home))

    def database(self, domain: str) -> Database:
        """The database of a domain, which connects when something is read.

        Raises:
            SourceUnavailableError: the domain has none.
        """
        if domain not in self._opened:
            moment = Moment.find(self._shared, domain)
            self._opened[domain] = Database(domain, source_url(Path(self.home), domain), moment)
        return self._opened[domain]

    def close(self) -> None:
        """Close all connections; what is asked for afterwards is read in new snapshots."""
        while self._opened:
            self._opened.popitem()[1].close()

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Databases"]:
        """Close the databases of a run, or of a step in a process of its own, when it ends."""
        self._shared = run_folder(Path(self.home), context.run)
        try:
            yield self
        finally:
            self.close()
