"""Object store options in the environment of the process."""

from __future__ import annotations

import os

import pytest

from medallion.engine.storage import environment_of, export_storage_options, hadoop_options, storage_environment

FIRST = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "first", "AWS_SECRET_ACCESS_KEY": "hush"}


@pytest.fixture(autouse=True)
def _no_inherited_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FIRST:
        monkeypatch.delenv(name, raising=False)


def test_options_reach_the_environment_for_the_block_only() -> None:
    before = dict(os.environ)
    with storage_environment(FIRST) as exported:
        assert exported == FIRST
        assert {name: os.environ[name] for name in FIRST} == FIRST
    assert dict(os.environ) == before


def test_options_win_over_an_inherited_variable_which_returns_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "inherited")
    with storage_environment(FIRST):
        assert os.environ["AWS_ACCESS_KEY_ID"] == "first"
    assert os.environ["AWS_ACCESS_KEY_ID"] == "inherited"


def test_the_same_options_may_be_exported_again() -> None:
    with storage_environment(FIRST):
        assert export_storage_options(FIRST) == FIRST


def test_no_options_leave_the_exported_ones_alone() -> None:
    with storage_environment(FIRST):
        assert export_storage_options({}) == {}
        assert os.environ["AWS_ACCESS_KEY_ID"] == "first"


def test_a_second_set_in_one_process_is_refused_without_printing_values() -> None:
    with storage_environment(FIRST):
        with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID, AWS_REGION") as refused:
            export_storage_options({**FIRST, "AWS_ACCESS_KEY_ID": "second", "AWS_REGION": "r"})
        assert "second" not in str(refused.value)
        assert os.environ["AWS_ACCESS_KEY_ID"] == "first"
    with storage_environment({"AWS_ACCESS_KEY_ID": "second"}):
        assert os.environ["AWS_ACCESS_KEY_ID"] == "second"


def test_other_spellings_of_delta_rs_mean_the_same() -> None:
    options = {"access_key_id": "k", "aws_endpoint": "e", "region": "r", "allow_http": "true", "token": "t"}
    assert environment_of(options) == {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_ENDPOINT_URL": "e",
        "AWS_REGION": "r",
        "AWS_ALLOW_HTTP": "true",
        "AWS_SESSION_TOKEN": "t",
    }


def test_two_spellings_with_two_values_are_refused() -> None:
    with pytest.raises(ValueError, match="AWS_REGION twice"):
        environment_of({"region": "a", "AWS_REGION": "b"})


def test_options_of_delta_rs_that_no_engine_reads_stay_out_of_the_environment() -> None:
    assert environment_of({"timeout": "5s", "provider": "s3", "bucket": "b"}) == {}


def test_spark_gets_the_same_options_as_hadoop_names_them() -> None:
    assert hadoop_options({**FIRST, "AWS_REGION": "r", "timeout": "5s"}) == {
        "fs.s3a.access.key": "first",
        "fs.s3a.secret.key": "hush",
        "fs.s3a.endpoint": "http://127.0.0.1:1",
        "fs.s3a.endpoint.region": "r",
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": "false",
    }


def test_amazon_itself_needs_neither_address_nor_path_style() -> None:
    assert hadoop_options({"AWS_REGION": "eu-central-1"}) == {"fs.s3a.endpoint.region": "eu-central-1"}


def test_a_server_with_host_names_per_bucket_keeps_them() -> None:
    options = {"AWS_ENDPOINT_URL": "https://s3.example", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}
    assert hadoop_options(options)["fs.s3a.path.style.access"] == "false"
