"""Health checks of containers: each asks its service for something that only a working one can answer.

python healthcheck.py page http://127.0.0.1:3000
python healthcheck.py master http://127.0.0.1:8080
python healthcheck.py worker http://127.0.0.1:8081 http://spark-master:8080
python healthcheck.py connect 127.0.0.1:15002

Exit code 1 and one line say what is wrong.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

SECONDS = 8
_PAGE = """{
  runsOrError(limit: 1) { __typename ... on PythonError { message } }
  workspaceOrError { __typename ... on PythonError { message } ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } }
}"""
_SESSION = "00000000-0000-4000-8000-000000000000"
"""One session for all checks, so that they do not fill the server with idle ones."""


class Unhealthy(Exception):
    """What is wrong, in one line."""


def page(url: str) -> None:
    """The web server reaches its database, and every code location is loaded."""
    found = _json(f"{url}/graphql", {"query": _PAGE})["data"]
    runs, workspace = found["runsOrError"], found["workspaceOrError"]
    for answer in (runs, workspace):
        if answer["__typename"] == "PythonError":
            raise Unhealthy(answer["message"])
    for entry in workspace["locationEntries"]:
        loaded = entry["locationOrLoadError"] or {"__typename": entry["loadStatus"]}
        if loaded["__typename"] != "RepositoryLocation":
            raise Unhealthy(f"code location {entry['name']}: {loaded.get('message', loaded['__typename'])}")
    if not workspace["locationEntries"]:
        raise Unhealthy("no code location")


def master(url: str) -> None:
    """The master leads."""
    status = _json(f"{url}/json/")["status"]
    if status != "ALIVE":
        raise Unhealthy(f"the master is {status}")


def worker(url: str, master_url: str) -> None:
    """The master counts on the worker."""
    own = _json(f"{url}/json/")["id"]
    states = {known["id"]: known["state"] for known in _json(f"{master_url}/json/")["workers"]}
    if states.get(own) != "ALIVE":
        raise Unhealthy(f"for the master, worker {own} is {states.get(own, 'unknown')}")


def connect(address: str) -> None:
    """The Connect server answers whoever has its token."""
    import grpc
    from pyspark.sql.connect.proto import base_pb2, base_pb2_grpc

    request = base_pb2.AnalyzePlanRequest(session_id=_SESSION)
    request.user_context.user_id = "healthcheck"
    request.spark_version.SetInParent()
    token = os.environ.get("SPARK_CONNECT_AUTHENTICATE_TOKEN")
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address) as channel:
        try:
            answer = base_pb2_grpc.SparkConnectServiceStub(channel).AnalyzePlan(
                request, metadata=metadata, timeout=SECONDS
            )
        except grpc.RpcError as error:
            raise Unhealthy(f"{address}: {error.code().name}: {error.details()}") from error
    if not answer.spark_version.version:
        raise Unhealthy(f"{address} does not tell its version")


def _json(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    # No proxy: all services are in this network, whatever HTTP_PROXY says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=SECONDS) as response:
            return json.load(response)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Unhealthy(f"{url}: {error}") from error


def main(arguments: list[str]) -> int:
    """Run the check that the first argument names."""
    checks = {"page": page, "master": master, "worker": worker, "connect": connect}
    try:
        checks[arguments[0]](*arguments[1:])
    except Unhealthy as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
