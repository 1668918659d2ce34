"""kill -9 in the middle of parts and of completes: what was answered is there, and nothing is half-written.

More often than by default: `ASYNCSDK_KILLS=100 pytest tests/server/test_store_killed.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from attrs import define, field

from asyncsdk.server import LocalServer
from tests.server.support import Caller, running

KILLS = int(os.environ.get("ASYNCSDK_KILLS", "4"))
PART_BYTES = 2**20
PROGRAM = (
    "import asyncio, sys\n"
    "from asyncsdk.server import LocalServer, serve\n"
    "asyncio.run(serve(LocalServer(sys.argv[1]), lambda s: print(s.url, flush=True)))\n"
)


@define
class Acknowledged:
    """What was confirmed before the kill: the bytes of each part by upload, and of each file."""

    parts: dict[str, dict[str, bytes]] = field(factory=dict)
    files: dict[str, bytes] = field(factory=dict)


async def test_what_was_answered_before_a_kill_is_there_and_nothing_else_is_half_there(tmp_path: Path) -> None:
    chance = random.Random()
    for _ in range(KILLS):
        told = Acknowledged()
        async with (
            killed_after(tmp_path, chance.uniform(0.05, 0.6)) as url,
            aiohttp.ClientSession(url + "/", headers={"Authorization": "Bearer k"}) as session,
        ):
            await asyncio.gather(*[upload_until_killed(Caller(session), told) for _ in range(6)])
        async with running(tmp_path) as (server, call):
            await check(server, call, told)


@asynccontextmanager
async def killed_after(directory: Path, seconds: float) -> AsyncIterator[str]:
    """A server in a process of its own, that is killed so long after it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, directory, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    killing = asyncio.get_running_loop().call_later(seconds, process.kill)
    try:
        yield url
    finally:
        killing.cancel()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def upload_until_killed(call: Caller, told: Acknowledged) -> None:
    """Make files of three parts, one after the other, until the server is gone."""
    try:
        while True:
            contents = [os.urandom(PART_BYTES) for _ in range(3)]
            upload_id = await call.created(3 * PART_BYTES)
            parts = told.parts.setdefault(upload_id, {})
            for content in contents:
                parts[(await call.add_part(upload_id, content)).json["id"]] = content
            whole = b"".join(contents)
            done = await call.complete(upload_id, *parts, md5=hashlib.md5(whole).hexdigest())
            told.files[done.json["file"]["id"]] = whole
    except (aiohttp.ClientError, OSError):
        return


async def check(server: LocalServer, call: Caller, told: Acknowledged) -> None:
    assert not list(server.directory_in_use.glob("incoming/*"))
    for file in server.files:
        assert server.stored(file.id).stat().st_size == file.bytes
    for file_id, content in told.files.items():
        assert server.stored(file_id).read_bytes() == content
    for upload_id, answered in told.parts.items():
        parts, content = dict(answered), b"".join(answered.values())
        if len(parts) < 3:  # killed before all of them were answered: they are kept, and the rest can follow
            rest = bytes(3 * PART_BYTES - len(content))
            parts[(await call.add_part(upload_id, rest)).json["id"]] = rest
            content += rest
        done = await call.complete(upload_id, *parts, md5=hashlib.md5(content).hexdigest())
        assert done.status == 200, done.json
        assert server.stored(done.json["file"]["id"]).read_bytes() == content
    assert len({file.id for file in server.files}) == len(server.files)
