"""Images of the deployed system, made once for all tests that start it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from medallion.engine.jars import PACKAGES, default_folder, fetched
from tests.fixtures.image import ROOT, Image, build, context_of, python_base
from tests.fixtures.object_store import require_server
from tests.fixtures.postgres import debian_programs
from tests.fixtures.requirements import skip_unless_ci

# What the official image's entry point is documented to do with these variables and folders.
_ENTRYPOINT = """#!/bin/bash
set -Eeuo pipefail
[ "$(id -u)" != 0 ] || { echo "an engine would start this as root" >&2; exit 1; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    eval initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") $POSTGRES_INITDB_ARGS
    printf '\\nhost all all all scram-sha-256\\n' >>"$PGDATA/pg_hba.conf"
    export PGPASSWORD="$POSTGRES_PASSWORD" PGHOST=/var/run/postgresql
    pg_ctl --wait -o "-c listen_addresses='' -c unix_socket_directories=$PGHOST" start
    for script in /docker-entrypoint-initdb.d/*.sh; do . "$script"; done
    pg_ctl --wait --mode fast stop
fi
exec "$@" -c unix_socket_directories=/var/run/postgresql -c listen_addresses='*'
"""


@pytest.fixture(scope="session")
def images() -> Iterator[Mapping[str, Image]]:
    """The image of every service, by the part of its name before the colon."""
    if os.geteuid() != 0 or not Path("/proc/self/ns/net").exists():
        skip_unless_ci("only root on Linux can make namespaces, in which the services are started")
    folder = Path(tempfile.mkdtemp(prefix="medallion-images-"))
    try:
        yield _images(folder, ["dagster", "spark", "object-store"])
    finally:
        shutil.rmtree(folder)


def _images(folder: Path, targets: list[str]) -> dict[str, Image]:
    server, programs = require_server(), debian_programs()
    context = context_of(ROOT, folder / "context")
    for name in ("python", "golang", "debian"):
        (folder / "bases" / name).mkdir(parents=True)
    # As if the steps that build and fetch them had been executed before: they take minutes.
    if jars := fetched(default_folder(), PACKAGES):
        kept = folder / "bases" / "python" / "opt/medallion/spark-jars"
        shutil.copytree(jars[0].parent, kept / "jars")
        shutil.copy2(default_folder() / "packages", kept)
    built = folder / "bases" / "golang" / "opt/medallion/cache/medallion/bin" / server.name
    built.parent.mkdir(parents=True)
    shutil.copy2(server, built)
    bases = {
        "python": python_base(folder / "bases" / "python"),
        "golang": Image(folder / "bases" / "golang"),
        "debian": Image(folder / "bases" / "debian"),
    }
    dockerfile = ROOT / "docker" / "Dockerfile"
    made = build(dockerfile, context, folder / "stages", targets, bases)
    ours = {f"medallion-{name}": image for name, image in made.items()}
    return {**ours, "postgres": _postgres(folder / "bases" / "postgres", programs)}


def _postgres(layer: Path, programs: Path) -> Image:
    """What stands for PostgreSQL's official image."""
    script = layer / "usr/local/bin/docker-entrypoint.sh"
    script.parent.mkdir(parents=True)
    script.write_text(_ENTRYPOINT)
    script.chmod(0o755)
    users = layer / "etc/passwd"
    users.parent.mkdir()
    users.write_text("root:x:0:0:root:/root:/bin/bash\npostgres:x:999:999::/var/lib/postgresql:/bin/bash\n")
    data = layer / "var/lib/postgresql/data"
    data.mkdir(parents=True)
    os.chown(data, 999, 999)
    data.chmod(0o700)
    environment = {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin", "PGDATA": "/var/lib/postgresql/data"}
    return Image(
        layer,
        environment=environment,
        user="999:999",
        entrypoint=("docker-entrypoint.sh",),
        command=("postgres",),
    )
