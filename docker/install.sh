#!/usr/bin/env bash
# Installs into a virtual environment exactly what the lock names, with byte code. Run it where requirements.lock is.
# Arguments: `packages` (everything that medallion needs at run time) or `medallion` (itself); the environment's folder.
set -euo pipefail
what="$1" venv="$2"
uv="$venv.uv/bin/uv"

if [ "$what" = packages ]; then
    python3.11 -m venv --without-pip "$venv"
    python3.11 -m venv "$venv.uv"
    # The installer comes from the lock, too.
    awk '/^uv==/ { found = 1 } found { print } found && !/\\$/ { exit }' requirements.lock >"$venv.uv/uv.txt"
    "$venv.uv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$venv.uv/uv.txt"
    # As constraints the lock leaves out what is for development only; uv compares their hashes all the same.
    "$uv" pip install --quiet --python "$venv/bin/python" --compile-bytecode --link-mode copy \
        --constraint requirements.lock --requirements pyproject.toml
    "$uv" pip freeze --python "$venv/bin/python" | while read -r package; do
        grep -qF "$package " requirements.lock && continue
        echo "$package is not in requirements.lock: run make lock" >&2
        exit 1
    done
else
    "$uv" pip install --quiet --python "$venv/bin/python" --compile-bytecode --link-mode copy --no-deps \
        --build-constraint requirements.lock .
fi
