"""The domains: which packages declare tables, found by their folders."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType

from medallion.graph import tables_in
from medallion.tables import Table

_LAYER_MODULES = ("bronze", "silver", "gold")
_ADVICE = "Run from the project's folder, or set MEDALLION_DOMAINS."


class DomainError(LookupError):
    """A domain, or a part of one, that is not there; the message lists those that are."""


def domain_names(package: str) -> list[str]:
    """Domains below a package: its sub-packages, sorted.

    Raises:
        DomainError: there is no such package.
    """
    try:
        parent = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise
        where = f"{Path.cwd()} or elsewhere on sys.path"
        raise DomainError(f"There is no package {package!r} in {where}. {_ADVICE}") from error
    if not hasattr(parent, "__path__"):
        raise DomainError(f"{package!r} is the file {parent.__file__}, not a package of domains. {_ADVICE}")
    return sorted(module.name for module in pkgutil.iter_modules(parent.__path__) if module.ispkg)


def declared_tables(package: str) -> list[Table]:
    """All tables that the layer modules of all domains declare.

    Raises:
        DomainError: there is no such package.
    """
    modules = []
    for domain in domain_names(package):
        for layer in _LAYER_MODULES:
            name = f"{package}.{domain}.{layer}"
            if importlib.util.find_spec(name) is not None:
                modules.append(importlib.import_module(name))
    return tables_in(modules)


def domain_module(package: str, domain: str, part: str) -> ModuleType:
    """A part of a domain, such as its `source`.

    Raises:
        DomainError: there is no such domain, or it lacks the part.
    """
    if domain not in domain_names(package):
        raise DomainError(f"there is no domain {domain!r}; there are {domain_names(package)}")
    name = f"{package}.{domain}.{part}"
    if importlib.util.find_spec(name) is None:
        raise DomainError(f"domain {domain!r} has no {part} module ({name})")
    return importlib.import_module(name)
