"""Pictures made to fill memory or time: refused by their header, scaled, counted."""

from __future__ import annotations

import struct
import zlib

import pytest

from asyncsdk.server.edits import memory, sizes
from asyncsdk.server.errors import ApiError
from tests.server.edits import content, data_url, edit, edit_json, noise, opened, picture, saved
from tests.server.support import running


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes that say they are a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (8193, 8192), (1, 2**31 - 1), (60_000, 3_000)])
async def test_a_picture_of_too_many_pixels_is_refused_by_its_header(size: tuple[int, int]) -> None:
    async with running() as (_, call):
        answer = await edit(call, png_that_claims(*size))
        assert answer.status == 400
        assert "too many pixels" in answer.error["message"]


async def test_a_mask_and_a_reference_are_looked_at_in_the_same_way() -> None:
    huge = png_that_claims(20_000, 20_000)
    async with running() as (_, call):
        assert (await edit(call, picture(), mask=huge)).status == 400
        assert (await edit(call, picture(), huge)).status == 400


async def test_without_a_size_a_huge_picture_comes_back_as_large_as_pictures_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sizes, "PIXELS_MOST", 10_000)
    async with running() as (_, call):
        made = opened(content(await edit(call, saved(noise(size=(400, 100))))))
        assert made.size == (200, 50)


@pytest.mark.parametrize("as_json", [False, True])
async def test_pictures_beyond_the_servers_memory_are_refused_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    async with running() as (_, call):
        for limit, status in ((1000, 503), (10**6, 200)):
            monkeypatch.setattr(memory, "MEMORY_LIMIT", limit)
            if as_json:
                answer = await edit_json(
                    call, images=[{"image_url": data_url(picture())}], prompt="x", model="gpt-image-1"
                )
            else:
                answer = await edit(call, picture())
            assert answer.status == status
            if status == 503:
                assert answer.headers["Retry-After"] == "1"


async def test_pictures_that_are_referred_to_take_room_each_time_that_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = picture()
    monkeypatch.setattr(memory, "MEMORY_LIMIT", 10 * len(stored))
    async with running() as (server, call):
        file_id = (await call.uploaded(stored, purpose="vision")).json["file"]["id"]
        statuses = [
            (await edit_json(call, images=[{"file_id": file_id}] * count, prompt="x", model="m")).status
            for count in (2, 16, 2)
        ]
        assert statuses == [200, 503, 200]
        assert server._edits.memory.taken == 0  # noqa: SLF001 - what an edit holds shows nowhere else


async def test_the_room_of_an_edit_is_free_again_whatever_became_of_it() -> None:
    large = memory.MemoryBudget()
    for _ in range(3):
        with large.reserve() as take:
            take(memory.MEMORY_LIMIT)
            with pytest.raises(ApiError):
                take(1)
        assert large.taken == 0
