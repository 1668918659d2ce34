"""Objects of buckets and web servers are uploaded: each byte is read once, and all are of one version."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import (
    AsyncSDKError,
    AsyncUploader,
    Client,
    ConfigurationError,
    FileJournal,
    InternalServerError,
    Progress,
    RemoteError,
    SourceChangedError,
    SourceError,
    UploadJob,
)
from asyncsdk.remote.address import remote_address
from asyncsdk.remote.reading import FIRST_RANGE
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.remote.writing import put
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.resuming.resume import replay
from asyncsdk.uploads.sources import remote_source
from tests.jsonl import json_lines
from tests.pages import blocks_of
from tests.remote.conftest import IMPATIENT
from tests.remote.web import WebStore, web_store
from tests.stories.support import MIB, REFUSE_THE_REST
from tests.stories.test_canary import with_locals

CONTENT = random.Random(18).randbytes(11 * MIB + 17)
SIZE = len(CONTENT)


@pytest.fixture
async def web() -> AsyncIterator[WebStore]:
    async with web_store() as store:
        store.objects["/a/b c.bin"] = CONTENT
        yield store


@pytest.fixture
def url(web: WebStore) -> str:
    return f"{web.url}/a/b%20c.bin?X-Signature=hunter2"


async def in_memory(url: str, content: bytes) -> str:
    address = remote_address(url)
    assert address is not None
    await put(address, content, RemoteStores())
    return url


async def interrupted(server: LocalServer, uploader: AsyncUploader, journal: Path, url: str, **options: str) -> int:
    """Send until the server refuses the sixth part; return how many bytes the journal holds then."""
    server.inject(REFUSE_THE_REST)
    with pytest.raises(InternalServerError) as failure:
        await uploader.upload(url, purpose="batch", **options)  # type: ignore[arg-type]  # passed through
    server.clear_faults()
    entries = await FileJournal(journal).entries()
    assert failure.value.resumable  # it starts again where nothing is kept
    assert (failure.value.bytes_done > 0) is bool(entries)
    recalled = replay(entries[0].records) if entries else None
    return 0 if recalled is None else recalled.bytes_held


def quick(client: Client, journal: Path, **options: object) -> AsyncUploader:
    usual = {"journal": journal, "part_size": MIB, "concurrency": 2, "max_retries": 0, "remote_options": IMPATIENT}
    return AsyncUploader(client, **(usual | options))  # type: ignore[arg-type]  # passed through


@pytest.mark.parametrize("size", [1, FIRST_RANGE, FIRST_RANGE + 1, MIB, SIZE])
async def test_an_object_is_uploaded_and_each_byte_of_it_read_once(
    server: LocalServer, uploader: AsyncUploader, web: WebStore, url: str, size: int
) -> None:
    web.objects["/a/b c.bin"] = CONTENT[:size]
    result = await uploader.upload(url, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == CONTENT[:size]
    assert (result.file.filename, result.bytes_sent) == ("b c.bin", size)
    assert result.md5 == hashlib.md5(CONTENT[:size]).hexdigest()
    assert web.bytes_sent == size
    assert {method for method, _, _ in web.asked} == {"GET"}


@pytest.mark.parametrize("method", ["uploads", "files", "auto"])
@pytest.mark.parametrize(("size", "in_memory"), [(10, 16 * MIB), (SIZE, 0)])
async def test_an_object_goes_by_any_method_and_is_read_once(
    server: LocalServer,
    uploader: AsyncUploader,
    web: WebStore,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    method: str,
    size: int,
    in_memory: int,
) -> None:
    monkeypatch.setattr(remote_source, "IN_MEMORY", in_memory)
    web.objects["/a/b c.bin"] = CONTENT[:size]
    result = await uploader.upload(url, purpose="batch", method=method)  # type: ignore[arg-type]  # of the three
    assert server.stored(result.file.id).read_bytes() == CONTENT[:size]
    assert web.bytes_sent == size
    again = await uploader.upload(url, purpose="batch", method=method)  # type: ignore[arg-type]  # as above
    assert (again.reused, again.file.id, again.md5) == (True, result.file.id, result.md5)
    assert web.bytes_sent <= size + FIRST_RANGE
    assert uploader._context.stream_memory._taken == 0  # noqa: SLF001 - what is still taken shows nowhere else


async def test_the_same_version_is_reused_without_reading_it_under_another_signature(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    result = await quick(client, journal).upload(url, purpose="batch")
    web.sent.clear()
    again = await quick(client, journal).upload(url.replace("hunter2", "hunter3"), purpose="batch")
    assert (again.reused, again.file.id, again.md5) == (True, result.file.id, result.md5)
    assert len(web.sent) == 1
    assert web.bytes_sent <= FIRST_RANGE
    sent = await quick(client, journal).upload(url, purpose="batch", if_uploaded="again")
    assert sent.file.id != result.file.id
    server_has = {file.id for file in server.files}
    assert server_has == {result.file.id, sent.file.id}


async def test_another_version_is_another_file(
    server: LocalServer, uploader: AsyncUploader, web: WebStore, url: str
) -> None:
    first = await uploader.upload(url, purpose="batch")
    web.objects["/a/b c.bin"] = CONTENT[::-1]  # of the same size
    second = await uploader.upload(url, purpose="batch")
    assert server.stored(second.file.id).read_bytes() == CONTENT[::-1]
    assert first.file.id != second.file.id


async def test_a_query_may_name_another_object_and_is_not_remembered(
    server: LocalServer, client: Client, journal: Path, web: WebStore
) -> None:
    web.tag = '"1"'
    for query, content in (("?id=1", b"one"), ("?id=2", b"two")):  # of one size
        web.objects["/get"] = content
        result = await quick(client, journal).upload(f"{web.url}/get{query}", purpose="batch")
        assert server.stored(result.file.id).read_bytes() == content
    assert await FileJournal(journal).entries() == []


@pytest.mark.parametrize("obeys", [True, False])
async def test_an_object_that_is_replaced_meanwhile_makes_no_file(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str, *, obeys: bool
) -> None:
    web.obeys_if_match = obeys

    def replace() -> None:
        if len(web.asked) == 3:
            web.objects["/a/b c.bin"] = CONTENT[::-1]

    web.on_answer = replace
    with pytest.raises(
        SourceChangedError, match=r"b c\.bin was replaced in its store while it was being sent"
    ) as changed:
        await quick(client, journal).upload(url, purpose="batch")
    assert changed.value.resumable
    assert not server.files
    result = await quick(client, journal).upload(url, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == CONTENT[::-1]


async def test_with_md5_what_is_there_is_read_for_hashing_and_not_sent(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    held = await interrupted(server, quick(client, journal), journal, url)
    web.sent.clear()
    result = await quick(client, journal).upload(url, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert (result.bytes_resumed, result.bytes_sent) == (held, SIZE - held)
    assert result.md5 == hashlib.md5(CONTENT).hexdigest()
    assert web.bytes_sent == SIZE


async def test_without_md5_what_is_there_is_not_even_read(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    held = await interrupted(server, quick(client, journal, md5=None), journal, url)
    web.sent.clear()
    result = await quick(client, journal, md5=None).upload(url, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert (result.bytes_resumed, result.bytes_sent, result.md5) == (held, SIZE - held, None)
    assert SIZE - held <= web.bytes_sent <= SIZE - held + FIRST_RANGE
    again = await quick(client, journal, md5=None).upload(url, purpose="batch")
    assert (again.reused, again.file.id) == (True, result.file.id)


async def test_an_upload_that_the_server_dropped_begins_again_with_all_of_the_object(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    await interrupted(server, quick(client, journal, md5=None), journal, url)
    server.inject(Fault("part", "answer", "before", status=404))
    result = await quick(client, journal, md5=None).upload(url, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert result.bytes_sent == SIZE


async def test_a_complete_whose_response_was_lost_is_asked_again_without_reading(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    server.inject(Fault("complete", "reset", "done"))
    with pytest.raises(Exception):  # noqa: B017, PT011 - of a connection that is lost
        await quick(client, journal).upload(url, purpose="batch")
    web.sent.clear()
    result = await quick(client, journal).upload(url, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert result.md5 == hashlib.md5(CONTENT).hexdigest()
    assert web.bytes_sent <= FIRST_RANGE
    assert len(server.files) == 1


async def test_an_upload_is_resumed_by_its_id(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    plain = url.partition("?")[0]
    held = await interrupted(server, quick(client, journal), journal, plain)
    (entry,) = await FileJournal(journal).entries()
    upload_id = entry.records[0].upload
    web.objects["/a/b c.bin"] = CONTENT[::-1]
    with pytest.raises(ConfigurationError, match="has another version than when"):
        await quick(client, journal).resume(upload_id)
    web.objects["/a/b c.bin"] = CONTENT
    result = await quick(client, journal).resume(upload_id)
    assert (result.bytes_resumed, result.bytes_sent) == (held, SIZE - held)


async def test_an_upload_is_resumed_from_where_the_object_is_now(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    held = await interrupted(server, quick(client, journal), journal, url)
    (entry,) = await FileJournal(journal).entries()
    web.objects["/moved.bin"] = web.objects.pop("/a/b c.bin")
    result = await quick(client, journal).resume(entry.records[0].upload, source=f"{web.url}/moved.bin")
    assert (result.bytes_resumed, result.bytes_sent, result.file.filename) == (held, SIZE - held, "b c.bin")


@pytest.mark.parametrize("tag", ["", 'W/"{}"'])
async def test_without_a_strong_etag_only_a_key_resumes(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str, *, tag: str
) -> None:
    web.tag = tag
    assert await interrupted(server, quick(client, journal), journal, url) == 0
    assert await FileJournal(journal).entries() == []
    held = await interrupted(server, quick(client, journal), journal, url, key="mine")
    assert held >= 3 * MIB
    result = await quick(client, journal).upload(url, purpose="batch", key="mine")
    assert (result.bytes_resumed, result.bytes_sent) == (held, SIZE - held)
    again = await quick(client, journal).upload(url, purpose="batch", key="mine")
    assert again.reused
    web.objects["/a/b c.bin"] = CONTENT[::-1]
    result = await quick(client, journal).upload(url, purpose="batch", key="mine")
    assert not result.reused
    assert server.stored(result.file.id).read_bytes() == CONTENT[::-1]


async def test_lines_are_looked_at_before_anything_is_sent(
    server: LocalServer, uploader: AsyncUploader, web: WebStore
) -> None:
    web.objects["/good.jsonl"] = json_lines(3 * MIB, 1)
    web.objects["/bad.jsonl"] = web.objects["/good.jsonl"] + b"{\n"
    result = await uploader.upload(f"{web.url}/good.jsonl", purpose="batch", check="full")
    assert server.stored(result.file.id).read_bytes() == web.objects["/good.jsonl"]
    assert web.bytes_sent == len(web.objects["/good.jsonl"])
    again = await uploader.upload(f"{web.url}/good.jsonl", purpose="batch", check="full")
    assert again.reused
    assert web.bytes_sent <= len(web.objects["/good.jsonl"]) + FIRST_RANGE
    with pytest.raises(SourceError, match=r"bad\.jsonl"):
        await uploader.upload(f"{web.url}/bad.jsonl", purpose="batch", check="ends")
    assert len(server.files) == 1


async def test_many_objects_are_uploaded(server: LocalServer, client: Client, journal: Path) -> None:
    contents = {f"{number}.bin": CONTENT[number : 2 * number + number % 2 * 4 * MIB + 1] for number in range(40)}
    urls = [await in_memory(f"memory://many/{name}", content) for name, content in contents.items()]
    uploader = AsyncUploader(client, journal=journal)
    async with uploader.upload_many([UploadJob(url, "assistants") for url in urls]) as outcomes:
        results = [outcome.result async for outcome in outcomes]
    stored = {result.file.filename: server.stored(result.file.id).read_bytes() for result in results if result}
    assert stored == contents
    context = uploader._context  # noqa: SLF001 - what is still taken shows nowhere else
    assert (context.stream_memory._taken, context.stores.readers) == (0, 0)  # noqa: SLF001 - as above


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (404, SourceError, r"http://[0-9.:]+/a/b%20c\.bin does not exist: .* Nothing was sent\."),
        (403, SourceError, r"denies access to b c\.bin\. .* Nothing was sent\."),
        (401, ConfigurationError, r"does not accept the credentials\. .* Nothing was sent\."),
        (503, RemoteError, r"answered 503 for b c\.bin\. Try again later\. Nothing was sent\."),
    ],
)
async def test_an_object_that_can_not_be_read_is_refused_before_anything_is_sent(
    server: LocalServer,
    client: Client,
    journal: Path,
    web: WebStore,
    url: str,
    *,
    status: int,
    kind: type[AsyncSDKError],
    words: str,
) -> None:
    web.status = status
    uploader = quick(client, journal)
    for work in (uploader.upload(url, purpose="batch"), uploader.check(UploadJob(url, "batch"))):
        with pytest.raises(kind, match=words) as refused:
            await work
        assert refused.value.resumable is (status == 503)
        assert "hunter2" not in f"{refused.value!r}{refused.value.__cause__!r}"
    assert not server.calls


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("ftp://host/a.bin", ConfigurationError, "the scheme ftp:// is not known"),
        ("memory://urls/folder/", SourceError, "is a folder, not an object"),
        ("memory://urls/empty", SourceError, "is empty; an upload needs at least one byte"),
        ("memory://urls/none", SourceError, "does not exist"),
        ("data:,hunter2", SourceError, "data:… is a URL of a kind that is not read"),
    ],
)
async def test_a_url_that_can_not_be_sent_is_refused(
    server: LocalServer, uploader: AsyncUploader, text: str, kind: type, words: str
) -> None:
    await in_memory("memory://urls/empty", b"")
    for work in (uploader.upload(text, purpose="batch"), uploader.check(UploadJob(text, "batch"))):
        with pytest.raises(kind, match=words) as refused:
            await work
        assert str(refused.value).endswith("Nothing was sent.")
        assert "hunter2" not in str(refused.value)
    assert not server.calls


async def test_a_size_that_is_announced_is_compared(uploader: AsyncUploader, url: str) -> None:
    with pytest.raises(SourceError, match=f"has {SIZE:,} bytes, not the 5 of size="):
        await uploader.upload(url, purpose="batch", size=5)
    assert (await uploader.upload(url, purpose="batch", size=SIZE)).bytes_sent == SIZE


async def test_a_check_reads_no_more_than_a_byte(uploader: AsyncUploader, web: WebStore, url: str) -> None:
    await uploader.check(UploadJob(url, "batch"))
    assert web.bytes_sent <= 1


async def test_a_file_url_is_a_path(server: LocalServer, uploader: AsyncUploader, tmp_path: Path) -> None:
    (tmp_path / "a b.bin").write_bytes(b"content")
    result = await uploader.upload(f"file://{tmp_path}/a%20b.bin", purpose="batch")
    assert server.stored(result.file.id).read_bytes() == b"content"
    assert result.file.filename == "a b.bin"


async def test_a_store_that_stalls_is_blamed_itself(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    web.stalls = True
    uploader = quick(client, journal, stall_timeout=0.1)
    with pytest.raises(Exception, match="its source has stalled, not the connection to the server") as stalled:
        await uploader.upload(url, purpose="batch")
    assert stalled.value.resumable  # type: ignore[attr-defined]  # of ours
    assert not server.files


async def test_a_store_that_does_not_even_answer_is_blamed_and_reported_meanwhile(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    web.delay = 60
    seen: list[Progress] = []
    uploader = quick(client, journal, stall_timeout=0.05)
    with pytest.raises(RemoteError, match=r"gave nothing for 0\.5 s: the source has stalled, not the conn") as stalled:
        await uploader.upload(url, purpose="batch", on_progress=seen.append)
    assert (stalled.value.resumable, stalled.value.reason) == (True, "stalled")
    assert "its store has given nothing for 0.05 s" in {progress.note for progress in seen}
    assert not server.calls


async def test_a_store_that_fails_meanwhile_is_blamed_itself_and_the_rest_goes_on(
    server: LocalServer, client: Client, journal: Path, web: WebStore, url: str
) -> None:
    def fail() -> None:
        web.status = 503 if len(web.asked) > 2 else None

    web.on_answer = fail
    with pytest.raises(RemoteError, match=r"answered 503 for b c\.bin.* Nothing was completed\.") as failed:
        await quick(client, journal).upload(url, purpose="batch")
    assert (failed.value.resumable, failed.value.reason) == (True, "failed")
    web.on_answer, web.status = (lambda: None), None
    result = await quick(client, journal).upload(url, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == CONTENT


async def test_nothing_of_a_credential_is_kept(
    server: LocalServer,
    client: Client,
    journal: Path,
    web: WebStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "asyncsdk")
    host = web.url.removeprefix("http://")
    secret = f"http://user:canary%2B1@{host}/a/b%20c.bin?X-Signature=canary-2"
    headers = {"default_headers": {"x-secret": "canary-3"}}
    uploader = quick(client, journal, remote_options=IMPATIENT | {"client_options": headers, "token": "canary-4"})
    shown: list[object] = [uploader, UploadJob(secret, "batch"), UploadJob(secret, "batch").describe()]
    progress: list[object] = []
    await interrupted(server, uploader, journal, secret)
    await uploader.upload(secret, purpose="batch", on_progress=progress.append)
    await uploader.upload(secret, purpose="batch", method="files", if_uploaded="again")
    web.status = 403
    with pytest.raises(SourceError) as refused:
        await uploader.upload(secret, purpose="batch")
    text = f"{shown!r}{progress!r}{caplog.text}{refused.value!r}{vars(refused.value)!r}{refused.value.__cause__!r}"
    web.status = None
    web.objects.clear()
    with pytest.raises(SourceError) as missing:
        await uploader.upload(f"http://{host}/a.bin", purpose="batch")
    assert missing.value.__traceback__ is not None
    text += with_locals(missing.value.with_traceback(missing.value.__traceback__.tb_next))  # without this very frame
    kept = b"".join(path.read_bytes() for path in journal.rglob("*") if path.is_file())
    assert "canary" not in text
    assert b"canary" not in kept
    assert f"http://{host}/a/b%20c.bin".encode() in kept
    assert set(web.queries) == {"X-Signature=canary-2", ""}


async def test_the_recipe_of_the_guide_does_what_it_says(
    server: LocalServer, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recipe,) = [block.code for block in blocks_of("docs/streams.md") if "from_a_bucket" in block.code]
    for name, value in {"API_KEY": "sk-test", "BASE_URL": server.url}.items():
        monkeypatch.setenv(f"OPENAI_{name}", value)
    monkeypatch.setenv("ASYNCSDK_JOURNAL", str(journal))
    names: dict[str, Any] = {}
    exec(recipe, names)
    file_id = await names["from_a_bucket"](await in_memory("memory://talks/2026/one.mp4", CONTENT))
    assert server.stored(file_id).read_bytes() == CONTENT
