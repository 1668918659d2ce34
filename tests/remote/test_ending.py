"""A program that used obstore ends with its own exit code: its threads are not torn down in the middle of something."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio
from asyncsdk import RemoteError
from asyncsdk.remote.address import remote_address
from asyncsdk.remote.reading import RemoteObject
from asyncsdk.remote.stores import RemoteStores

async def main():
    try:
        await RemoteObject.open(remote_address("memory://x/none"), RemoteStores())
    except RemoteError:
        return

asyncio.run(main())
"""


def test_no_program_is_aborted_at_its_end() -> None:
    # without a wait at the end about every fourth is
    running = [subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE) for _ in range(16)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [(b"", 0)] * 16
