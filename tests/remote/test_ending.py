"""Programs that used obstore: they end with their own exit code, and a fork of one is refused instead of hanging."""

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
    running = [subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE) for _ in range(8)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [(b"", 0)] * 8


FORKED = (
    PROGRAM
    + """
import os
from asyncsdk import ConfigurationError
child = os.fork()
if not child:
    try:
        asyncio.run(main())
    except ConfigurationError as error:
        print(error, flush=True)
        os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
"""
)


def test_in_a_fork_the_error_says_how_to_start_the_process() -> None:
    # from 3.12 on Python warns of just that: a fork where there are threads
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORKED]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "was forked from one that had used URLs" in ran.stdout
