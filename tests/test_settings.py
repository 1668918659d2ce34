"""Arguments, then the environment, then defaults; what can't be right is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from asyncsdk.errors import ConfigurationError
from asyncsdk.settings import (
    AzureSettings,
    Settings,
    checked_base_url,
    checked_headers,
    parse_headers,
    resolve,
    resolve_azure,
)

KEY = "sk-a-secret-0123456789"
NOTHING: dict[str, Any] = {
    "api_key": None,
    "base_url": None,
    "organization": None,
    "project": None,
    "auth": "bearer",
    "headers": None,
    "query": None,
}


def settled(environment: dict[str, str], **arguments: Any) -> Settings:
    return resolve(environment, **(NOTHING | arguments))


def test_the_environment_fills_what_is_left_open() -> None:
    environment = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": "http://localhost:8080/v1/",
        "OPENAI_ORG_ID": "org-1",
        "OPENAI_PROJECT_ID": "proj-1",
        "OPENAI_CUSTOM_HEADERS": "X-A: 1\n\nX-B:2\r\n",
    }
    settings = settled(environment)
    assert (settings.key, settings.base_url) == (KEY, "http://localhost:8080/v1")
    assert (settings.organization, settings.project) == ("org-1", "proj-1")
    assert settings.headers == {"X-A": "1", "X-B": "2"}


def test_arguments_go_before_the_environment() -> None:
    environment = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": "http://x", "OPENAI_ORG_ID": "x", "OPENAI_PROJECT_ID": "x"}
    settings = settled(environment, api_key=KEY, base_url="http://y", organization="y", project="y", query={"a": "b"})
    assert (settings.key, settings.base_url, settings.organization, settings.project) == (KEY, "http://y", "y", "y")
    assert settings.query == {"a": "b"}


def test_an_empty_variable_is_an_unset_one() -> None:
    empty = dict.fromkeys(
        ["OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS", "OPENAI_API_KEY"], ""
    )
    settings = settled(empty, api_key=KEY)
    assert settings.base_url == "https://api.openai.com/v1"
    assert (settings.organization, settings.project, settings.headers) == (None, None, {})
    with pytest.raises(ConfigurationError, match="set OPENAI_API_KEY"):
        settled(empty)


@pytest.mark.parametrize("key", ["", None])
def test_no_key_is_said_at_once(key: str | None) -> None:
    with pytest.raises(ConfigurationError, match="no API key"):
        settled({}, api_key=key)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\nX: y", f"Bearer {KEY}", f"{KEY}\x00", f"“{KEY}”", "   "])
def test_what_can_be_no_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settled({}, api_key=key)
    assert KEY not in repr(caught.value)


def test_spaces_around_a_key_do_no_harm() -> None:
    assert settled({}, api_key=f" {KEY} ").key == KEY


def test_a_key_is_text_or_a_function() -> None:
    def current_key() -> str:
        return KEY

    assert settled({}, api_key=current_key).key is current_key
    with pytest.raises(ConfigurationError, match="text, or a function"):
        settled({}, api_key=KEY.encode())


def test_there_are_two_ways_to_show_a_key() -> None:
    assert settled({}, api_key=KEY, auth="api-key").auth == "api-key"
    with pytest.raises(ConfigurationError, match="'basic' is not known"):
        settled({}, api_key=KEY, auth="basic")


def test_no_secret_is_in_its_repr() -> None:
    settings = settled({}, api_key=KEY, headers={"X-Gateway": KEY}, query={"key": KEY})
    assert KEY not in repr(settings)


@pytest.mark.parametrize("name", ["organization", "project"])
def test_an_organization_can_not_smuggle_in_a_header(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"header {name} contains a line break"):
        settled({}, api_key=KEY, **{name: "a\r\nX: y"})


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://API.OpenAI.com/v1/", "https://api.openai.com/v1"),
        (" http://h ", "http://h"),
        ("http://h:80/V1//", "http://h/V1"),
        ("https://h:443", "https://h"),
        ("https://h:80", "https://h:80"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("http://bücher.example/v1", "http://bücher.example/v1"),
    ],
)
def test_a_base_url_has_one_form(url: str, normal: str) -> None:
    assert checked_base_url(url) == normal
    assert checked_base_url(normal) == normal


@pytest.mark.parametrize(
    "url",
    [
        KEY,
        f"https://{KEY}:{KEY}@h/v1",
        f"https://h:{KEY}/v1",
        f"https://h/v1?key={KEY}",
        f"https://h/v1#{KEY}",
        f"ftp://{KEY}",
        f"https:///{KEY}",
        f"https://h h/{KEY}",
        f"https://[{KEY}",
    ],
)
def test_what_is_no_base_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked_base_url(url)
    assert KEY not in repr(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["localhost:8787/v1", "api.openai.com/v1", "htp://127.0.0.1:8787", "https//h.io"])
def test_a_base_url_that_holds_no_key_is_shown_with_the_variable_that_it_came_from(url: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"OPENAI_BASE_URL is '.*', which is not an http.* Nothing was sent"
    ) as caught:
        settled({"OPENAI_BASE_URL": url}, api_key=KEY)
    assert repr(url) in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"^base_url is '"):
        settled({"OPENAI_BASE_URL": "http://h"}, api_key=KEY, base_url=url)


@given(st.text())
def test_any_text_is_a_base_url_or_refused(text: str) -> None:
    for url in (text, f"http://{text}"):
        try:
            normal = checked_base_url(url)
        except ConfigurationError:
            continue
        assert checked_base_url(normal) == normal
        assert URL(normal).host


@pytest.mark.parametrize("headers", [{"X Y": "z"}, {"": "z"}, {"X": "a\nb"}, {"X": "a\x00"}, {"X:": "y"}])
def test_a_header_must_be_one(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="header"):
        checked_headers(headers)


def test_a_line_without_colon_is_named_by_its_number_only() -> None:
    with pytest.raises(ConfigurationError, match="number 2 has no colon") as caught:
        parse_headers(["X-A: 1", f"Authorization {KEY}"])
    assert KEY not in str(caught.value)


def azure(
    environment: dict[str, str], *, endpoint: str | None = None, api_version: str | None = None, **keys: Any
) -> AzureSettings:
    return resolve_azure(environment, endpoint=endpoint, api_version=api_version, keys=keys)


@pytest.mark.parametrize(
    ("endpoint", "version", "base_url"),
    [
        ("https://r.openai.azure.com/", None, "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com/openai/v1/", None, "https://r.openai.azure.com/openai/v1"),
        ("https://r.openai.azure.com", "2025-04-01-preview", "https://r.openai.azure.com/openai"),
        ("https://r.openai.azure.com/openai", "2025-04-01-preview", "https://r.openai.azure.com/openai"),
        ("https://r.openai.azure.com/openai/v1", "preview", "https://r.openai.azure.com/openai/v1"),
    ],
)
def test_an_azure_endpoint_is_completed(endpoint: str, version: str | None, base_url: str) -> None:
    query = {"api-version": version} if version else {}
    found = azure({}, endpoint=endpoint, api_version=version, api_key=KEY)
    assert found == AzureSettings(KEY, base_url, "api-key", query)
    assert KEY not in repr(found)


def test_azure_is_found_in_the_environment() -> None:
    environment = {
        "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com",
        "OPENAI_API_VERSION": "2025-04-01-preview",
        "AZURE_OPENAI_API_KEY": "the-key",
    }
    assert azure(environment).key == "the-key"
    assert azure(environment).query == {"api-version": "2025-04-01-preview"}
    with_token = azure(environment | {"AZURE_OPENAI_AD_TOKEN": "the-token"})
    assert (with_token.key, with_token.auth) == ("the-token", "bearer")
    assert azure(environment | {"AZURE_OPENAI_AD_TOKEN": "the-token"}, api_key="mine").auth == "api-key"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no Azure endpoint"),
        ({"endpoint": "https://r"}, "no Azure key"),
        ({"endpoint": "https://r/openai", "api_key": KEY}, "needs an api_version"),
        ({"endpoint": "https://r", "api_key": KEY, "token": KEY}, "api_key= and token= exclude each other"),
        (
            {"endpoint": "https://r", "token": KEY, "azure_ad_token_provider": KEY},
            "token= and azure_ad_token_provider= exclude each other",
        ),
    ],
)
def test_what_azure_lacks_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        azure({"OPENAI_API_KEY": KEY}, **arguments)
