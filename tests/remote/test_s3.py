"""S3, by moto's server in a process of its own: uploads from a bucket, listings, writing, and what it refuses.

Killed more often than by default: `ASYNCSDK_KILLS=10 pytest tests/remote/test_s3.py -k killed`.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import AsyncUploader, Client, RemoteError, SourceChangedError, SourceError
from asyncsdk.remote.reading import FIRST_RANGE, RemoteObject, read_whole
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.remote.writing import PART, pages, put
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.journal import Completed, Part
from tests.faults.support import remembered
from tests.remote.conftest import IMPATIENT
from tests.remote.s3_server import PAGE, SECRET, S3Server, s3_server
from tests.remote.test_reading import address, content_of

MIB = 1 << 20
CONTENT = random.Random(18).randbytes(20 * MIB + 17)


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    with s3_server() as server:
        server.put("bucket")
        server.put("bucket/a/b c.bin", CONTENT)
        yield server


@pytest.fixture
def s3(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, as the environment points to it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    running.settle()
    running.answers.clear()
    return running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server") as running:
        yield running


@pytest.fixture
async def uploader(server: LocalServer, tmp_path: Path) -> AsyncIterator[AsyncUploader]:
    async with Client("sk-test", base_url=server.url) as client:
        yield AsyncUploader(client, journal=tmp_path / "journal", part_size=MIB, concurrency=4)


async def test_an_object_of_a_bucket_is_uploaded_and_read_once(
    s3: S3Server, server: LocalServer, uploader: AsyncUploader
) -> None:
    result = await uploader.upload("s3://bucket/a/b c.bin", purpose="user_data")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert result.md5 == hashlib.md5(CONTENT).hexdigest()
    assert s3.bytes_of("/bucket/a/b c.bin") == len(CONTENT)
    assert "HEAD" not in {each.method for each in s3.answers}
    again = await uploader.upload("s3://bucket/a/b%20c.bin", purpose="user_data")
    assert (again.reused, again.file.id) == (True, result.file.id)
    assert s3.bytes_of("/bucket/a/b c.bin") <= len(CONTENT) + FIRST_RANGE


async def test_options_do_what_the_environment_does(
    s3: S3Server, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in s3.environment:
        monkeypatch.delenv(name)
    async with Client("sk-test", base_url=server.url) as client:
        uploader = AsyncUploader(client, journal=tmp_path / "journal", remote_options=s3.options)
        result = await uploader.upload("s3://bucket/a/b c.bin", purpose="user_data")
    assert server.stored(result.file.id).read_bytes() == CONTENT


async def test_an_object_that_is_replaced_meanwhile_makes_no_file(
    s3: S3Server, server: LocalServer, uploader: AsyncUploader
) -> None:
    s3.put("bucket/changing.bin", CONTENT)

    def replace(_: object) -> None:
        if not changes:
            changes.append(1)
            s3.put("bucket/changing.bin", CONTENT[::-1])

    changes: list[int] = []
    with pytest.raises(SourceChangedError, match="was replaced in its store"):
        await uploader.upload("s3://bucket/changing.bin", purpose="user_data", on_progress=replace)
    assert not server.files
    result = await uploader.upload("s3://bucket/changing.bin", purpose="user_data")
    assert server.stored(result.file.id).read_bytes() == CONTENT[::-1]


async def test_names_with_odd_characters_are_found(s3: S3Server) -> None:
    stores, top = RemoteStores(), address("s3://bucket/odd/")
    names = [
        "a b#c?d.txt",
        "100%.txt",
        "%20.txt",
        "München 東京.txt",
        "a+b=c&d;e.txt",
        "[1] {2} ~'.txt",
        "a:b.txt",
        "...",
    ]
    for name in names:
        await put(top.child(name), name.encode(), stores)
    found = {entry.below: entry.address async for page in pages(top, stores) for entry in page}
    assert sorted(found) == sorted(names)
    for name, place in found.items():
        assert await read_whole(place, stores, limit=100) == name.encode()
        assert await content_of(await RemoteObject.open(address(place.shown), stores)) == name.encode()


async def test_a_listing_is_asked_for_to_its_end(s3: S3Server) -> None:
    s3.put_all({f"bucket/many/{number:05}.txt": b"." for number in range(5 * PAGE + 1)})
    found = [entry.below async for page in pages(address("s3://bucket/many"), RemoteStores()) for entry in page]
    assert found == [f"{number:05}.txt" for number in range(5 * PAGE + 1)]


async def test_a_listing_with_a_name_that_can_not_be_asked_for_says_so(s3: S3Server) -> None:
    s3.put_all({"bucket/strange/a//b": b".", "bucket/strange/c": b"."})
    with pytest.raises(
        RemoteError, match=r"listed: object 'strange/a//b' below it has a name with an empty part.*--files-from"
    ):
        [page async for page in pages(address("s3://bucket/strange/"), RemoteStores())]


async def test_a_large_file_is_written_in_parts_and_what_is_there_is_kept(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    stores, place = RemoteStores(), address("s3://bucket/written/a.bin")
    await put(place, tmp_path / "a.bin", stores, mime_type="image/png")
    s3.settle()
    assert len([each for each in s3.answers if each.method == "PUT"]) == -(-len(CONTENT) // PART)
    assert await read_whole(place, stores, limit=len(CONTENT)) == CONTENT
    with pytest.raises(RemoteError, match="is there already") as taken:
        await put(place, b"other", stores, create_only=True)
    assert taken.value.reason == "exists"
    await put(address("s3://bucket/written/b.bin"), b"new", stores, create_only=True)


@pytest.mark.parametrize(
    ("url", "reason", "words"),
    [
        ("s3://bucket/none", "missing", "s3://bucket/none does not exist"),
        ("s3://no-such-bucket/a", "no bucket", "the bucket s3://no-such-bucket does not exist"),
    ],
)
async def test_what_is_not_there_is_said_to_be_so(s3: S3Server, url: str, reason: str, words: str) -> None:
    with pytest.raises(RemoteError, match=words) as refused:
        await RemoteObject.open(address(url), RemoteStores())
    assert (refused.value.reason, refused.value.resumable) == (reason, False)
    if reason == "no bucket":
        for work in (
            put(address(url), b"", RemoteStores()),
            anext(pages(address("s3://no-such-bucket/"), RemoteStores())),
        ):
            with pytest.raises(RemoteError, match=words):
                await work


async def test_an_empty_object_is_refused(s3: S3Server, uploader: AsyncUploader) -> None:
    s3.put("bucket/empty")
    with pytest.raises(SourceError, match="s3://bucket/empty is empty"):
        await uploader.upload("s3://bucket/empty", purpose="user_data")


async def test_without_credentials_the_error_says_how_to_give_them(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        RemoteError, match=r"needs credentials, and none were found\. Set AWS_ACCESS_KEY_ID and"
    ) as denied:
        await RemoteObject.open(address("s3://bucket/a/b c.bin"), RemoteStores(IMPATIENT))
    assert (denied.value.reason, denied.value.resumable) == ("no credentials", False)


def command(s3: S3Server, server: LocalServer, journal: Path, *arguments: str) -> tuple[list[str], dict[str, Any]]:
    environment = os.environ | s3.environment | {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": server.url}
    words = [sys.executable, "-m", "asyncsdk", "upload", *arguments, "-p", "user_data", "--journal", str(journal)]
    return words, {"env": environment}


def test_the_program_sends_a_folder_of_a_bucket_and_keeps_no_credential(s3: S3Server, tmp_path: Path) -> None:
    s3.put_all({f"bucket/folder/{name}": name.encode() for name in ("a.txt", "b/c.txt", "b/d.pdf")})
    with LocalServer(tmp_path / "server") as server:
        words, options = command(s3, server, tmp_path / "journal", "s3://bucket/folder/", "--include", "*.txt", "-v")
        ran = subprocess.run(words, capture_output=True, text=True, check=False, **options)
        assert ran.returncode == 0, ran.stderr
        assert sorted(file.filename or "" for file in server.files) == ["a.txt", "c.txt"]
        words, options = command(s3, server, tmp_path / "journal", "s3://bucket/folder/none", "-v")
        refused = subprocess.run(words, capture_output=True, text=True, check=False, **options)
        assert refused.returncode == 2
    kept = b"".join(path.read_bytes() for path in (tmp_path / "journal").rglob("*") if path.is_file())
    assert b"s3://bucket/folder/a.txt" in kept
    assert "canary" not in ran.stdout + ran.stderr + refused.stdout + refused.stderr
    assert b"canary" not in kept
    assert SECRET.startswith("canary")


def test_killed_at_any_moment_an_upload_from_a_bucket_goes_on(s3: S3Server, tmp_path: Path) -> None:
    kills = int(os.environ.get("ASYNCSDK_KILLS", "2"))
    journal, in_flight, part, known = tmp_path / "journal", 2, MIB, 0
    with LocalServer(tmp_path / "server") as server:
        options = ("s3://bucket/a/b c.bin", "--part-size", str(part), "-c", str(in_flight), "--limit-rate", "8MB/s")
        words, environment = command(s3, server, journal, *options)
        server.inject(Fault("complete", "stall", "before", every=1))  # none comes to its end before it is killed
        for _ in range(kills):
            process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **environment)
            wanted = known + 1
            while known < wanted and process.poll() is None:
                time.sleep(0.02)
                known = len(parts_in(journal))
            process.send_signal(signal.SIGKILL)
            process.wait()
            known = len(parts_in(journal))
        assert not any(isinstance(record, Completed) for record in remembered(journal)), "it was killed before its end"
        server.clear_faults()
        words, environment = command(s3, server, journal, *options[:-2])
        ran = subprocess.run(words, capture_output=True, text=True, check=False, **environment)
        assert ran.returncode == 0, ran.stderr
        (file,) = server.files
        assert server.stored(file.id).read_bytes() == CONTENT
        received = server.bytes_received
    assert received <= len(CONTENT) + kills * in_flight * (part + 1024) + (kills + 1) * (1 << 16) + 40 * 1024


def parts_in(journal: Path) -> list[Part]:
    return [record for record in remembered(journal) if isinstance(record, Part)]
