"""A workspace of its own for every test module that runs commands, and the command itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parent))

from workspace import write_orders, write_workspace


@dataclass(frozen=True)
class Shop:
    """A workspace with a lake: `call` is the medallion command in it."""

    folder: Path
    environment: dict[str, str]

    def call(self, *arguments: str, **environment: str) -> Result:
        """Call the command in this process; the exit code and both outputs are in the result."""
        from medallion.cli.app import app

        result = CliRunner().invoke(app, list(arguments), env={**self.environment, **environment})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def document(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """The JSON document that a command prints on stdout."""
        answer: dict[str, Any] = json.loads(self.call(*arguments, "--json", **environment).stdout)
        return answer

    def land(self, text: str) -> Result:
        """Land these orders."""
        return self.call("land", "shop", str(write_orders(self.folder / "source", text)))


@pytest.fixture(scope="module")
def new_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Shop]]:
    """Makes workspaces; their modules are forgotten afterwards, so that every test module imports its own."""
    before = os.getcwd()  # noqa: PTH109

    def make() -> Shop:
        folder = tmp_path_factory.mktemp("workspace")
        _forget()
        write_workspace(folder)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        return Shop(
            folder,
            {
                "MEDALLION_HOME": str(folder / "home"),
                "MEDALLION_DEFINITIONS": "shop_definitions",
                "MEDALLION_DOMAINS": "shop_domains",
                "COLUMNS": "100",
            },
        )

    yield make
    os.chdir(before)
    _forget()


def _forget() -> None:
    sys.path[:] = [path for path in sys.path if not Path(path, "shop_definitions.py").is_file()]
    for name in [name for name in sys.modules if name.split(".")[0] in ("shop_definitions", "shop_domains")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def shop(new_shop: Callable[[], Shop]) -> Shop:
    """A workspace in which nothing has landed."""
    return new_shop()
