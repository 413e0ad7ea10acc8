"""Rules about where code is and what it may import, which no type checker knows."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORK = ROOT / "platform" / "medallion"
HEAVY = {"pyspark", "deltalake", "duckdb", "polars", "pyarrow", "pandas", "pysail", "obstore"}


def modules() -> list[Path]:
    return sorted(FRAMEWORK.rglob("*.py"))


def imports(nodes: list[ast.stmt]) -> Iterator[str]:
    """Modules that are imported when the file is, type checking left out."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            yield from imports([*node.body, *node.orelse])
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef):
            yield from imports(node.body)


def test_platform_is_no_package_because_it_would_hide_the_standard_library() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    import platform

    assert platform.system()


def test_the_framework_knows_no_table() -> None:
    tops = {"assets", "resources", "sensors", "definitions", "tests", "benchmarks"}
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imports([node])
        if name.split(".")[0] in tops
    }
    assert found == set()


def test_engines_and_formats_are_imported_where_they_are_used() -> None:
    # Contracts are pandera models, which need pyspark's types when they are declared.
    allowed = {"calendar_day.py", "landed.py", "mirrored.py", "versioned.py"}
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules()
        if path.name not in allowed
        for name in imports(ast.parse(path.read_text()).body)
        if name.split(".")[0] in HEAVY
    }
    assert found == set()


def test_only_delta_commits() -> None:
    verbs = {"write_deltalake", "create_write_transaction"}
    found = {
        str(path.relative_to(FRAMEWORK))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in verbs)
        or (isinstance(node, ast.alias) and node.name in verbs)
    }
    assert {name.split("/")[0] for name in found} == {"delta"}


@pytest.mark.parametrize("module", ["medallion.cli.app", "medallion.settings"])
def test_the_command_line_starts_without_dagster_and_engines(module: str) -> None:
    if not (FRAMEWORK / Path(*module.split(".")[1:])).with_suffix(".py").exists():
        pytest.skip(f"{module} is not there yet")
    code = f"import sys, {module}; print(','.join(sorted({{'dagster', *{HEAVY!r}}} & set(sys.modules))))"
    environment = {"PYTHONPATH": str(ROOT / "platform"), "PATH": ""}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(FRAMEWORK)))
def test_a_module_says_why_it_exists_and_stays_small(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert text.count("\n") <= 450, f"{path} has {text.count(chr(10))} lines; split it"


def test_no_file_of_the_framework_catches_everything() -> None:
    bare = {
        str(path.relative_to(ROOT))
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    }
    assert bare == set()


def test_definitions_load_without_an_engine(tmp_path: Path) -> None:
    code = (
        "import sys, threading, definitions\n"
        "from pyspark.sql.connect.session import SparkSession\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'pysail'], SparkSession.getActiveSession(),"
        " [thread.name for thread in threading.enumerate()], len(definitions.defs.assets) > 0)"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MEDALLION_")},
        "MEDALLION_HOME": str(tmp_path / "home"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert found.stdout.strip() == "[] None ['MainThread'] True"
    assert not (tmp_path / "home").exists()


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    somewhere = re.compile(rb"(?<![\w.~])/(?:home|Users|root|work)/\w")
    found = [
        f"{name}: {match[0].decode()}"
        for name in listed.stdout.split("\0")
        if name and (ROOT / name).is_file() and (match := somewhere.search((ROOT / name).read_bytes()))
    ]
    assert found == []
