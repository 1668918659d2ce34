"""What `ServerProcess` starts: a server that is told its options on standard input, and ends when that does."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from typing import Any

from asyncsdk.server.faults import faults_from_json
from asyncsdk.server.local import LocalServer


async def live() -> int:
    """Serve with the options in the first line of input until there is no more input, or SIGTERM comes."""
    leave, loop = asyncio.Event(), asyncio.get_running_loop()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to a whole terminal; it is the parent that decides
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(leave.set))
    try:
        async with _server(json.loads(sys.stdin.readline())) as server:
            _tell({"url": server.url, "port": server.port})
            threading.Thread(target=_until_no_input, args=(loop, leave), daemon=True).start()
            await leave.wait()
    except (OSError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        _tell({"error": str(error)})
        return 1
    return 0


def _server(options: dict[str, Any]) -> LocalServer:
    return LocalServer(**{**options, "faults": faults_from_json(options["faults"])})


def _until_no_input(loop: asyncio.AbstractEventLoop, leave: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(leave.set)


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(live()))
