"""The Spark services of docker-compose.yml: a table is made by the cluster, for those who have secret and token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.fixtures.compose import Deployment, deployment, filled_in
from tests.fixtures.image import Image

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.spark]

_SELECTED = 'key:"bronze/olist/products" or key:"bronze/olist/category_translation" or key:"silver/olist/products"'


@pytest.fixture(scope="module")
def system(images: Mapping[str, Image], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Every service of the file, healthy, with a supplier's files in the landing zone."""
    environment = {
        **filled_in(),
        "ORDERS": "50",
        "SPARK_WORKER_CORES": "1",
        "SPARK_WORKER_MEMORY": "1g",
        "SPARK_EXECUTOR_MEMORY": "800m",
    }
    with deployment(tmp_path_factory.mktemp("spark"), images, environment) as started:
        for name in ("code-location", "spark-connect"):
            started.start(name)
            started.wait(name, "service_healthy")
        started.run("supplier")
        yield started


def test_a_run_in_the_code_location_is_computed_by_the_cluster(system: Deployment) -> None:
    command = ["python", "-m", "medallion.instance.launch", "medallion", "run", "--select", _SELECTED, "--json"]
    done = system.containers["code-location"].execute(command, seconds=600)
    assert done.returncode == 0, done.stdout + done.stderr + system.tail("spark-connect")
    lake = system.volume("object-store") / "data" / "lake"
    assert list((lake / "silver/olist/products/_delta_log").glob("*.json"))
    # The executor has written what the driver committed.
    assert "Executor app-" in system.tail("spark-worker", 100_000)


def test_the_connect_server_refuses_who_has_no_token(system: Deployment) -> None:
    check = ["python", "/opt/medallion/project/healthcheck.py", "connect", "spark-connect:15002"]
    without = system.containers["code-location"].execute(check)
    assert without.returncode == 1
    assert "UNAUTHENTICATED" in without.stdout
    wrong = system.containers["code-location"].execute(["env", "SPARK_CONNECT_AUTHENTICATE_TOKEN=no", *check])
    assert wrong.returncode == 1
    assert "UNAUTHENTICATED" in wrong.stdout


def test_no_secret_of_spark_is_in_a_command_line(system: Deployment) -> None:
    for name in ("spark-master", "spark-worker", "spark-connect"):
        seen = system.containers[name].execute(["ps", "-A", "-ww", "-o", "args"]).stdout
        assert "java" in seen, name
        for secret in ("SPARK_SECRET", "SPARK_CONNECT_TOKEN", "S3_PIPELINE_SECRET"):
            assert system.environment[secret] not in seen, (name, secret)


def test_every_service_ends_by_itself_when_asked_to(system: Deployment) -> None:
    codes = system.down(90)
    # A JVM that ends by SIGTERM says so.
    assert {code for name, code in codes.items() if name.startswith("spark")} <= {0, 143}
    assert {code for name, code in codes.items() if not name.startswith("spark")} == {0}
