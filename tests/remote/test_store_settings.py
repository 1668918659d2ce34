"""Settings of stores at which obstore panics: each is refused by its name, before anything is asked."""

from __future__ import annotations

import os

import pytest

from asyncsdk import RemoteError
from asyncsdk.remote.store_settings import unusable_setting
from asyncsdk.remote.stores import RemoteStores
from tests.remote.test_reading import address

NOT_A_SERVER = "is not the URL of a server. Set it to one such as http://localhost:9000, or remove it"


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    "endpoint",
    [
        "localhost:9000",
        "nonsense",
        " http://localhost",
        "http://",
        "http:///a",
        "//host",
        "ftp://host",
        "http://host:99999",
        "http://h\u00fc:1",
        "http://[::1",
        "http://host/a b",
        "http://host?a",
    ],
)
def test_an_endpoint_has_to_be_the_url_of_a_server(endpoint: str) -> None:
    assert unusable_setting("s3", {"endpoint": endpoint}, {}) == f"endpoint {NOT_A_SERVER}"
    assert unusable_setting("s3", {}, {"AWS_ENDPOINT_URL": endpoint}) == f"AWS_ENDPOINT_URL {NOT_A_SERVER}"


@pytest.mark.parametrize(
    "endpoint", ["http://localhost:9000", "HTTPS://s3.example.org/sub/path", "http://u:p@h-1:1", "http://[::1]:9000"]
)
def test_other_endpoints_are_left_to_obstore(endpoint: str) -> None:
    assert unusable_setting("s3", {}, {"AWS_ENDPOINT_URL_S3": endpoint, "AWS_REGION": "no matter"}) is None


def test_an_endpoint_of_azure_has_to_be_one_too() -> None:
    assert unusable_setting("az", {}, {"AZURE_ENDPOINT": "localhost:1"}) == f"AZURE_ENDPOINT {NOT_A_SERVER}"
    assert unusable_setting("az", {"endpoint": "http://localhost:1"}, {"AZURE_ENDPOINT": "localhost:1"}) is None
    assert unusable_setting("gs", {"endpoint": "x"}, {"AWS_ENDPOINT_URL": "x"}) is None


def test_options_replace_the_environment() -> None:
    assert unusable_setting("s3", {"aws_endpoint": "http://localhost"}, {"AWS_ENDPOINT_URL": "nonsense"}) is None
    config = {"config": {"endpoint": "http://localhost"}}  # as obstore takes them, too
    assert unusable_setting("s3", config, {"AWS_ENDPOINT_URL": "nonsense"}) is None
    assert unusable_setting("s3", {"config": {"endpoint": "nonsense"}}, {}) == f"endpoint {NOT_A_SERVER}"


def test_a_default_region_does_not_matter_beside_a_region() -> None:
    assert unusable_setting("s3", {}, {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": ""}) is None
    assert unusable_setting("s3", {"region": "us-east-1"}, {"AWS_DEFAULT_REGION": "no where"}) is None
    empty = "is empty. Set it to one such as us-east-1"
    assert unusable_setting("s3", {}, {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu"}) == f"AWS_REGION {empty}"
    assert unusable_setting("s3", {}, {"AWS_DEFAULT_REGION": ""}) == f"AWS_DEFAULT_REGION {empty}"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "AWS_ENDPOINT_URL",
            "",
            "AWS_ENDPOINT_URL is empty. Set it to one such as http://localhost:9000, or remove it",
        ),
        ("AWS_REGION", "no where", "AWS_REGION is not a region. Set it to one such as us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key\n", "AWS_ACCESS_KEY_ID contains a line break or another control character"),
        ("AWS_SESSION_TOKEN", "a\x00", "AWS_SESSION_TOKEN contains a line break or another control character"),
    ],
)
def test_a_setting_is_refused_by_its_name(clean: pytest.MonkeyPatch, name: str, value: str, problem: str) -> None:
    assert unusable_setting("s3", {}, {name: value}) == problem
    if "\x00" not in value:  # which no environment holds
        clean.setenv(name, value)
        with pytest.raises(RemoteError) as refused:
            RemoteStores().open(address("s3://bucket/a"))
        assert str(refused.value) == f"the settings for s3://bucket can't be used: {problem}."
        assert not refused.value.resumable


@pytest.mark.parametrize(
    ("url", "name"), [("s3://bucket/a", "AWS_ALLOW_HTTP"), ("gs://bucket/a", "GOOGLE_APPLICATION_CREDENTIALS")]
)
def test_what_obstore_does_not_take_is_said_to_be_a_setting(clean: pytest.MonkeyPatch, url: str, name: str) -> None:
    clean.setenv(name, "")
    with pytest.raises(RemoteError, match=r"the settings for .* can't be used: look at the environment variables"):
        RemoteStores().open(address(url))
