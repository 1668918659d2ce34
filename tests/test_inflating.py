"""Compressed answers, for which nobody asked: read within their limits or refused; never saved as they are."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk import APIResponseValidationError, BadRequestError, ChargeUnknownError, ImageEdit, ImageEditor, api
from asyncsdk.http.inflate import PIECE, InflateError, Inflater, inflater_for
from tests.raw_server import answering, client_of, reply
from tests.stories.pictures import png

FILE = {"id": "file-1", "filename": "a.jsonl", "bytes": 3}
IMAGES = json.dumps({"data": [{"b64_json": "aGVsbG8="}]}).encode()
PACKED = gzip.compress(IMAGES, mtime=0)
GET_FILE = api.retrieve_file("file-1")


def deflated(content: bytes, wbits: int) -> bytes:
    stream = zlib.compressobj(9, wbits=wbits)
    return stream.compress(content) + stream.flush()


CODED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: deflated(content, 31),
    "X-GZip": lambda content: deflated(content, 31),
    "deflate": lambda content: deflated(content, 15),
    " Deflate ": lambda content: deflated(content, -15),  # without zlib's head, as some servers send it
    "identity": bytes,
}


@given(content=st.binary(max_size=300), coding=st.sampled_from(sorted(CODED)), step=st.integers(1, 70))
def test_what_was_compressed_comes_out_whatever_its_chunks(content: bytes, coding: str, step: int) -> None:
    body, inflater = CODED[coding](content), inflater_for(coding)
    if inflater is None:
        assert coding == "identity"
        return
    pieces = [piece for at in range(0, len(body), step) for piece in inflater.pieces(body[at : at + step])]
    inflater.end()
    assert b"".join(pieces) == content
    assert inflater.taken == len(body)


def test_no_piece_is_large_however_much_is_in_it() -> None:
    for size in (PIECE - 1, PIECE, PIECE + 1, 40 * PIECE):
        sizes = [len(piece) for piece in Inflater("gzip").pieces(gzip.compress(bytes(size)))]
        assert sum(sizes) == size
        assert max(sizes) <= PIECE


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_ends_early_is_damaged_or_goes_on_is_refused(coding: str) -> None:
    whole = CODED[coding](b"content" * 100)
    for body in (whole[:-1], whole + b"x", whole + b"\0x", whole + whole[:-1], whole[:20] + b"\xff" * 40):
        inflater = Inflater(coding)
        with pytest.raises(InflateError):  # noqa: PT012 - either of them
            list(inflater.pieces(body))
            inflater.end()
    for first in (1, len(whole)):
        inflater = Inflater(coding)
        with pytest.raises(InflateError):  # noqa: PT012 - in the second chunk
            list(inflater.pieces(whole[:first]))
            list(inflater.pieces(whole[first:] + b"x" * 9))


async def test_no_compression_is_asked_for_unless_the_caller_does() -> None:
    async with answering(reply(200, FILE)) as server, client_of(server) as client:
        await client.send(GET_FILE)
        await client.send(GET_FILE, headers={"accept-encoding": "gzip"})
        await client.download_url(server.url)
        assert [request.headers["accept-encoding"] for request in server.requests] == ["identity", "gzip", "identity"]


@pytest.mark.parametrize("coding", sorted(CODED))
@pytest.mark.parametrize("given_session", [False, True])
async def test_a_compressed_answer_is_read(coding: str, *, given_session: bool) -> None:
    body = CODED[coding](json.dumps(FILE).encode())
    headers = {"Content-Encoding": coding}
    async with (
        answering(reply(200, body, headers)) as server,
        aiohttp.ClientSession() as session,
        client_of(server, session=session if given_session else None) as client,
    ):
        assert (await client.send(GET_FILE)).filename == "a.jsonl"


async def test_compressed_files_images_and_errors_are_read(tmp_path: Path) -> None:
    headers = {"Content-Encoding": "gzip"}
    error = {"error": {"message": "no such model", "code": "model_not_found"}}
    async with (
        answering(
            reply(200, gzip.compress(b"a" * 1_000_000, mtime=0), headers),
            reply(200, gzip.compress(IMAGES, mtime=0), headers),
            reply(400, gzip.compress(json.dumps(error).encode()), headers),
        ) as server,
        client_of(server) as client,
    ):
        assert await client.download(api.file_content("file-1"), tmp_path / "content") == 1_000_000
        picture = api.ImageFile(content=png(), filename="a.png", mime_type="image/png")
        images = await client.send(api.edit_image(image=picture, prompt="p"))
        assert images.data[0].content == b"hello"
        with pytest.raises(BadRequestError, match="no such model"):
            await client.send(GET_FILE)


async def test_what_a_gateway_inflated_and_left_the_header_on_is_read() -> None:
    async with answering(reply(200, FILE, {"Content-Encoding": "gzip"})) as server, client_of(server) as client:
        assert (await client.send(GET_FILE)).id == "file-1"


@given(
    contents=st.lists(st.binary(max_size=99), min_size=1, max_size=4),
    padding=st.integers(0, 40),
    step=st.integers(1, 70),
)
def test_gzip_of_several_members_and_with_zeros_behind_them_is_read(
    contents: list[bytes], padding: int, step: int
) -> None:
    body, inflater = b"".join(map(gzip.compress, contents)) + bytes(padding), Inflater("gzip")
    pieces = [piece for at in range(0, len(body), step) for piece in inflater.pieces(body[at : at + step])]
    inflater.end()
    assert b"".join(pieces) == b"".join(contents)


@pytest.mark.parametrize("coding", ["utf-8", "none", "aws-chunked", "UTF-8, identity", "binary"])
async def test_a_word_that_is_not_a_coding_changes_nothing(coding: str) -> None:
    picture = png()
    async with answering(reply(200, picture, {"Content-Encoding": coding})) as server, client_of(server) as client:
        assert await client.download_url(server.url) == picture


async def test_a_coding_is_known_beside_a_word_that_is_none() -> None:
    headers = {"Content-Encoding": "aws-chunked, gzip"}
    async with answering(reply(200, gzip.compress(b"x"), headers)) as server, client_of(server) as client:
        assert await client.download_url(server.url) == b"x"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress"])
async def test_a_coding_that_we_do_not_know_is_named_and_no_file_is_made_of_it(coding: str, tmp_path: Path) -> None:
    body = b"\x0b\x02\x80{}\x03"
    async with answering(reply(200, body, {"Content-Encoding": coding})) as server, client_of(server) as client:
        for call in (
            client.send(GET_FILE),
            client.download(api.file_content("file-1"), tmp_path / "content"),
            client.download_url(server.url),
        ):
            with pytest.raises(APIResponseValidationError, match=coding):
                await call
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("coding", "body"),
    [("br", b"\x0b\x02\x80{}\x03"), ("gzip", PACKED[:-9]), ("gzip", PACKED + b"more")],
    ids=["unknown", "cut", "goes on"],
)
async def test_an_edit_whose_answer_can_not_be_inflated_may_have_been_paid(coding: str, body: bytes) -> None:
    async with answering(reply(200, body, {"Content-Encoding": coding})) as server, client_of(server) as client:
        with pytest.raises(ChargeUnknownError):
            await ImageEditor(client).edit(ImageEdit(image=png(), prompt="p"))
        assert len(server.requests) == 1


async def test_an_error_whose_body_can_not_be_inflated_is_its_status() -> None:
    headers = {"Content-Encoding": "gzip"}
    for body in (b"\x1f\x8b nothing", gzip.compress(b"{}", mtime=0)[:-3]):
        async with answering(reply(400, body, headers)) as server, client_of(server) as client:
            with pytest.raises(BadRequestError, match="400"):
                await client.send(GET_FILE)


async def test_the_loop_has_its_turn_while_a_large_answer_is_inflated(tmp_path: Path) -> None:
    body = gzip.compress(bytes(64 << 20))
    async with answering(reply(200, body, {"Content-Encoding": "gzip"})) as server, client_of(server) as client:
        downloading = asyncio.ensure_future(client.download(api.file_content("file-1"), tmp_path / "content"))
        turns = 0
        while not downloading.done():
            turns += 1
            await asyncio.sleep(0)
        assert downloading.result() == 64 << 20
        assert turns >= (64 << 20) // PIECE
