#!/usr/bin/env bash
# Makes the virtual environment and installs the hash-pinned lock. Arguments: a Python 3.11, the environment's folder.
set -euo pipefail
python="$1" venv="$2"

command -v "$python" >/dev/null || python=python3
if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
  echo "medallion needs Python 3.11, and neither python3.11 nor python3 is one here." >&2
  echo "Install it (Debian: apt-get install python3.11 python3.11-venv) or name it: make PYTHON=/path/to/python3.11 $*" >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  echo "this Python 3.11 lacks the venv module (Debian: apt-get install python3.11-venv)." >&2
  exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
if command -v uv >/dev/null; then uv=uv; else
  uv="$venv/bin/uv"
  [ -x "$uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv || {
    echo "could not install uv: is the Python package index reachable (PIP_INDEX_URL, proxy)?" >&2
    exit 1
  }
fi
echo "installing the locked packages into $venv (about 2 GB; a minute the first time)"
"$uv" pip sync --quiet --python "$venv/bin/python" --require-hashes --compile-bytecode requirements.lock
"$uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
