"""A short name for the code of a transform, so that a commit says which code made it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import CodeType
from typing import Any

from medallion.contracts import Contract


def code_version_of(transform: Callable[..., Any], contract: Contract) -> str:
    """Hash of what a transform and its contract do; comments, names of files and line numbers don't change it."""
    parts = [contract.delta_schema().to_json(), *[f"{rule.name} {rule.description}" for rule in contract.rules]]
    return hashlib.sha256("\n".join([*_code(transform.__code__), *parts]).encode()).hexdigest()[:12]


def _code(code: CodeType) -> list[str]:
    parts = [code.co_code.hex(), repr(code.co_names), repr(code.co_varnames)]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            parts.extend(_code(constant))
        else:
            # The order of a set differs from process to process.
            parts.append(repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant))
    return parts
