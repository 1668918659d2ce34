"""Without md5 a file is read once, as it is sent; what was sent before, or may have changed unseen, is read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, Progress
from asyncsdk.server import LocalServer
from asyncsdk.uploads.checksum import ContentHash
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.resuming.resume import span_of
from tests.stories.support import MIB, MakeFile, interrupted
from tests.stories.test_processes import parts_in

SIZE = 8 * MIB + 12345


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets of what is read for hashing alone."""
    offsets: list[int] = []
    read_block = ContentHash._read_block  # noqa: SLF001 - reads for hashing alone; sending reads too

    def noted(digest: ContentHash, source: object, index: int, block: memoryview) -> None:
        offsets.append(index * BLOCK)
        read_block(digest, source, index, block)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(ContentHash, "_read_block", noted)
    return offsets


@pytest.fixture
def rested(make_file: MakeFile) -> Path:
    path: Path = make_file(SIZE)
    os.utime(path, (10**9, 10**9))
    return path


def without_md5(client: Client, journal: Path) -> AsyncUploader:
    return AsyncUploader(client, journal=journal, part_size=MIB, concurrency=2, md5=None)


async def test_a_file_at_rest_is_read_as_it_is_sent_and_not_again(
    server: LocalServer, client: Client, journal: Path, rested: Path, read: list[int]
) -> None:
    seen: list[Progress] = []
    result = await without_md5(client, journal).upload(rested, purpose="batch", on_progress=seen.append)
    assert server.stored(result.file.id).read_bytes() == rested.read_bytes()
    assert read == []
    assert seen[-1].bytes_hashed == SIZE
    again = await without_md5(client, journal).upload(rested, purpose="batch")
    assert (again.reused, again.file.id) == (True, result.file.id)


async def test_a_file_written_a_moment_ago_is_read_twice(
    client: Client, journal: Path, make_file: MakeFile, read: list[int]
) -> None:
    await without_md5(client, journal).upload(make_file(SIZE), purpose="batch")
    assert read == list(range(0, SIZE, BLOCK))


async def test_with_md5_every_file_is_read_twice(client: Client, journal: Path, rested: Path, read: list[int]) -> None:
    await AsyncUploader(client, journal=journal).upload(rested, purpose="batch")
    assert read == list(range(0, SIZE, BLOCK))


@pytest.mark.parametrize("changed", [False, True])
async def test_of_an_upload_that_goes_on_only_what_was_sent_before_is_read_again(
    server: LocalServer, client: Client, journal: Path, rested: Path, read: list[int], *, changed: bool
) -> None:
    held = await interrupted(server, client, journal, rested)
    spans = sorted(span_of(part) for part in await parts_in(journal))  # with a gap where an earlier part was refused
    if changed:
        with rested.open("r+b") as file:
            file.write(b"changed")
        os.utime(rested, (10**9, 10**9))
    read.clear()
    result = await without_md5(client, journal).upload(rested, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == rested.read_bytes()
    assert result.bytes_resumed == held - changed * MIB
    assert read == [offset for span in spans for offset in range(span.offset, span.end, BLOCK)]
