"""The log of a Delta table as it is stored: where its commits are, and the actions that one holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

LOG = "_delta_log"
"""Folder of the log below a table."""


def commit_file(path: Sequence[str], version: int) -> str:
    """Where the commit of a version is, below the root of the store."""
    return "/".join([*path, LOG, f"{version:020}.json"])


def actions(content: bytes) -> list[dict[str, Any]]:
    """The actions of a commit file, each an object with one entry: its kind."""
    return [json.loads(line) for line in content.splitlines() if line.strip()]
