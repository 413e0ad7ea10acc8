"""MEDALLION_ENGINE, parsed."""

from __future__ import annotations

import pytest

from medallion.engine.profile import EngineProfile


def test_sail_is_embedded() -> None:
    assert EngineProfile.parse(" sail ") == EngineProfile(url=None)
    assert EngineProfile.parse("sail").embedded


@pytest.mark.parametrize(
    "address",
    [
        "sc://localhost",
        "sc://localhost:15002",
        "sc://localhost:15002/",
        "sc://host:1/;token=a?b#c;use_ssl=true",
        "sc://[::1]:15002",
    ],
)
def test_a_spark_connect_address_is_kept_as_it_is(address: str) -> None:
    profile = EngineProfile.parse(address)
    assert profile.url == address
    assert not profile.embedded


def test_spark_is_a_driver_of_this_process_on_this_machine() -> None:
    profile = EngineProfile.parse("spark")
    assert (profile.master, profile.url, profile.embedded) == ("local[*]", None, False)


@pytest.mark.parametrize("master", ["spark://host:7077", "spark://one:7077,two:7077"])
def test_a_standalone_cluster_is_a_master(master: str) -> None:
    assert EngineProfile.parse(master) == EngineProfile(master=master)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "MEDALLION_ENGINE is ''"),
        ("Sail", "'Sail'"),
        ("local[2]", "set it to 'sail'"),
        ("http://host:1", "'http://host:1'"),
        ("spark://host", "'host' is not host:port"),
        ("spark://host:7077/path", "is not host:port"),
        ("spark://me@host:7077", "is not host:port"),
        ("spark://one:7077,two", "'two' is not host:port"),
        ("sc://", "host is missing"),
        ("sc://:15002", "host is missing"),
        ("sc://host:port", "port"),
        ("sc://host:99999", "(?i)port"),
        ("sc://host:0", "port 0"),
        ("sc://host:1/path", "only '/;key=value'"),
        ("sc://host:1?x=1", "only '/;key=value'"),
        ("sc://host:1;token=x", "parameters follow '/;'"),
        ("sc://host:1/;token", "every parameter is key=value"),
        ("sc://me:pass@host:1", "a user belongs in the parameters"),
    ],
)
def test_anything_else_is_refused_with_the_setting_and_what_is_allowed(value: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refused:
        EngineProfile.parse(value)
    assert "MEDALLION_ENGINE" in str(refused.value)
    assert "sc://host:15002" in str(refused.value)


def test_a_token_in_a_wrong_address_is_not_printed() -> None:
    with pytest.raises(ValueError) as refused:
        EngineProfile.parse("sc://host:port/;token=secret")
    assert "secret" not in str(refused.value)
