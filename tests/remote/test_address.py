"""Which texts are URLs, and what of one is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk import ConfigurationError
from asyncsdk.given import shown_as_url
from asyncsdk.remote.address import RemoteAddress, hint_of_url, local_directory, local_path, remote_address, url_in_path


def address(text: str) -> RemoteAddress:
    found = remote_address(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text", ["a.bin", "/a/b.bin", "C:\\a\\b", "c:/a", "s3:/a", "://a", "-", "", "file:///a", "data:,a"]
)
def test_a_path_is_not_a_url(text: str) -> None:
    assert remote_address(text) is None


@pytest.mark.parametrize(
    ("text", "store", "path", "name"),
    [
        ("s3://bucket/a/b.bin", "s3://bucket", "a/b.bin", "b.bin"),
        ("S3://Bucket/A", "s3://Bucket", "A", "A"),
        ("s3a://bucket/a", "s3a://bucket", "a", "a"),
        ("gs://bucket/a%20b", "gs://bucket", "a b", "a b"),
        ("az://container@account/a", "az://container@account", "a", "a"),
        ("abfss://files@account.dfs.core.windows.net/a/b", "abfss://files@account.dfs.core.windows.net", "a/b", "b"),
        ("https://Example.com:8443/a?b=c#d", "https://example.com:8443", "a", "a"),
        ("memory:///a", "memory://", "a", "a"),
        ("memory://store/a", "memory://store", "a", "a"),
        ("s3://bucket", "s3://bucket", "", ""),
        ("s3://bucket/a/", "s3://bucket", "a/", ""),
        ("s3://bucket/M%C3%BCnchen.jpg", "s3://bucket", "München.jpg", "München.jpg"),
        ("s3://bucket/100%.txt", "s3://bucket", "100%.txt", "100%.txt"),
        ("s3://bucket/a%23b%3Fc", "s3://bucket", "a#b?c", "a#b?c"),
    ],
)
def test_a_url_is_taken_apart(text: str, store: str, path: str, name: str) -> None:
    found = address(text)
    assert (found.store, found.path, found.name) == (store, path, name)


@pytest.mark.parametrize(
    "spelling", ["s3://b/ä b.bin", "s3://b/%C3%A4%20b.bin", "s3://b/%c3%a4 b.bin", "S3://b/ä%20b.bin"]
)
def test_each_spelling_of_a_url_is_shown_alike(spelling: str) -> None:
    assert address(spelling).shown == "s3://b/ä%20b.bin"


def test_what_a_terminal_might_obey_is_shown_as_a_code() -> None:
    assert address("s3://b/a\x1b[31m\u202e.bin").shown == "s3://b/a%1B%5B31m%E2%80%AE.bin"


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@example.com/a.bin?X-Amz-Signature=hunter2#hunter2",
        "http://hunter2@example.com/a.bin?hunter2",
        "https://example.com/a.bin#hunter2",
    ],
)
def test_no_login_and_no_query_is_shown(text: str) -> None:
    found = address(text)
    for shown in (found.shown, found.store, found.name, str(found), repr(found), f"{found.child('b')!r}"):
        assert "hunter2" not in shown
    assert found.shown.endswith("://example.com/a.bin")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp://a/b", "the scheme ftp:// is not known. Known are: s3, s3a, gs, abfs,"),
        ("s4://a/b", "the scheme s4:// is not known"),
        ("s3://key:hunter2@bucket/a", "a login in it is not used"),
        ("az://name:hunter2@account/a", "a login in it is not used"),
        ("s3://bucket/a?hunter2", "a ? ends its path. Write %3F"),
        ("s3://bucket/a#hunter2", "a # ends its path. Write %23"),
        ("s3:///a", "its host or bucket is missing"),
        ("https://user:hunter2/3@host/a", "In a login, /, ? and # are written %2F"),
        ("https://user:hunter2#3@host/a", "In a login, /, ? and # are written %2F"),
        ("s3://key:hunter2/3@bucket/a", "In a login, /, ? and # are written %2F"),
        ("s3://my bucket/a", "'my bucket' is not the name of a bucket"),
        ("https://hunter2@a b/c", "'a b' is not the name of a host, with or without a port"),
        ("https://host:99999/a", "'host:99999' is not the name of a host"),
        ("https://:80/a", "':80' is not the name of a host"),
        ("http://[::1/a", "'[::1' is not the name of a host"),
        ("s3://bucket/%FF", "its path is not UTF-8"),
    ],
)
def test_a_url_that_can_not_be_used_is_refused_in_words(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        remote_address(text)
    assert why in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert str(refused.value).endswith("Nothing was sent.")


def test_a_file_url_is_a_path() -> None:
    assert local_path("file:///a%20b/c") == "/a b/c"
    assert local_path("FILE://localhost/a") == "/a"
    assert local_path("a%20b") == "a%20b"
    with pytest.raises(ConfigurationError, match="three slashes"):
        local_path("file://other/a")


@given(st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1))
def test_a_child_has_its_name_whatever_is_in_it(name: str) -> None:
    child = address("s3://bucket/a").child(name)
    assert child.path == f"a/{name}"
    assert remote_address(child.shown) == child  # what is shown leads there again
    assert child.shown.isprintable()


@pytest.mark.parametrize(
    ("text", "by_path"),
    [
        ("https://a/b/c.bin", True),
        ("https://a/b%20c/%C3%A4.bin", True),
        ("https://a/b//c", False),
        ("https://a/b%2Fc", False),
        ("https://a/b/../c", False),
        ("https://a/b?c", False),
        ("https://a/%7Eb", False),
        ("https://a/b/", False),
        ("s3://a/b%7E", True),
    ],
)
def test_a_path_of_the_web_that_would_not_be_sent_as_it_is_is_not_taken_apart(text: str, *, by_path: bool) -> None:
    assert address(text).is_sent_by_path is by_path


@pytest.mark.parametrize(
    ("query", "by_path"),
    [
        ("", True),
        ("?X-Amz-Date=1&X-Amz-Signature=abc&x-id=GetObject", True),
        ("?X-Goog-Signature=abc", True),
        ("?AWSAccessKeyId=a&Signature=b&Expires=1", True),
        ("?sv=2026&sig=abc", True),
        ("?id=7", False),
        ("?design=7", False),
        ("?signature_of=7", False),
    ],
)
def test_a_query_that_is_no_signature_may_name_the_object(query: str, *, by_path: bool) -> None:
    found = remote_address(f"https://host/a{query}")
    assert found is not None
    assert found.is_named_by_path is by_path


@pytest.mark.parametrize("text", ["https://user:hunter2/3@host/a", "s3://key:hunter2?3@bucket/a", "xy://a:hunter2"])
def test_a_login_that_is_cut_short_is_not_shown(text: str) -> None:
    shown = shown_as_url(text)
    assert shown is not None
    assert shown == f"{text.partition('://')[0]}://…"
    assert shown_as_url("https://host:80/a:b@c") == "https://host:80/a:b@c"
    assert shown_as_url("https://user:hunter2@host:80/a") == "https://host:80/a"
    assert shown_as_url("http://[::1]:80/a") == "http://[::1]:80/a"


def test_a_url_that_was_made_a_path_is_known_by_its_slash() -> None:
    assert url_in_path(Path("s3://bucket/a b.png")) == "s3://bucket/a b.png"
    assert hint_of_url("gs:/bucket/a") == " Is gs://bucket/a meant? A Path has lost a slash of it."
    for path in ("s3/a", "c:/a", "s3:a", "/s3:/a", "file:/a", "s3://bucket/a", ""):
        assert (url_in_path(path), hint_of_url(path)) == (None, "")
    with pytest.raises(ConfigurationError, match="and s3://bucket/a is a URL"):
        local_directory(Path("s3://bucket/a"), "the journal")


def test_a_directory_is_a_path_or_a_file_url() -> None:
    assert local_directory("a/b", "it") == local_directory(Path("a/b"), "it") == Path("a/b")
    assert local_directory("file:///tmp/a%20b", "it") == Path("/tmp/a b")
    with pytest.raises(ConfigurationError) as refused:
        local_directory("s3://login@bucket/a?secret", "the journal")
    assert str(refused.value) == (
        "the journal is kept in a directory of this machine, and s3://bucket/a is a URL. Give a path. Nothing was sent."
    )
