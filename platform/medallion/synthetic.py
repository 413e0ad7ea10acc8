"""What a domain's `synthetic` module makes up: files that land, or rows of its database, and how many."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from medallion.domains import DomainError, domain_module, domain_names

_TARGETS: Mapping[str, Literal["files", "database"]] = {"target": "files", "url": "database"}
_SHARED = ("seed", "progress")


class SyntheticReport(Protocol):
    """What a `generate` tells."""

    seed: int
    rows: Mapping[str, int]
    """Table -> rows."""
    broken: Mapping[str, Mapping[str, int]]
    """Table -> rule -> rows that break it on purpose; empty if nothing does."""


@dataclass(frozen=True)
class Synthetic:
    """A domain's `generate`, as its parameters declare it: `generate(target or url, SIZE, seed, progress)`.

    Attributes:
        generate: the function; `progress` is called with a table, what is written of it, and its total.
        makes: `files` in the folder `target`, which are then landed; or rows in the `database` at `url`.
        size: name of the parameter that says how much is made, such as `orders`; it is the option's name, too.
        default: how many that are by default.
    """

    generate: Callable[..., SyntheticReport]
    makes: Literal["files", "database"]
    size: str
    default: int

    @property
    def summary(self) -> str:
        """First line of its docstring."""
        return (inspect.getdoc(self.generate) or "").partition("\n")[0]


def synthetic_domains(package: str) -> list[str]:
    """The domains that can be made up, sorted.

    Raises:
        DomainError: there is no such package of domains.
    """
    found = importlib.util.find_spec
    return [name for name in domain_names(package) if found(f"{package}.{name}.synthetic") is not None]


def synthetic_of(package: str, domain: str) -> Synthetic:
    """How a domain is made up.

    Raises:
        DomainError: there is no such domain, it has no synthetic module, or its `generate` has other parameters.
    """
    module = domain_module(package, domain, "synthetic")
    generate: Callable[..., Any] = module.generate
    parameters = list(inspect.signature(generate).parameters.values())
    sizes = [item for item in parameters[1:] if item.name not in _SHARED]
    makes = _TARGETS.get(parameters[0].name) if parameters else None
    if makes is None or len(sizes) != 1 or not isinstance(sizes[0].default, int):
        raise DomainError(
            f"{module.__name__}.generate takes ({', '.join(item.name for item in parameters)}); declare it as "
            "generate(target, SIZE=number, seed=1, progress=None) if it writes files to land, or with `url` in place "
            "of `target` if it fills a database"
        )
    return Synthetic(generate, makes, sizes[0].name, sizes[0].default)
