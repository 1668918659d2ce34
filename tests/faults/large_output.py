"""A batch with an output file of any size, made up on the wire, read in a process of its own: its memory, its pace.

python -m tests.faults largeoutput [--lines 1450]
"""

from __future__ import annotations

import asyncio
import base64
import json
import resource
import shutil
import struct
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiohttp import web

from asyncsdk import Client, ImageEdit, ImageEditor
from tests.faults.support import processes
from tests.stories.pictures import png

MODEL = "gpt-image-2"
LIMIT = 1800.0
BEFORE = (
    b'{"id": "b", "response": {"status_code": 200, "request_id": "r", "body": {"created": 1, "data": [{"b64_json": "'
)


def picture(size: int) -> bytes:
    """A PNG of so many bytes, most of them in a chunk that shows nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels + bytes(size)) + chunk(b"IEND", b"")


@asynccontextmanager
async def serving(size: int, *, is_broken: bool = False) -> AsyncIterator[str]:
    """A server of batches that are done at once: each of their lines has a picture of `size` bytes.

    `is_broken`: it does not begin as base64.
    """
    sent = dict[str, bytes]()
    encoded = base64.b64encode(picture(size))
    encoded = b"????!!!!" + encoded[8:] if is_broken else encoded

    async def upload(request: web.Request) -> web.Response:
        form = await request.post()
        file: Any = form["file"]
        name = f"file-{len(sent)}"
        sent[name] = file.file.read()
        return web.json_response({"id": name, "object": "file", "filename": file.filename, "purpose": form["purpose"]})

    async def create(request: web.Request) -> web.Response:
        name = (await request.json())["input_file_id"]
        lines = len(sent[name].splitlines())
        batch: dict[str, Any] = {"id": f"batch-{name}", "object": "batch", "status": "completed", "created_at": 1}
        batch |= {"input_file_id": name, "output_file_id": f"output-{name}"}
        return web.json_response(batch | {"request_counts": {"total": lines, "completed": lines, "failed": 0}})

    async def content(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in sent[request.match_info["id"].removeprefix("output-")].splitlines():
            custom_id = json.loads(line)["custom_id"]
            await response.write(BEFORE)
            for start in range(0, len(encoded), 1 << 18):
                await response.write(encoded[start : start + (1 << 18)])
            await response.write(b'"}]}}, "error": null, "custom_id": "%b"}\n' % custom_id.encode())
        await response.write_eof()
        return response

    async def listed(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [], "has_more": False})

    async def deleted(request: web.Request) -> web.Response:
        return web.json_response({"id": request.match_info["id"], "object": "file", "deleted": True})

    app = web.Application(client_max_size=1 << 30)
    app.add_routes([
        web.post("/v1/files", upload), web.get("/v1/files", listed), web.delete("/v1/files/{id}", deleted),
        web.get("/v1/files/{id}/content", content), web.post("/v1/batches", create),
    ])  # fmt: skip
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def read_large_output(
    folder: Path, *, lines: int, size: int, room: int = 64, is_broken: bool = False
) -> dict[str, Any]:
    """Collect a batch of so many edits; pictures beyond the last `room` are removed once they are saved."""
    folder.mkdir(parents=True)
    ours, theirs = processes.Pipe(duplex=False)
    async with serving(size, is_broken=is_broken) as url:
        process = processes.Process(target=_work, args=(url, folder, lines, room, theirs), daemon=True)
        process.start()
        theirs.close()
        is_there = await asyncio.get_running_loop().run_in_executor(None, ours.poll, LIMIT)
        found: dict[str, Any] = ours.recv() if is_there else {}
        process.join(10)
        if process.exitcode is None:
            process.kill()
    shutil.rmtree(folder / "out", ignore_errors=True)
    return found


def _work(url: str, folder: Path, lines: int, room: int, answer: Connection) -> None:
    answer.send(asyncio.run(_collect(url, folder, lines, room)))


async def _collect(url: str, folder: Path, lines: int, room: int) -> dict[str, Any]:
    jobs = [ImageEdit(image=png(), prompt=f"p{number}", model=MODEL, id=f"e{number}") for number in range(lines)]
    saved, began = list[Path](), 0.0
    async with (
        Client("sk-test", base_url=url) as client,
        ImageEditor(client).edit_batch(jobs, out=folder / "out", poll=0.05) as outcomes,
    ):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async for outcome in outcomes:
            began = began or time.monotonic()
            saved += outcome.files
            for path in saved[:-room]:
                path.unlink()
            del saved[:-room]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time.monotonic() - began
    return {
        "done": outcomes.counts["done"],
        "uncertain": outcomes.counts["uncertain"],
        "peak": peak * 1024,
        "before": before * 1024,
        "seconds": seconds,
    }
