"""Entry point of a server process: it ends when its parent does, and waits for the code servers it depends on."""

import argparse
import importlib
import os
import runpy
import signal
import socket
import sys
import threading
import time

CODE_SERVER_SECONDS = 180
"""How long a server waits for a code server: as long as Dagster itself gives one to start."""

_POLL_SECONDS = 0.05


def main() -> None:
    """Run a Dagster server module in this process: `python -m medallion.instance.child OPTIONS -- MODULE ARGUMENTS`.

    Raises:
        SystemExit: The server ended, or a code server did not listen within `CODE_SERVER_SECONDS`.
    """
    parser = argparse.ArgumentParser(prog="medallion.instance.child")
    parser.add_argument("--parent-pipe", type=int, required=True, help="Descriptor that ends when the parent does.")
    parser.add_argument("--after", action="append", default=[], help="Socket of a code server to wait for.")
    parser.add_argument("module", help="Module to run as a script.")
    parser.add_argument("arguments", nargs="*", help="Its arguments.")
    options = parser.parse_args()

    threading.Thread(target=_end_with_parent, args=(options.parent_pipe,), daemon=True).start()

    if options.after:
        # The import takes seconds, so it happens while the code server does the same.
        importlib.import_module(f"{options.module}.cli")
        for path in options.after:
            _wait_for_socket(path)
    sys.argv = [options.module, *options.arguments]
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)


def _end_with_parent(pipe: int) -> None:
    """Interrupt this process and those it started; the kernel closes the pipe's other end, however the parent ends."""
    os.read(pipe, 1)
    os.killpg(0, signal.SIGINT)


def _wait_for_socket(path: str) -> None:
    deadline = time.monotonic() + CODE_SERVER_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                return
        if time.monotonic() > deadline:
            raise SystemExit(
                f"No code server listens on {path} after {CODE_SERVER_SECONDS} s: see its log beside this."
            )
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
