"""`medallion ui`: Dagster's web server and daemon on one shared code server per location, ended together."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from medallion.instance.home import dagster_home, ensure_home, open_instance, run_environment

START_SECONDS = 180
"""How long the page may take until it answers, code loading included."""

GRACE_SECONDS = 8
"""How long servers and the runs they started may take to end by themselves before they are killed."""

_POLL_SECONDS = 0.1
_LOG_LINES = 15

Report = Callable[[str], None]


class ServerError(RuntimeError):
    """The servers can't be started as they are set up; nothing is left running."""


@dataclass(frozen=True)
class _Child:
    name: str
    process: "subprocess.Popen[bytes]"
    log: Path


def serve(
    home: Path,
    workspace: Path,
    port: int,
    host: str = "127.0.0.1",
    report: Report = print,
    log_format: Literal["human", "json"] = "human",
) -> int:
    """Serve Dagster's UI until a signal comes or one of the processes ends.

    User code is loaded once, by a code server that web server and daemon share and that the page's "Reload" button
    restarts. To be called from the main thread, as it handles SIGINT and SIGTERM while it runs.

    Args:
        home: Folder of everything local; logs go to `<home>/logs`.
        workspace: The workspace.yaml that names the code locations.
        port: TCP port of the page.
        host: Address to listen on. The page has no login: anything but the loop-back address opens it to the network.
        report: Called with each line that a person should see: the URL when the page answers, and failures.
        log_format: Form of the servers' log lines; definitions that call `configure_dagster_logs` give it to runs too.

    Returns:
        0 after SIGINT or SIGTERM; otherwise the exit code of the process that ended first, never 0.

    Raises:
        ServerError: The workspace can't be used, the port is taken, another server uses the home, or the page
            didn't answer in `START_SECONDS`.
    """
    if not workspace.is_file():
        raise ServerError(f"Workspace file {workspace} doesn't exist: run from its folder or set MEDALLION_WORKSPACE.")
    _require_free_port(host, port)
    logs = home.expanduser().resolve() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    children: list[_Child] = []
    with ExitStack() as stack:
        stack.enter_context(_only_server_of(home))
        stop = stack.enter_context(_stop_signals())
        sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="medallion-"))
        parent_pipe = stack.enter_context(_pipe())
        stack.callback(_end, children, stop, home)
        if not (dagster_home(home) / "history" / "runs.db").exists():
            # Two servers that create the same tables at the same time fail.
            open_instance(home).dispose()

        def start(name: str, options: list[str], module: str, arguments: list[str]) -> None:
            log = _fresh_log(logs, name)
            command = [sys.executable, "-m", "medallion.instance.child", "--parent-pipe", str(parent_pipe), *options]
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [*command, "--", module, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    pass_fds=[parent_pipe],
                    start_new_session=True,
                )
            children.append(_Child(name, process, log))

        environment = run_environment(home)
        form = []
        if log_format == "json":
            form = ["--log-format", "json"]
            # The code server starts the process that holds the code, and doesn't hand the option on.
            environment["DAGSTER_CLI_API_GRPC_LOG_FORMAT"] = "json"
        shared, after = Path(sockets) / "workspace.json", []
        locations = []
        for number, (location, specification) in enumerate(_locations(workspace)):
            if isinstance(specification, list):
                path = f"{sockets}/{number}.sock"
                after += ["--after", path]
                arguments = ["code-server", "start", "--socket", path, "--location-name", location, *form]
                start(f"code-{location}", [], "dagster", [*arguments, *specification])
                specification = {"socket": path, "location_name": location}
            locations.append({"grpc_server": specification})
        shared.write_text(json.dumps({"load_from": locations}), encoding="utf-8")
        page = ["--host", host, "--port", str(port), "--workspace", str(shared), *form]
        start("webserver", after, "dagster_webserver", page)
        start("daemon", after, "dagster._daemon", ["run", "--workspace", str(shared), *form])

        # The servers need seconds for their imports: time enough for what a killed predecessor left.
        _fail_abandoned_runs(home)
        url = f"http://{host}:{port}"
        deadline = time.monotonic() + START_SECONDS
        answered = False
        while not stop.requests:
            ended = next((child for child in children if child.process.poll() is not None), None)
            if ended is not None:
                code = ended.process.returncode
                report(f"{ended.name} ended with code {code}; the end of {ended.log}:\n{_tail(ended.log)}")
                return 128 - code if code < 0 else code or 1
            if not answered and _answers(url):
                answered = True
                report(f"Dagster is at {url} (Ctrl-C ends it; logs are in {logs})")
            elif not answered and time.monotonic() > deadline:
                raise ServerError(f"{url} doesn't answer after {START_SECONDS} s: see the logs in {logs}.")
            stop.changed.wait(_POLL_SECONDS)
        return 0


def _locations(workspace: Path) -> Iterator[tuple[str, list[str] | dict[str, Any]]]:
    """Name of every code location, and the arguments to load it or the address of a server that already has."""
    from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, ManagedGrpcPythonEnvCodeLocationOrigin
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    for origin in WorkspaceFileTarget([str(workspace)]).create_origins():
        name = origin.location_name
        if isinstance(origin, GrpcServerCodeLocationOrigin):
            address = {"host": origin.host, "port": origin.port, "socket": origin.socket, "location_name": name}
            yield name, {key: value for key, value in address.items() if value is not None}
        elif isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin):
            target = origin.loadable_target_origin
            if target.executable_path:
                raise ServerError(
                    f"{workspace}: location {name} sets executable_path, which the shared code server can't use; "
                    "start a code server with that Python and name it as grpc_server."
                )
            yield name, list(target.get_cli_args())
        else:
            raise ServerError(f"{workspace}: location {name} is a {type(origin).__name__}, which can't be served.")


class _Stop:
    """Counts the signals that asked for the end: the second one stops waiting for a graceful end."""

    def __init__(self) -> None:
        self.requests = 0
        self.changed = threading.Event()

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.requests += 1
        self.changed.set()


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """Handle the signals here, which also resets them in children.

    A shell starts background jobs with SIGINT ignored; a child that inherits that can't be stopped by SIGINT, and in
    Dagster, which copies the handler, not by SIGTERM either. A handler isn't inherited: the child gets the default.
    """
    stop = _Stop()
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _pipe() -> Iterator[int]:
    """Read end of a pipe of which only this process has the other end."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def _end(children: list[_Child], stop: _Stop, home: Path) -> None:
    """Interrupt every server and all that it started, as Ctrl-C in a terminal does; kill what doesn't end in time."""
    impatient_at = stop.requests + 1
    started = time.monotonic()
    for number, seconds in ((signal.SIGINT, GRACE_SECONDS / 2), (signal.SIGTERM, GRACE_SECONDS)):
        for child in children:
            _signal_session(child, number)
        while any(_has_members(child) for child in children):
            if stop.requests >= impatient_at or time.monotonic() > started + seconds:
                break
            time.sleep(_POLL_SECONDS)
    for child in children:
        _signal_session(child, signal.SIGKILL)
        child.process.wait()
    if children:
        _fail_abandoned_runs(home)


def _fail_abandoned_runs(home: Path) -> None:
    """Mark runs as failed whose worker a code server of this home started: while none is up, none of them lives.

    A killed worker can't say so itself: its run would stay "started" forever, and keep the pools of its tables.
    """
    from dagster import DagsterRunStatus, RunsFilter
    from dagster._core.storage.tags import GRPC_INFO_TAG

    unfinished = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    with open_instance(home) as instance:
        for run in instance.get_runs(RunsFilter(statuses=unfinished)):
            # Our code servers listen on a socket; one with a port goes on without us, on this machine or another.
            if "socket" in json.loads(run.tags.get(GRPC_INFO_TAG, "{}")):
                instance.report_run_failed(run, "The server that executed this run has ended.")
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


@contextmanager
def _only_server_of(home: Path) -> Iterator[None]:
    """Hold the home's lock; two daemons on one instance would run every sensor and schedule twice."""
    with (ensure_home(home) / "server.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServerError(
                f"Another `medallion ui` serves {dagster_home(home).parent}: end it, or set MEDALLION_HOME."
            ) from error
        yield


def _has_members(child: _Child) -> bool:
    child.process.poll()
    return _signal_session(child, 0) and not _only_zombies(child.process.pid)


def _only_zombies(group: int) -> bool:
    """Whether all that is left of a group waits for an init process that may never collect it, as in containers."""
    members = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, group_of_process = path.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group_of_process) == group:
            members += 1
            if state != "Z":
                return False
    return members > 0


def _signal_session(child: _Child, number: int) -> bool:
    try:
        os.killpg(child.process.pid, number)
    except (ProcessLookupError, PermissionError):
        # macOS answers EPERM for a group of which only zombies are left.
        return False
    return True


def _require_free_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        # As the web server does: a connection that is still closing doesn't block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ServerError(
                f"Port {port} on {host} can't be used ({error.strerror}): "
                "stop what listens there, or set MEDALLION_PORT to a free port."
            ) from error


def _answers(url: str) -> bool:
    request = urllib.request.Request(f"{url}/server_info")
    # No proxy: the page is on this machine whatever HTTP_PROXY says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _fresh_log(logs: Path, name: str) -> Path:
    """Path of a log that starts empty; the one of the last start is kept beside it."""
    log = logs / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.log"
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    return log


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])
