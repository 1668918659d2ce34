"""The child process of `ServerProcess`: reads options from standard input, serves until that input ends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from typing import Any

from asyncsdk.server.faults import faults_from_json
from asyncsdk.server.local import LocalServer


async def run() -> int:
    """Serve with the options in the first line of input, until the input ends or SIGTERM arrives."""
    leave, loop = asyncio.Event(), asyncio.get_running_loop()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(leave.set))
    try:
        async with _server(json.loads(sys.stdin.readline())) as server:
            _write({"url": server.url, "port": server.port, "directory": str(server.directory_in_use)})
            threading.Thread(target=_wait_for_end_of_input, args=(loop, leave), daemon=True).start()
            await leave.wait()
    except OSError as error:
        _write({"error": error.strerror or str(error), "errno": error.errno})
        return 1
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:
        _write({"error": str(error)})
        return 1
    return 0


def _server(options: dict[str, Any]) -> LocalServer:
    return LocalServer(**{**options, "faults": faults_from_json(options["faults"])})


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, leave: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(leave.set)


def _write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(run()))
