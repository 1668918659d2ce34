"""A program that used a store ends as it would have ended."""

from __future__ import annotations

import asyncio
import sys

from tests.remote.web import web_store

PROGRAM = """
import asyncio, sys
from asyncsdk.remote.address import remote_address
from asyncsdk.remote.reading import read_whole
from asyncsdk.remote.stores import RemoteStores

asyncio.run(read_whole(remote_address(sys.argv[1]), RemoteStores(), limit=100))
"""
AT_ONCE = 8


async def test_no_thread_of_obstore_aborts_a_process_at_its_end() -> None:
    async with web_store() as web:
        web.objects["/a"] = b"content"
        command = [sys.executable, "-c", PROGRAM, f"{web.url}/a"]
        processes = [await asyncio.create_subprocess_exec(*command) for _ in range(AT_ONCE)]
        assert [await process.wait() for process in processes] == [0] * AT_ONCE
