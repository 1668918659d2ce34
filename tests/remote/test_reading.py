"""Objects are read by ranges of one version, each byte once, and what goes wrong is said of the store."""

from __future__ import annotations

import asyncio
import gc
import random
import ssl
from pathlib import Path

import pytest
import trustme

from asyncsdk import ConfigurationError, RemoteError
from asyncsdk.remote import reading
from asyncsdk.remote.address import RemoteAddress, remote_address
from asyncsdk.remote.reading import FIRST_RANGE, RANGE, RemoteObject, read_whole
from asyncsdk.remote.stores import MOST_STORES, RANGES_AHEAD, RemoteStores
from asyncsdk.remote.writing import put
from tests.remote.conftest import IMPATIENT, RETRY
from tests.remote.web import WebStore, web_store

MIB = 1 << 20
CONTENT = random.Random(18).randbytes(11 * MIB + 17)


def address(text: str) -> RemoteAddress:
    found = remote_address(text)
    assert found is not None
    return found


async def content_of(remote: RemoteObject, spans: list[tuple[int, int]] | None = None) -> bytes:
    reader = remote.read(spans)
    try:
        return b"".join([bytes(piece) async for piece in reader])
    finally:
        await reader.aclose()


@pytest.mark.parametrize("size", [1, FIRST_RANGE - 1, FIRST_RANGE, FIRST_RANGE + 1, FIRST_RANGE + RANGE, len(CONTENT)])
async def test_each_byte_is_asked_for_once(web: WebStore, stores: RemoteStores, size: int) -> None:
    web.objects["/a.bin"] = CONTENT[:size]
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    assert (remote.size, remote.etag is not None) == (size, True)
    assert await content_of(remote) == CONTENT[:size]
    assert web.bytes_sent == size
    assert {method for method, _, _ in web.asked} == {"GET"}
    assert [tag for _, _, tag in web.asked] == [None, *[remote.etag] * (len(web.asked) - 1)]


async def test_only_the_wanted_spans_are_asked_for(web: WebStore, stores: RemoteStores) -> None:
    web.objects["/a.bin"] = CONTENT
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    spans = [(MIB, 2 * MIB), (6 * MIB, len(CONTENT))]
    assert await content_of(remote, spans) == CONTENT[MIB : 2 * MIB] + CONTENT[6 * MIB :]
    assert web.bytes_sent <= len(CONTENT) - 5 * MIB + FIRST_RANGE
    assert await content_of(remote) == CONTENT  # again, from its start


async def test_few_ranges_are_under_way_before_they_are_wanted(web: WebStore, stores: RemoteStores) -> None:
    web.objects["/a.bin"] = CONTENT * 4
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    reader, other = remote.read(), remote.read()
    for each in (reader, other):
        await anext(each)
    await asyncio.sleep(0.3)
    assert len(web.asked) <= 1 + 2 + RANGES_AHEAD + 1
    assert web.bytes_sent <= 10 * MIB
    for each in (reader, other):
        await each.aclose()
    assert stores.ahead.free == RANGES_AHEAD
    assert stores.readers == 0


async def test_many_objects_share_the_memory_of_what_is_read_ahead(
    web: WebStore, stores: RemoteStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SMALLEST_RANGE", 1000)
    monkeypatch.setattr(reading, "SLOW_TO_BEGIN", 100)  # on a busy machine it is slow, and long ranges are asked for
    web.objects["/a.bin"] = CONTENT
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    readers = [remote.read() for _ in range(16)]
    for reader in readers:
        await anext(reader)
        await anext(reader)
    assert max(end - start for start, end in web.sent) <= max(FIRST_RANGE, reading.MEMORY // (16 + RANGES_AHEAD) + 1)
    for reader in readers:
        await reader.aclose()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is about lengths, in small."""
    for name, value in {"RANGE": MIB // 2, "LONGEST_RANGE": 4 * MIB, "CHUNK": MIB // 4, "SLOW_TO_BEGIN": 0.04}.items():
        monkeypatch.setattr(reading, name, value)


@pytest.mark.usefixtures("short")
async def test_a_store_that_is_slow_to_begin_is_asked_for_few_long_ranges(web: WebStore, stores: RemoteStores) -> None:
    web.objects["/a.bin"], web.delay = CONTENT, 0.05
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    assert await content_of(remote) == CONTENT
    assert web.bytes_sent == len(CONTENT)
    assert len(web.asked) < 12
    assert max(end - start for start, end in web.sent) >= 2 * MIB


@pytest.mark.usefixtures("short")
async def test_a_long_range_that_is_cut_off_is_asked_for_from_there(web: WebStore) -> None:
    web.objects["/a.bin"], web.delay, web.tag = 4 * CONTENT, 0.05, ""  # without an ETag obstore does not ask again
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), RemoteStores(IMPATIENT))
    reader = remote.read()
    read = b""
    while len(read) < 4 * MIB:
        read += bytes(await anext(reader))
    web.cut = 1
    async for piece in reader:
        read += bytes(piece)
    await reader.aclose()
    assert read == 4 * CONTENT
    assert web.cut == 0


@pytest.mark.parametrize("obeys", [True, False])
@pytest.mark.parametrize("tag", ['"{}"', 'W/"{}"'])
async def test_another_version_is_not_mixed_in(web: WebStore, stores: RemoteStores, tag: str, *, obeys: bool) -> None:
    web.objects["/a.bin"], web.tag, web.obeys_if_match = CONTENT, tag, obeys
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    assert (remote.etag is None) is tag.startswith("W/")
    web.objects["/a.bin"] = CONTENT[::-1]
    with pytest.raises(RemoteError, match="was replaced in its store") as changed:
        await content_of(remote)
    assert (changed.value.reason, changed.value.resumable) == ("changed", True)


async def test_without_an_etag_another_size_is_another_version(web: WebStore, stores: RemoteStores) -> None:
    web.objects["/a.bin"], web.tag = CONTENT, ""
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    assert remote.etag is None
    web.objects["/a.bin"] = CONTENT + b"."
    with pytest.raises(RemoteError, match="was replaced in its store"):
        await content_of(remote)


async def test_an_object_that_is_deleted_meanwhile_was_replaced(web: WebStore, stores: RemoteStores) -> None:
    web.objects["/a.bin"] = CONTENT
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    del web.objects["/a.bin"]
    with pytest.raises(RemoteError, match="was replaced in its store"):
        await content_of(remote)


async def test_an_answer_that_is_cut_off_is_asked_for_again(web: WebStore) -> None:
    web.objects["/a.bin"], web.cut = CONTENT, 2
    stores = RemoteStores({"retry_config": RETRY | {"max_retries": 4}})
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    assert await content_of(remote) == CONTENT
    web.cut = 1000
    with pytest.raises(RemoteError) as lost:
        await content_of(remote)
    assert lost.value.resumable
    assert lost.value.reason in {"cut off", "unreachable"}


async def test_an_answer_that_was_left_until_its_connection_was_gone_is_asked_for_again(
    web: WebStore, stores: RemoteStores
) -> None:
    web.objects["/a.bin"], web.tag, web.cut = CONTENT[:FIRST_RANGE], "", 1  # without an ETag obstore gives up at once
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    await asyncio.sleep(0.05)
    assert await content_of(remote) == CONTENT[:FIRST_RANGE]


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (401, "no credentials", "does not accept the credentials"),
        (403, "denied", "denies access to a.bin. A presigned URL may have run out"),
        (404, "missing", "a.bin does not exist"),
        (416, "empty", "is empty"),
        (429, "failed", "answered 429 for a.bin. Try again later."),
        (500, "failed", "answered 500 for a.bin. Try again later."),
        (418, "failed", "answered 418 for a.bin. It is the store that answered so, not the API."),
        (501, "failed", "answered 501 for a.bin. It is the store that answered so, not the API."),
    ],
)
async def test_what_a_store_refuses_is_said_of_the_store(web: WebStore, status: int, reason: str, words: str) -> None:
    web.objects["/a.bin"], web.status = CONTENT, status
    with pytest.raises(RemoteError) as refused:
        await RemoteObject.open(address(f"{web.url}/a.bin?hunter2"), RemoteStores(IMPATIENT))
    assert (refused.value.reason, refused.value.url) == (reason, f"{web.url}/a.bin")
    assert words in str(refused.value)
    assert refused.value.resumable is (status in {429, 500})
    assert_no_secret(refused.value, "hunter2")


def assert_no_secret(error: BaseException, secret: str) -> None:
    assert error.__cause__ is error.__context__ is None
    assert secret not in f"{error} {error!r} {vars(error)!r}"


async def test_a_server_without_ranges_is_said_to_be_one(web: WebStore, stores: RemoteStores) -> None:
    web.objects["/a.bin"], web.has_ranges = CONTENT, False
    with pytest.raises(RemoteError, match="Download it first, or pass the response as a stream") as refused:
        await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    assert refused.value.reason == "no ranges"
    assert await read_whole(address(f"{web.url}/a.bin"), stores, limit=len(CONTENT)) == CONTENT
    with pytest.raises(RemoteError, match="at most 10 are read") as large:
        await read_whole(address(f"{web.url}/a.bin"), stores, limit=10)
    assert large.value.reason == "too large"


async def test_a_server_that_can_not_be_reached_is_said_to_be_the_source() -> None:
    with pytest.raises(RemoteError, match=r"http://127\.0\.0\.1:9 can't be reached") as lost:
        await RemoteObject.open(address("http://127.0.0.1:9/a.bin?hunter2"), RemoteStores(IMPATIENT))
    assert (lost.value.reason, lost.value.resumable) == ("unreachable", True)
    assert_no_secret(lost.value, "hunter2")


async def test_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with web_store(tls) as web:
        web.objects["/a.bin"] = CONTENT
        with pytest.raises(RemoteError, match=r"the certificate of https://127\.0\.0\.1:\d+ is not trusted"):
            await RemoteObject.open(address(f"{web.url}/a.bin"), RemoteStores(IMPATIENT))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        remote = await RemoteObject.open(address(f"{web.url}/a.bin"), RemoteStores(IMPATIENT))
        assert await content_of(remote) == CONTENT


async def test_a_silent_server_is_said_to_have_stalled(web: WebStore) -> None:
    web.objects["/a.bin"], web.stalls = CONTENT, True
    stores = RemoteStores(IMPATIENT | {"client_options": {"timeout": "200ms"}})
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    with pytest.raises(RemoteError, match="the source has stalled, not the connection to the API") as stalled:
        await content_of(remote)
    assert (stalled.value.reason, stalled.value.resumable) == ("stalled", True)


async def test_what_the_url_has_goes_to_its_server_alone(web: WebStore, stores: RemoteStores) -> None:
    host = web.url.removeprefix("http://")
    web.objects["/a b/c.bin"] = web.objects["/a//c"] = b"content"
    for url in (f"http://user:p%40ss@{host}/a%20b/c.bin?X-Signature=a%2Fb", f"http://{host}/a//c"):
        remote = await RemoteObject.open(address(url), stores)
        assert await content_of(remote) == b"content"
    assert web.queries == ["X-Signature=a/b", ""]
    assert web.logins == ["Basic dXNlcjpwQHNz", None]
    assert [path for _, path, _ in web.asked] == ["/a%20b/c.bin", "/a//c"]


async def test_stores_are_kept_and_not_without_end(web: WebStore, stores: RemoteStores) -> None:
    web.objects["/a.bin"] = b"content"
    kept = stores.open(address(f"{web.url}/a.bin"))[0]
    assert stores.open(address(f"{web.url}/b.bin"))[0] is kept
    for number in range(MOST_STORES):
        stores.open(address(f"{web.url}/a.bin?{number}"))
    assert stores.open(address(f"{web.url}/b.bin"))[0] is not kept


async def test_options_that_are_not_known_are_refused_without_their_values() -> None:
    with pytest.raises(RemoteError, match=r"the settings for s3://bucket can't be used: .* remote_options=") as bad:
        RemoteStores({"hunter1": "hunter2"}).open(address("s3://bucket/a"))
    assert bad.value.reason == "bad options"
    assert_no_secret(bad.value, "hunter2")
    assert "hunter2" not in repr(RemoteStores({"secret_access_key": "hunter2"}))


async def test_an_endpoint_without_tls_has_to_be_allowed() -> None:
    stores = RemoteStores(IMPATIENT | {"endpoint": "http://127.0.0.1:9", "skip_signature": True})
    with pytest.raises(RemoteError, match="set AWS_ALLOW_HTTP=true"):
        await RemoteObject.open(address("s3://bucket/a"), stores)


@pytest.mark.parametrize("text", ["s3://bucket/a//b", "s3://bucket/a/../b", "s3://bucket/a%0Ab"])
async def test_a_name_that_can_not_be_asked_for_is_refused(text: str) -> None:
    with pytest.raises(RemoteError, match="can't be used: its name has an empty part") as bad:
        await RemoteObject.open(address(text), RemoteStores({"skip_signature": True}))
    assert bad.value.reason == "bad name"


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("az://container@account/a", 'AzureStore(container_name="container", account_name="account")'),
        ("abfss://files@account.dfs.core.windows.net/a", 'AzureStore(container_name="files", account_name="account")'),
        ("gs://bucket/a", 'GCSStore(bucket="bucket")'),
        ("s3a://bucket/a", 'S3Store(bucket="bucket")'),
    ],
)
def test_each_kind_of_store_is_opened(stores: RemoteStores, text: str, store: str) -> None:
    opened, path = stores.open(address(text))
    assert (repr(opened), path) == (store, "a")


async def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(ConfigurationError, match=r"the extra 'remote' is needed.*\[remote\]'.*pip install obstore"):
        RemoteStores().open(address("s3://bucket/a"))


async def test_no_reader_that_is_left_warns_of_anything(web: WebStore, stores: RemoteStores) -> None:
    web.objects["/a.bin"], web.stalls = CONTENT, True
    remote = await RemoteObject.open(address(f"{web.url}/a.bin"), stores)
    reader = remote.read()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(reader), 0.1)
    await reader.aclose()
    await reader.aclose()
    del reader, remote
    gc.collect()


async def test_memory_is_a_store_of_the_process(stores: RemoteStores) -> None:
    place = address("memory://reading/a/b.bin")
    assert await put(place, CONTENT, stores) is not None
    remote = await RemoteObject.open(place, RemoteStores())
    assert await content_of(remote) == CONTENT
    with pytest.raises(RemoteError, match="does not exist"):
        await RemoteObject.open(address("memory://other/a/b.bin"), stores)
    await put(place, b"", stores)
    with pytest.raises(RemoteError) as empty:
        await RemoteObject.open(place, stores)
    assert empty.value.reason == "empty"
