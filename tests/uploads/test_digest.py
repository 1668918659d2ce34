"""The md5 of the whole and the fingerprint of any range on the grid, by a pass over the source or by what was sent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128

from asyncsdk.errors import SourceChangedError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads import checksum as module
from asyncsdk.uploads.checksum import ContentHash, check_same, encoded_md5
from asyncsdk.uploads.chunking import BLOCK, Range
from asyncsdk.uploads.journal import Completed, Completing
from asyncsdk.uploads.sources.readers import BytesSource, Source
from asyncsdk.uploads.sources.source import open_source
from tests.uploads.upload_helpers import Gate, Slow, closing
from tests.waiting import until

RANDOM = random.Random(7).randbytes(4 * BLOCK + 2)
THREADS = DaemonThreadPool("test-hash", 2)

sizes = st.builds(lambda blocks, more: max(1, blocks * BLOCK + more), st.integers(0, 4), st.integers(-2, 2))


MakeRecord = Callable[[str | None, str | None], Completing | Completed]


def completing(md5: str | None, xxh3: str | None) -> Completing:
    return Completing(upload="upload_1", part_ids=("part_1",), md5=md5, xxh3=xxh3)


def completed(md5: str | None, xxh3: str | None) -> Completed:
    return Completed(upload="upload_1", file={"id": "file-1"}, md5=md5, xxh3=xxh3)


async def hashed(source: Source) -> ContentHash:
    digest = ContentHash(source.identity.size)
    await digest.read(source, THREADS, lambda _: None)
    return digest


def blocks_of(content: bytes) -> bytes:
    blocks = (content[start : start + BLOCK] for start in range(0, len(content), BLOCK))
    return b"".join(xxh3_128(block).digest() for block in blocks)


def fingerprint_of(content: bytes) -> str:
    return xxh3_128(blocks_of(content)).hexdigest()


@settings(max_examples=25)
@given(size=sizes, first=st.integers(0, 4), blocks=st.integers(1, 5))
async def test_the_md5_and_any_fingerprint_on_the_grid_are_those_of_the_content(
    size: int, first: int, blocks: int
) -> None:
    content = RANDOM[:size]
    digest = await hashed(BytesSource.over(content))
    assert digest.done
    assert digest.md5 == hashlib.md5(content).hexdigest()
    offset = first * BLOCK
    if offset < size:
        span = Range(offset, min(blocks * BLOCK, size - offset))
        assert digest.fingerprint(span) == fingerprint_of(content[span.offset : span.end])


@pytest.mark.parametrize("kind", [completed, completing])
async def test_a_record_is_of_this_content_by_fingerprint_and_by_md5_where_both_have_it(kind: MakeRecord) -> None:
    content = RANDOM[: BLOCK + 1]
    whole, unhashed = await hashed(BytesSource.over(content)), ContentHash(len(content), with_md5=False)
    await unhashed.read(BytesSource.over(content), THREADS, lambda _: None)
    assert (unhashed.md5, unhashed.xxh3) == (None, whole.xxh3)
    for digest in (whole, unhashed):
        assert digest.matches(kind(whole.md5, whole.xxh3))
        assert digest.matches(kind(None, whole.xxh3))
        assert not digest.matches(kind(whole.md5, "0" * 32))
        assert not digest.matches(kind(None, None))
    assert not whole.matches(kind("0" * 32, whole.xxh3))


@pytest.mark.parametrize("kind", [completed, completing])
async def test_a_record_from_before_fingerprints_is_judged_by_md5_alone(kind: MakeRecord) -> None:
    digest = await hashed(BytesSource.over(RANDOM[:BLOCK]))
    assert digest.matches(kind(digest.md5, None))
    assert not digest.matches(kind("0" * 32, None))


async def test_a_file_on_disk_has_the_same_digest_as_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(RANDOM)
    with closing(await open_source(path, THREADS)) as source:
        from_disk = await hashed(source)
    from_memory = await hashed(BytesSource.over(RANDOM))
    whole = Range(0, len(RANDOM))
    assert (from_disk.md5, from_disk.fingerprint(whole)) == (from_memory.md5, from_memory.fingerprint(whole))


async def test_one_byte_that_differs_changes_the_fingerprint_of_its_own_blocks_only() -> None:
    touched = bytearray(RANDOM)
    touched[BLOCK + 5] ^= 1
    one, other = await hashed(BytesSource.over(RANDOM)), await hashed(BytesSource.over(touched))
    assert one.md5 != other.md5
    blocks = [Range(number * BLOCK, BLOCK) for number in range(4)]
    differing = [block.offset for block in blocks if one.fingerprint(block) != other.fingerprint(block)]
    assert differing == [BLOCK]


async def test_blocks_that_changed_places_have_another_fingerprint() -> None:
    swapped = RANDOM[BLOCK : 2 * BLOCK] + RANDOM[:BLOCK]
    one, other = await hashed(BytesSource.over(RANDOM[: 2 * BLOCK])), await hashed(BytesSource.over(swapped))
    assert one.fingerprint(Range(0, 2 * BLOCK)) != other.fingerprint(Range(0, 2 * BLOCK))


async def test_a_range_has_no_fingerprint_until_it_has_been_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOB", BLOCK)
    digest, known = ContentHash(len(RANDOM)), []

    def look(_: int) -> None:
        known.append([digest.fingerprint(Range(0, end * BLOCK)) is not None for end in (1, 2, 3)])

    look(0)
    await digest.read(BytesSource.over(RANDOM), THREADS, look)
    assert known[:4] == [[False, False, False], [True, False, False], [True, True, False], [True, True, True]]


@settings(max_examples=50)
@given(size=sizes, cut=st.integers(0, 4), read_first=st.booleans())
async def test_what_is_learned_and_what_is_read_make_one_digest(size: int, cut: int, *, read_first: bool) -> None:
    content = RANDOM[:size]
    whole, digest = await hashed(BytesSource.over(content)), ContentHash(size, with_md5=False, whole=False)
    at = min(cut * BLOCK, size)
    sent, held = Range(0, at), Range(at, size - at)

    async def read() -> None:
        await digest.read(BytesSource.over(content), THREADS, lambda _: None, [held])

    if read_first:
        await read()
    digest.record(sent, blocks_of(content[:at]))
    if not read_first:
        await read()
    assert digest.done
    assert (digest.xxh3, digest.hashed) == (whole.xxh3, size)


@pytest.mark.parametrize(("with_md5", "whole"), [(True, False), (False, True)])
async def test_one_that_reads_all_learns_nothing(*, with_md5: bool, whole: bool) -> None:
    digest = ContentHash(len(RANDOM), with_md5=with_md5, whole=whole)
    digest.record(Range(0, len(RANDOM)), bytes(16 * 5))
    assert digest.hashed == 0
    await digest.read(BytesSource.over(RANDOM), THREADS, lambda _: None, [])
    assert digest.fingerprint(Range(0, len(RANDOM))) == fingerprint_of(RANDOM)


async def test_what_was_read_is_not_learned_anew() -> None:
    digest = ContentHash(len(RANDOM), with_md5=False, whole=False)
    await digest.read(BytesSource.over(RANDOM), THREADS, lambda _: None, [Range(BLOCK, BLOCK)])
    assert digest.hashed == BLOCK
    digest.record(Range(0, len(RANDOM)), bytes(16 * 5))
    assert digest.fingerprint(Range(BLOCK, BLOCK)) == fingerprint_of(RANDOM[BLOCK : 2 * BLOCK])
    assert digest.fingerprint(Range(0, BLOCK)) != fingerprint_of(RANDOM[:BLOCK])


async def test_it_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOB", 2 * BLOCK)
    told: list[int] = []
    await ContentHash(len(RANDOM)).read(BytesSource.over(RANDOM), THREADS, told.append)
    assert told == [2 * BLOCK, 4 * BLOCK, len(RANDOM)]


async def test_what_the_source_has_grown_by_is_not_read() -> None:
    digest = ContentHash(BLOCK)
    await digest.read(BytesSource.over(RANDOM), THREADS, lambda _: None)
    assert digest.md5 == hashlib.md5(RANDOM[:BLOCK]).hexdigest()


async def test_a_source_that_became_shorter_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(RANDOM)
    with closing(await open_source(path, THREADS)) as source:
        os.truncate(path, BLOCK)
        digest = ContentHash(source.identity.size)
        with pytest.raises(SourceChangedError, match="became shorter"):
            await digest.read(source, THREADS, lambda _: None)
    assert not digest.done


# one block


@define
class Late:
    """A lock that is free just after a cancelled reading has taken the block that it was at."""

    finish: Callable[[], None]

    def acquire(self, *, blocking: bool) -> bool:
        assert not blocking
        self.finish()
        return True

    def release(self) -> None:
        """Nobody waits."""


async def test_a_block_that_a_cancelled_reading_took_at_last_is_not_hashed_twice() -> None:
    content = RANDOM[:BLOCK]
    digest = ContentHash(BLOCK)
    late = Late(lambda: digest._hash(0, memoryview(content)))  # noqa: SLF001 - what the cancelled reading did at last
    digest._turn = cast("Any", late)  # noqa: SLF001 - only so does one wait for the other at this very moment
    await digest.read(BytesSource.over(content), THREADS, lambda _: None)
    assert (digest.done, digest.md5) == (True, hashlib.md5(content).hexdigest())


async def test_a_block_that_a_cancelled_reading_is_still_at_is_waited_for_without_the_loop() -> None:
    content, told = RANDOM[:BLOCK], list[int]()
    digest = ContentHash(BLOCK)
    with digest._turn:  # noqa: SLF001 - as the cancelled reading has it
        reading = asyncio.create_task(digest.read(BytesSource.over(content), THREADS, told.append))
        await until(lambda: THREADS.busy)
        assert told == []
    await reading
    assert (told, digest.md5) == ([BLOCK], hashlib.md5(content).hexdigest())


# cancellation


async def stopped_in_its_first_block(digest: ContentHash, source: Source, gate: Gate) -> None:
    reading = asyncio.create_task(digest.read(source, THREADS, lambda _: None))
    await until(gate.reached.is_set)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_who_cancels_it_is_not_held_up_and_its_thread_stops_after_the_block_it_is_at() -> None:
    gate = Gate()
    source, digest = Slow(RANDOM, gate), ContentHash(len(RANDOM))
    async with asyncio.timeout(5):  # the thread waits for ten seconds at its gate
        await stopped_in_its_first_block(digest, source, gate)
    gate.opened.set()
    await until(lambda: THREADS.busy == 0)
    assert source.reads == [(0, BLOCK)]


async def test_a_pass_that_was_stopped_goes_on_where_it_was() -> None:
    gate = Gate()
    source, digest = Slow(RANDOM, gate), ContentHash(len(RANDOM))
    await stopped_in_its_first_block(digest, source, gate)
    gate.opened.set()
    await digest.read(source, THREADS, lambda _: None)
    assert digest.md5 == hashlib.md5(RANDOM).hexdigest()
    assert [offset for offset, _ in source.reads] == [n * BLOCK for n in range(5)]


async def test_a_pass_that_goes_on_waits_for_the_block_that_the_stopped_one_is_still_at() -> None:
    gate = Gate()
    source, digest = Slow(RANDOM, gate), ContentHash(len(RANDOM))
    await stopped_in_its_first_block(digest, source, gate)
    going_on = asyncio.create_task(digest.read(source, THREADS, lambda _: None))
    await until(lambda: THREADS.busy == 2)
    assert source.reads == [(0, BLOCK)]
    gate.opened.set()
    await going_on
    assert digest.md5 == hashlib.md5(RANDOM).hexdigest()
    assert digest.fingerprint(Range(0, len(RANDOM))) == fingerprint_of(RANDOM)


# as the API wants it


def test_the_md5_goes_along_as_hex_or_base64() -> None:
    digest = hashlib.md5(b"content")
    assert encoded_md5(digest.hexdigest(), "hex") == digest.hexdigest()
    assert encoded_md5(digest.hexdigest(), "base64") == base64.b64encode(digest.digest()).decode()


def test_bytes_that_both_passes_saw_alike_are_fine_and_so_are_those_not_hashed_yet() -> None:
    check_same("ab", "ab", "data.bin")
    check_same(None, "ab", "data.bin")


def test_bytes_that_the_passes_saw_differently_mean_that_the_file_changed() -> None:
    with pytest.raises(SourceChangedError, match=r"data\.bin changed while it was sent\. No file was made"):
        check_same("ab", "cd", "data.bin")
