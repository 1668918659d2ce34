"""Which server the options and the environment mean."""

from __future__ import annotations

from typing import Any

import pytest

from asyncsdk.cli.connect import means_azure, open_client
from asyncsdk.cli.options import Connection
from asyncsdk.errors import ConfigurationError

AZURE = {"AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com", "AZURE_OPENAI_API_KEY": "azure-key"}


@pytest.fixture
def azure(environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in AZURE.items():
        environment.setenv(name, value)
    environment.delenv("OPENAI_API_KEY")
    return environment


@pytest.mark.parametrize(
    ("variables", "asked", "meant"),
    [
        (AZURE, {}, "azure"),
        (AZURE | {"OPENAI_API_KEY": "sk"}, {}, "openai"),
        (AZURE, {"base_url": "http://x/v1"}, "openai"),
        ({"OPENAI_API_KEY": "sk"}, {}, "openai"),
        ({}, {}, "openai"),
    ],
)
def test_azure_is_meant_where_it_is_set_up_and_nothing_says_openai(
    variables: dict[str, str], asked: dict[str, Any], meant: str
) -> None:
    assert means_azure(variables, Connection(**asked)) is (meant == "azure")


def test_azure_is_spoken_to_with_its_own_key_and_header(azure: pytest.MonkeyPatch) -> None:
    client = open_client(Connection(query=("x=y",)))
    assert client.base_url == "https://mine.openai.azure.com/openai/v1"
    assert (client.settings.auth, client.settings.key) == ("api-key", "azure-key")
    assert client.settings.query == {"x": "y"}


def test_for_azure_the_kind_of_the_key_decides_how_it_goes(azure: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="--auth needs --base-url"):
        open_client(Connection(auth="bearer"))


def test_options_come_before_the_environment() -> None:
    client = open_client(Connection(base_url="https://x/v1", auth="api-key", header=("A: b", "C:d"), query=("k=v=w",)))
    assert client.base_url == "https://x/v1"
    assert client.settings.auth == "api-key"
    assert client.settings.headers == {"A": "b", "C": "d"}
    assert client.settings.query == {"k": "v=w"}


@pytest.mark.parametrize(
    "name",
    ["Authorization", "proxy-authorization", "Cookie", "api-key", "X-API-Key", "Ocp-Apim-Subscription-Key", "X-Token"],
)
def test_no_key_is_taken_as_a_header_on_the_command_line(name: str) -> None:
    with pytest.raises(ConfigurationError, match="OPENAI_CUSTOM_HEADERS") as caught:
        open_client(Connection(base_url="https://x/v1", header=(f"{name}: sk-canary",)))
    assert "sk-canary" not in repr(caught.value)


@pytest.mark.parametrize("name", ["key", "api_key", "subscription-key", "access_token", "sig", "client_secret"])
def test_nor_in_the_query(name: str) -> None:
    with pytest.raises(ConfigurationError, match="every server on the way can see one in a URL") as caught:
        open_client(Connection(base_url="https://x/v1", query=(f"{name}=sk-canary",)))
    assert "sk-canary" not in repr(caught.value)


def test_headers_and_queries_that_only_sound_like_one_are_taken() -> None:
    asked = Connection(base_url="https://x/v1", header=("X-Keyboard: a", "Monkey: b"), query=("keys=1", "design=2"))
    assert open_client(asked).settings.query == {"keys": "1", "design": "2"}
