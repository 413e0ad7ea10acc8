"""The setting that names the engine, parsed: `MEDALLION_ENGINE` is `sail`, `spark`, `spark://…` or `sc://…`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

SETTING = "MEDALLION_ENGINE"
_ALLOWED = (
    "'sail' (the engine inside this process), 'spark' (Apache Spark on this machine), a standalone cluster such as "
    "'spark://host:7077', or a Spark Connect address such as 'sc://host:15002' or 'sc://host:15002/;token=…'"
)


@dataclass(frozen=True)
class EngineProfile:
    """Where DataFrames are computed; one of the two is set, or neither for the embedded engine.

    Attributes:
        url: Address of a Spark Connect server that runs already.
        master: Master of an Apache Spark whose driver this process starts.
    """

    url: str | None = None
    master: str | None = None

    @property
    def embedded(self) -> bool:
        """True if the engine runs inside this process."""
        return self.url is None and self.master is None

    @classmethod
    def parse(cls, text: str) -> EngineProfile:
        """Read the value of `MEDALLION_ENGINE`.

        Args:
            text: `sail`, `spark`, `spark://host:port[,host:port]` or `sc://host[:port][/;key=value;…]`; space around it
                is ignored.

        Raises:
            ValueError: For anything else; the message names the setting, the value and what is allowed.
        """
        value = text.strip()
        if value == "sail":
            return cls()
        if value == "spark":
            return cls(master="local[*]")
        problem = _master_problem(value) if value.startswith("spark://") else _address_problem(value)
        if problem:
            raise ValueError(f"{SETTING} is {_without_parameters(text.strip())!r}: {problem}; set it to {_ALLOWED}")
        return cls(master=value) if value.startswith("spark://") else cls(url=value)


def _without_parameters(address: str) -> str:
    # Connect parameters carry bearer tokens, which don't belong in a message that ends up in a log.
    return address.split(";", 1)[0]


def _master_problem(master: str) -> str | None:
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or "/" in address or "@" in address:
            return f"{address!r} is not host:port"
    return None


def _address_problem(address: str) -> str | None:
    if not address.startswith("sc://"):
        return "no engine has that name"
    try:
        parts = urlsplit(_without_parameters(address))
        port = parts.port
    except ValueError as error:
        return str(error)
    if not parts.hostname:
        return "the host is missing"
    if port == 0:
        return "port 0 is no address to connect to"
    if parts.username or parts.password:
        return "a user belongs in the parameters, as '/;user_id=…'"
    if parts.query or parts.fragment or parts.path not in ("", "/"):
        return "only '/;key=value' parameters may follow the port"
    if ";" in address and parts.path != "/":
        return "parameters follow '/;'"
    if any("=" not in pair for pair in address.split(";")[1:] if pair):
        return "every parameter is key=value"
    return None
