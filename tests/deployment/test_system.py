"""The deployed system at work: the services of docker-compose.yml make gold of landed files, each with its rights.

One file, so that the images are made once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.compose import Deployment
from tests.fixtures.compose_file import filled_in
from tests.fixtures.image import Image

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RUN_SECONDS = 900
GOLD = ("gold/olist/fact_orders", "gold/olist/monthly_revenue")
# In the code location: one run of everything that has landed.
_PLAN = """
import json
from medallion.arrived import landed
from medallion.domains import declared_tables
from medallion.landing import Landing
from medallion.planning import arrived_keys, plan_run
from medallion.settings import Settings
settings = Settings()
tables = [table for table in declared_tables(settings.domains) if table.domain == "olist"]
files = Landing(settings.landing_uri, settings.storage_options)
(run,) = plan_run(tables, arrived_keys(tables, {table.label: table for table in tables}, landed(files.slices)))
print(json.dumps({"assets": [key.path for key in run.assets], "tags": run.tags}))
"""
_LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_STATUS = """query($id: ID!) { runOrError(runId: $id) { ... on Run { status stats {
  ... on RunStatsSnapshot { stepsSucceeded stepsFailed materializations } } } } }"""
_THREE_TABLES = 'key:"bronze/olist/products" or key:"bronze/olist/category_translation" or key:"silver/olist/products"'
# Outside of everything: a reader with the rights of a user of the S3 server.
_READER = """
import json, sys
import obstore, pyarrow
from deltalake import DeltaTable
from obstore.exceptions import BaseError
from obstore.store import S3Store
import os
table, other = sys.argv[1:]
options = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
store = S3Store("lake", config={"endpoint": options["AWS_ENDPOINT_URL"], "region": "us-east-1",
    "access_key_id": options["AWS_ACCESS_KEY_ID"], "secret_access_key": options["AWS_SECRET_ACCESS_KEY"]},
    client_options={"allow_http": True}, retry_config={"max_retries": 0})
def refused(action):
    try:
        action()
    except (BaseError, OSError) as error:
        return "AccessDenied" in str(error) or "403" in str(error)
    return False
rows = pyarrow.table(DeltaTable(f"s3://lake/{table}", storage_options=options).scan()).num_rows
print(json.dumps({
    "rows": rows,
    "reads another layer": not refused(lambda: DeltaTable(f"s3://lake/{other}", storage_options=options)),
    "lists another layer": not refused(lambda: obstore.list(store, other).collect()),
    "writes": not refused(lambda: obstore.put(store, f"{table}/x", b"")),
    "deletes": not refused(lambda: obstore.delete(store, f"{table}/_delta_log/00000000000000000000.json")),
}))
"""


@pytest.fixture(scope="module")
def system(images: Mapping[str, Image], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """All services but those of Spark, healthy, with a supplier's files in the landing zone."""
    environment = {**filled_in(), "COMPOSE_PROFILES": "", "MEDALLION_ENGINE": "sail", "ORDERS": "1500"}
    with Deployment(tmp_path_factory.mktemp("system"), images, environment) as started:
        started.up()
        yield started


def ask(system: Deployment, query: str, **variables: Any) -> Any:
    """The web server's answer to a GraphQL query."""
    body = json.dumps({"query": query, "variables": variables})
    command = ["curl", "-sS", "-H", "Content-Type: application/json", "--data-binary", body]
    answer = json.loads(system.outside([*command, "http://{webserver}:3000/graphql"]))
    assert "errors" not in answer, answer
    return answer["data"]


def run_to_its_end(system: Deployment, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Launch a run through the web server, and give what it says of the run when it has ended."""
    selector = {
        "repositoryLocationName": "medallion",
        "repositoryName": "__repository__",
        "jobName": "olist",
        "assetSelection": [{"path": path} for path in plan["assets"]],
    }
    tags = [{"key": key, "value": value} for key, value in plan["tags"].items()]
    params = {"selector": selector, "mode": "default", "executionMetadata": {"tags": tags}}
    launched = ask(system, _LAUNCH, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        told: dict[str, Any] = ask(system, _STATUS, id=launched["run"]["runId"])["runOrError"]
        if told["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
            return told
        time.sleep(2)
    raise AssertionError(f"the run is {told}\n{system.tail('code-location')}")


def as_user(system: Deployment, user: str, table: str, other: str) -> dict[str, Any]:
    """What a user of the S3 server can do with a table, and with another one."""
    secret = system.environment[f"S3_{user.upper()}_SECRET"]
    answer = system.outside(
        [sys.executable, "-c", _READER, table, other],
        AWS_ENDPOINT_URL="http://{object_store}:7070",
        AWS_ACCESS_KEY_ID=user,
        AWS_SECRET_ACCESS_KEY=secret,
        AWS_REGION="us-east-1",
        AWS_ALLOW_HTTP="true",
    )
    found: dict[str, Any] = json.loads(answer)
    return found


def test_landed_files_become_gold_that_only_its_readers_can_read(system: Deployment) -> None:
    system.run("supplier")
    planned = system.containers["code-location"].execute(["python", "-c", _PLAN])
    assert planned.returncode == 0, planned.stderr
    told = run_to_its_end(system, json.loads(planned.stdout.splitlines()[-1]))
    assert told["status"] == "SUCCESS", system.tail("code-location")

    for table in GOLD:
        found = as_user(system, "bi", table, "silver/olist/orders")
        assert found.pop("rows") > 0
        assert found == dict.fromkeys(found, False), table


def test_a_process_can_write_only_where_it_must(system: Deployment) -> None:
    probe = "for f in /opt/medallion/project /opt/medallion/venv /usr /etc; do touch $f/x && echo $f; done; id -u"
    for name in ("code-location", "webserver", "daemon"):
        done = system.containers[name].execute(["/bin/sh", "-c", probe])
        assert done.stdout.split() == ["10001"], name
        assert done.stderr.count("Read-only file system") == 4, done.stderr


def test_a_service_reaches_what_it_needs_and_nothing_else(system: Deployment) -> None:
    def reaches(name: str, address: str) -> bool:
        host, port = address.split(":")
        connect = f"import socket; socket.create_connection(({host!r}, {port}), 3)"
        return system.containers[name].execute(["python", "-c", connect]).returncode == 0

    assert reaches("daemon", "code-location:4000")
    assert reaches("daemon", "postgres:5432")
    assert not reaches("daemon", "object-store:7070")
    assert not reaches("webserver", "object-store:7070")
    assert reaches("code-location", "object-store:7070")


def test_dagsters_role_can_do_nothing_but_own_its_database(system: Deployment) -> None:
    ask_role = (
        "select rolsuper or rolcreatedb or rolcreaterole or rolreplication from pg_roles where rolname = 'dagster'"
    )
    connection = "PGPASSWORD=$DAGSTER_PASSWORD psql -X -At -h 127.0.0.1 -U dagster"
    in_postgres = system.containers["postgres"].execute
    assert in_postgres(["/bin/sh", "-c", f'{connection} -d dagster -c "{ask_role}"']).stdout.strip() == "f"
    refused = in_postgres(["/bin/sh", "-c", f"{connection} -d postgres -c 'select 1'"])
    assert "permission denied for database" in refused.stderr


def test_a_wrong_password_is_refused_on_every_way_into_the_database(system: Deployment) -> None:
    for host in ("127.0.0.1", "/var/run/postgresql"):
        done = system.containers["postgres"].execute(
            ["/bin/sh", "-c", f"PGPASSWORD=wrong psql -X -h {host} -U postgres -d dagster -c 'select 1'"]
        )
        assert "password authentication failed" in done.stderr, host


def test_the_init_steps_may_be_repeated_and_set_new_secrets(system: Deployment) -> None:
    assert "bucket lake has its policy" in system.run("object-store-init")
    system.run("instance-init")


def test_the_second_health_check_of_a_stopped_service_fails(system: Deployment, tmp_path: Path) -> None:
    """A check that passes whatever happens would be worth nothing: the page's is asked while its location is down."""
    assert system.containers["webserver"].healthy() is None
    code = system.containers["code-location"]
    assert code.stop(120) == 0
    deadline = time.monotonic() + 90
    while (wrong := system.containers["webserver"].healthy()) is None and time.monotonic() < deadline:
        time.sleep(2)
    assert wrong is not None
    assert "medallion" in wrong
    del system.containers["code-location"]
    system.start("code-location")
    system.wait("code-location", "service_healthy")
    system.wait("webserver", "service_healthy")


def test_everything_ends_by_itself_when_asked_to(system: Deployment) -> None:
    codes = system.down(90)
    assert codes == dict.fromkeys(codes, 0), codes


@pytest.fixture(scope="module")
def cluster(images: Mapping[str, Image], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Every service of the file, healthy, with a supplier's files in the landing zone."""
    environment = {
        **filled_in(),
        "ORDERS": "100",
        "SPARK_WORKER_CORES": "1",
        "SPARK_WORKER_MEMORY": "1g",
        "SPARK_EXECUTOR_MEMORY": "800m",
    }
    with Deployment(tmp_path_factory.mktemp("spark"), images, environment) as started:
        for name in ("code-location", "spark-connect"):
            started.start(name)
            started.wait(name, "service_healthy")
        started.run("supplier")
        yield started


@pytest.mark.spark
def test_a_run_in_the_code_location_is_computed_by_the_cluster(cluster: Deployment) -> None:
    command = ["python", "-m", "medallion.instance.launch", "medallion", "run", "--select", _THREE_TABLES, "--json"]
    done = cluster.containers["code-location"].execute(command, seconds=600)
    assert done.returncode == 0, done.stdout + done.stderr + cluster.tail("spark-connect")
    lake = cluster.volume("object-store") / "data" / "lake"
    assert list((lake / "silver/olist/products/_delta_log").glob("*.json"))
    # The executor has written what the driver committed.
    assert "launch executor app-" in cluster.tail("spark-worker", 100_000)


@pytest.mark.spark
def test_the_connect_server_refuses_who_has_no_token(cluster: Deployment) -> None:
    check = ["python", "/opt/medallion/project/healthcheck.py", "connect", "spark-connect:15002"]
    without = cluster.containers["code-location"].execute(check)
    assert without.returncode == 1
    assert "UNAUTHENTICATED" in without.stdout
    wrong = cluster.containers["code-location"].execute(["env", "SPARK_CONNECT_AUTHENTICATE_TOKEN=no", *check])
    assert wrong.returncode == 1
    assert "UNAUTHENTICATED" in wrong.stdout


@pytest.mark.spark
def test_no_secret_of_spark_is_in_a_command_line(cluster: Deployment) -> None:
    for name in ("spark-master", "spark-worker", "spark-connect"):
        seen = cluster.containers[name].execute(["ps", "-A", "-ww", "-o", "args"]).stdout
        assert "java" in seen, name
        for secret in ("SPARK_SECRET", "SPARK_CONNECT_TOKEN", "S3_PIPELINE_SECRET"):
            assert cluster.environment[secret] not in seen, (name, secret)


@pytest.mark.spark
def test_every_service_ends_by_itself_when_asked_to(cluster: Deployment) -> None:
    codes = cluster.down(90)
    # A JVM that ends by SIGTERM says so.
    assert {code for name, code in codes.items() if name.startswith("spark")} <= {0, 143}
    assert {code for name, code in codes.items() if not name.startswith("spark")} == {0}
