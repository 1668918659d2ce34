"""A megabyte that stands for a gigabyte: whichever call it answers, the client's memory is bounded, the call ends."""

from __future__ import annotations

import asyncio
import json
import sys
import zlib

import pytest

from asyncsdk import APIError, APIResponseValidationError, BadRequestError, api
from tests.raw_server import Talk, client_of, reply, serving

WHOLE = 160 << 20  # bytes that each bomb stands for
MOST = 200  # MiB of memory
LONGEST = 20.0  # seconds for all the calls together, on a busy machine

BOMBS = {
    "blanks": (b'{"id": "x"', b" " * 64, b"}"),
    "numbers": (b'{"id": "x", "data": [', b"0," * 32, b"0]}"),
    "lists": (b'{"id": "x", "data": [', b"[]," * 32, b"[]]}"),
    "files": (b'{"data": [', b'{"id": "x"},' * 8, b'{"id": "x"}]}'),
    "message": (b'{"error": {"message": "', b"x" * 64, b'"}}'),
    "picture": (b'{"data": [{"b64_json": "', b"AAAA" * 16, b'"}]}'),
    "address": (b'{"data": [{"url": "', b"AAAA" * 16, b'"}]}'),
}

# The client is a process of its own, so that its memory is measured and nothing else.
CLIENT = """
import asyncio, json, sys
from asyncsdk import AsyncSDKError, Client, api

PICTURE = api.ImageFile(content=b"picture", filename="a.png", mime_type="image/png")
CALLS = {
    "create": lambda: api.create_upload(bytes=1, filename="a", mime_type="text/plain", purpose="batch"),
    "part": lambda: api.add_upload_part("upload_1", data=b"x"),
    "complete": lambda: api.complete_upload("upload_1", part_ids=["part_1"]),
    "list": lambda: api.list_files(),
    "get": lambda: api.retrieve_file("file-1"),
    "edit": lambda: api.edit_image(image=PICTURE, prompt="p"),
}

async def ending(call):
    try:
        await call
    except AsyncSDKError as error:
        return type(error).__name__
    return "answered"

async def main(url, bombs):
    async with Client("sk-key", base_url=url, max_retries=0) as client:
        for bomb in bombs:
            for name, make in CALLS.items():
                print(json.dumps([name, bomb, await ending(client.send(make(), headers={"X-Bomb": bomb}))]))
            print(json.dumps(["fetch", bomb, await ending(client.download_url(f"{url}/{bomb}"))]))

asyncio.run(main(sys.argv[1], sys.argv[2:]))
with open("/proc/self/status") as status:
    print(json.dumps(["peak", *(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM"))]))
"""


def bomb(name: str, wbits: int) -> bytes:
    head, unit, tail = BOMBS[name]
    stream = zlib.compressobj(1, wbits=wbits)
    block = unit * ((1 << 20) // len(unit))
    packed = [stream.compress(piece) for piece in (head, *[block] * (WHOLE // len(block)), tail)]
    return b"".join([*packed, stream.flush()])


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from /proc")
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("deflate", -15)])
async def test_no_bomb_takes_more_than_its_bound_of_memory(status: int, coding: str, wbits: int) -> None:
    bodies = {name: bomb(name, wbits) for name in BOMBS}

    async def handle(talk: Talk) -> None:
        while True:
            request = await talk.hear()
            name = request.headers.get("x-bomb") or request.target.rpartition("/")[2]
            await talk.say(
                reply(status, bodies[name], {"Content-Encoding": coding, "Content-Type": "application/json"})
            )

    async with serving(handle) as server:
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, server.url, *BOMBS, stdout=asyncio.subprocess.PIPE
        )
        try:
            printed, _ = await asyncio.wait_for(client.communicate(), LONGEST)
        finally:
            if client.returncode is None:
                client.kill()
    assert client.returncode == 0
    *endings, (_, peak) = map(json.loads, printed.splitlines())
    refused = "APIResponseValidationError" if status == 200 else "BadRequestError"
    assert {ending for _, _, ending in endings} == {refused}
    assert len(endings) == 7 * len(BOMBS)
    assert peak <= MOST


@pytest.mark.parametrize(("status", "kind"), [(200, APIResponseValidationError), (400, BadRequestError)])
async def test_an_answer_without_end_ends_at_its_limit(status: int, kind: type[APIError]) -> None:
    sent = 0

    async def handle(talk: Talk) -> None:
        nonlocal sent
        await talk.hear()
        await talk.say(b"HTTP/1.1 %d Whatever\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
        while True:
            await talk.say(b"10000\r\n%b\r\n" % bytes(1 << 16))
            sent += 1 << 16

    async with serving(handle) as server, client_of(server, max_retries=0) as client:
        with pytest.raises(kind):
            await client.send(api.retrieve_file("file-1"))
    assert sent < 16 << 20  # the limit, and what the kernel takes
