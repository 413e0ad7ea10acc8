"""docker-compose.yml keeps the compose specification, and the rules that this project has for its services."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from tests.fixtures.compose_file import FILE, example, filled_in, read, resolved
from tests.fixtures.image import ROOT
from tests.fixtures.postgres import debian_programs

SECRETS = [name for name, value in example().items() if not value]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


@functools.cache
def model() -> dict[str, Any]:
    return resolved(filled_in())


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = model()["services"]
    return found


def lasting() -> dict[str, dict[str, Any]]:
    """Services that are not meant to end."""
    return {name: service for name, service in services().items() if service["restart"] == "unless-stopped"}


def test_the_file_is_valid() -> None:
    assert set(services()) == {
        "code-location",
        "daemon",
        "instance-init",
        "object-store",
        "object-store-init",
        "postgres",
        "spark-connect",
        "spark-master",
        "spark-worker",
        "supplier",
        "webserver",
    }


def test_a_key_that_the_specification_does_not_know_is_found() -> None:
    done = read(filled_in(), FILE.read_text().replace("healthcheck:", "health-check:", 1))
    assert done.returncode != 0
    assert "health-check" in done.stderr


@pytest.mark.parametrize("missing", SECRETS)
def test_without_a_secret_it_refuses_to_start_and_names_it(missing: str) -> None:
    done = read({**filled_in(), missing: ""})
    assert done.returncode != 0
    assert f"required variable {missing} is missing a value: set it in .env" in done.stderr


def test_the_example_has_every_variable_of_the_file_and_no_secret() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", FILE.read_text()))
    told = re.findall(r"^#?([A-Z][A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
    assert {name for name, _ in told} == used | {"COMPOSE_PROFILES"}
    secret = re.compile("PASSWORD|SECRET|TOKEN")
    assert {name for name, _ in told if secret.search(name)} == set(SECRETS)


def test_no_secret_is_in_a_command_line() -> None:
    values = filled_in()
    for name, service in resolved(values)["services"].items():
        words = " ".join([*service.get("command", []), *service.get("healthcheck", {}).get("test", [])])
        assert not [secret for secret in SECRETS if values[secret] in words], name


def test_ports_are_published_on_this_machine_only() -> None:
    published = {name: port for name, service in services().items() for port in service.get("ports", [])}
    assert {port["host_ip"] for port in published.values()} == {"127.0.0.1"}
    assert set(published) == {"webserver", "object-store"}
    internal = {name for name, network in model()["networks"].items() if network.get("internal")}
    # A service with internal networks only can't be reached by its published port.
    assert all(set(services()[name]["networks"]) - internal for name in published)


def test_no_service_is_root_or_may_become_it() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE.read_text(), re.M)
    stages = re.split(r"^FROM .* AS ", DOCKERFILE.read_text(), flags=re.M)[1:]
    of_stage = {stage.split()[0]: re.findall(r"^USER (\S+)", stage, re.M)[-1:] for stage in stages}
    assert users
    for name, service in services().items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        user = service.get("user") or of_stage[service["build"]["target"]][0]
        assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user), name


def test_every_service_has_limits_and_every_lasting_one_a_health_check() -> None:
    for name, service in services().items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name
    for name, service in lasting().items():
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"]), name


def test_what_must_stay_is_in_named_volumes_that_are_used() -> None:
    mounted = {v["source"] for s in services().values() for v in s.get("volumes", []) if v["type"] == "volume"}
    assert mounted == set(model()["volumes"])
    assert {"postgres-data", "object-store", "dagster-home"} <= mounted


def test_images_are_pinned_by_version() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.M)
    stages = re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE.read_text(), re.M)
    named = [service["image"] for service in services().values() if "build" not in service]
    for image in [*(base for base in bases if base not in stages), *named]:
        assert re.search(r":\d+\.\d+(\.\d+)?(-[a-z-]+)?$", image), image


def test_dagsters_database_has_the_major_version_that_the_tests_run() -> None:
    assert services()["postgres"]["image"].startswith(f"postgres:{debian_programs().parent.name}.")


def test_services_that_are_named_in_addresses_share_a_network() -> None:
    for name, service in services().items():
        words = [*service.get("command", []), *map(str, service["environment"].values())]
        for host in re.findall(r"(?://|@)([a-z][a-z-]+):\d+", " ".join(words)):
            assert host in services(), f"{name} names {host}"
            shared = set(service["networks"]) & set(services()[host]["networks"])
            assert shared, f"{name} names {host}, which is in none of its networks"
