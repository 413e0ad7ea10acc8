"""`medallion ui` serves the page, and leaves no process behind however it ends."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterRunStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test

from medallion.instance.home import open_instance
from medallion.instance.server import ServerError, _fail_abandoned_runs, _only_server_of, serve
from tests.fixtures.ports import free_port

CODE = """
import dagster as dg

@dg.asset
def one(): ...
"""

# As a shell starts background jobs: with SIGINT ignored.
SCRIPT = """
import os, signal, sys
from functools import partial
from pathlib import Path
signal.signal(signal.SIGINT, signal.SIG_IGN)
from medallion.instance.server import serve
home, workspace, port = sys.argv[1:]
sys.exit(serve(Path(home), Path(workspace), int(port), report=partial(print, flush=True),
               log_format=os.environ.get("MEDALLION_LOG", "human")))
"""

JSON_CODE = """
import logging
import dagster as dg
from medallion.logs import configure_dagster_logs

configure_dagster_logs("json")

@dg.asset
def one(context):
    context.log.info("from the asset")
    logging.getLogger("a.library").info("from a library")

defs = dg.Definitions([one], executor=dg.in_process_executor)
"""

LAUNCH = """mutation { launchPipelineExecution(executionParams: {
  selector: {repositoryLocationName: "tiny", repositoryName: "__repository__", pipelineName: "__ASSET_JOB"},
  mode: "default"
}) { ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes through /proc")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text(CODE)
    path = tmp_path / "workspace.yaml"
    path.write_text("load_from:\n  - python_file: {relative_path: code.py, location_name: tiny}\n")
    return path


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(tmp_path: Path, workspace: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "home"), str(workspace), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield process
    started = descendants(process.pid)
    if process.poll() is None:
        process.terminate()
        process.wait(30)
    assert process.stdout is not None
    process.stdout.close()
    for pid in filter(is_running, started):
        os.kill(pid, signal.SIGKILL)


def status(pid: int) -> tuple[str, int] | None:
    """State and parent of a process."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return state, int(parent)


def is_running(pid: int) -> bool:
    found = status(pid)
    return found is not None and found[0] != "Z"


def descendants(pid: int) -> set[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        found = status(int(path.name))
        if found is not None:
            parents[int(path.name)] = found[1]
    family = {pid}
    while True:
        grown = family | {child for child, parent in parents.items() if parent in family}
        if grown == family:
            return family - {pid}
        family = grown


def wait_until_ended(pids: set[int], seconds: float = 30) -> set[int]:
    deadline = time.monotonic() + seconds
    while (left := set(filter(is_running, pids))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def wait_for_children(server: subprocess.Popen[str], number: int) -> set[int]:
    deadline = time.monotonic() + 30
    while len(started := descendants(server.pid)) < number:
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return started


def read_line(server: subprocess.Popen[str], seconds: float) -> str:
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(server.stdout.readline()), daemon=True).start()
    return lines.get(timeout=seconds)


def fetch(url: str, body: bytes | None = None) -> str:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=20) as response:
        return response.read().decode()


@pytest.mark.integration
@pytest.mark.slow
def test_the_page_answers_and_one_interrupt_ends_every_process(
    server: subprocess.Popen[str], tmp_path: Path, port: int
) -> None:
    assert read_line(server, 60).startswith(f"Dagster is at http://127.0.0.1:{port} ")
    answer = json.loads(
        fetch(f"http://127.0.0.1:{port}/graphql", json.dumps({"query": "{assetNodes{assetKey{path}}}"}).encode())
    )
    assert answer == {"data": {"assetNodes": [{"assetKey": {"path": ["one"]}}]}}
    assert "<html" in fetch(f"http://127.0.0.1:{port}/assets")
    started = descendants(server.pid)
    assert len(started) >= 4  # the code server and its worker, the web server, the daemon

    server.send_signal(signal.SIGINT)

    assert server.wait(30) == 0
    assert not set(filter(is_running, started))
    logs = sorted(path.name for path in (tmp_path / "home" / "logs").iterdir())
    assert logs == ["code-tiny.log", "daemon.log", "webserver.log"]


@pytest.fixture
def json_logs(monkeypatch: pytest.MonkeyPatch, workspace: Path) -> None:
    monkeypatch.setenv("MEDALLION_LOG", "json")
    (workspace.parent / "code.py").write_text(JSON_CODE)


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.usefixtures("json_logs")
def test_every_log_line_of_servers_and_runs_is_json_on_request(
    server: subprocess.Popen[str], tmp_path: Path, port: int
) -> None:
    assert read_line(server, 60).startswith("Dagster is at ")
    launched = json.loads(fetch(f"http://127.0.0.1:{port}/graphql", json.dumps({"query": LAUNCH}).encode()))
    run_id = launched["data"]["launchPipelineExecution"]["run"]["runId"]
    log = tmp_path / "home" / "logs" / "code-tiny.log"
    deadline = time.monotonic() + 60
    while "RUN_SUCCESS" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0

    lines = [json.loads(line) for path in log.parent.iterdir() for line in path.read_text().splitlines()]
    (told,) = [line for line in lines if line.get("message", "").endswith("from the asset")]
    assert (told["run_id"], told["step_key"], told["level"]) == (run_id, "one", "info")
    assert [line["logger"] for line in lines if line.get("message") == "from a library"] == ["a.library"]
    assert any("Serving dagster-webserver" in line.get("event", "") for line in lines)


@pytest.mark.integration
@pytest.mark.slow
def test_a_server_that_dies_ends_the_others_and_names_its_log(server: subprocess.Popen[str], tmp_path: Path) -> None:
    started = wait_for_children(server, 3)
    os.kill(max(started), signal.SIGKILL)
    output = read_line(server, 30)

    assert server.wait(30) == 128 + signal.SIGKILL
    assert "ended with code -9" in output
    assert str(tmp_path / "home" / "logs") in output
    assert not wait_until_ended(started)


@pytest.mark.integration
def test_a_killed_parent_takes_its_servers_with_it(server: subprocess.Popen[str]) -> None:
    started = wait_for_children(server, 3)
    server.kill()

    assert not wait_until_ended(started)


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path, workspace: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"Port {port} on 127\.0\.0\.1 .*MEDALLION_PORT"):
            serve(tmp_path / "home", workspace, port)

    assert not (tmp_path / "home").exists()


def test_a_second_server_of_the_same_home_is_refused(tmp_path: Path, workspace: Path, port: int) -> None:
    with _only_server_of(tmp_path / "home"), pytest.raises(ServerError, match=r"Another .*home.*MEDALLION_HOME"):
        serve(tmp_path / "home", workspace, port)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"host": "localhost", "socket": "/gone"}, "FAILURE"),
        ({"host": "code", "port": 4000}, "STARTED"),
        ({}, "STARTED"),
    ],
    ids=["of this home", "of a system that goes on", "none"],
)
def test_only_runs_whose_server_is_gone_are_marked_as_failed(
    tmp_path: Path, server: dict[str, str | int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    tags = {GRPC_INFO_TAG: json.dumps(server)} if server else {}
    with open_instance(tmp_path) as instance:
        run_id = create_run_for_test(instance, status=DagsterRunStatus.STARTED, tags=tags).run_id
    _fail_abandoned_runs(tmp_path)

    with open_instance(tmp_path) as instance:
        assert instance.get_run_by_id(run_id).status == DagsterRunStatus(expected)


def test_a_missing_workspace_is_named(tmp_path: Path, port: int) -> None:
    with pytest.raises(ServerError, match=r"nowhere\.yaml doesn't exist.*MEDALLION_WORKSPACE"):
        serve(tmp_path, tmp_path / "nowhere.yaml", port)


def test_a_location_with_a_python_of_its_own_is_refused(tmp_path: Path, workspace: Path, port: int) -> None:
    workspace.write_text("load_from:\n  - python_file: {relative_path: code.py, executable_path: /usr/bin/python3}\n")
    handler = signal.getsignal(signal.SIGINT)

    with pytest.raises(ServerError, match="executable_path"):
        serve(tmp_path, workspace, port)
    assert signal.getsignal(signal.SIGINT) == handler
