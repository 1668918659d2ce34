"""`asyncsdk edit-many` as a process that may be killed, and what it said until then."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.faults.support import LIMIT

RUN_SECONDS = 900.0  # after which a run that was left alone counts as hanging
LEAVE_SECONDS = 15.0  # a second Ctrl-C: pictures that are paid are still saved

Record = dict[str, Any]


@frozen
class EditMany:
    """The command; each run of it has a number, and writes what it says to files of its own."""

    url: str
    jobs: Path
    out: Path
    concurrency: int
    temporary: Path
    environment: dict[str, str] = field(factory=dict)

    async def start(self, log: Path, *more: str, files: int | None = None) -> Running:
        """Begin it, where it may open that many `files`."""
        environment = os.environ | {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": self.url}
        environment |= {"TMPDIR": str(self.temporary)} | self.environment
        command = [sys.executable, "-m", "asyncsdk", "edit-many", str(self.jobs), "--out", str(self.out), "--json"]
        command += ["--concurrency", str(self.concurrency), *more]
        if files is not None:
            command = ["/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command]
        with log.with_suffix(".out").open("wb") as told, log.with_suffix(".err").open("wb") as complained:
            process = await asyncio.create_subprocess_exec(*command, stdout=told, stderr=complained, env=environment)
        return Running(process, log)


@define(eq=False)
class Running:
    """One run."""

    process: Process
    log: Path

    @property
    def records(self) -> dict[str, Record]:
        """What it said of each edit, by id; what a kill cut off in the middle was not said."""
        lines = self.log.with_suffix(".out").read_bytes().split(b"\n")[:-1]
        return {record["id"]: record for record in map(json.loads, lines)}

    @property
    def complaints(self) -> str:
        return self.log.with_suffix(".err").read_text()

    @property
    def code(self) -> int | None:
        return self.process.returncode

    async def end(self, seconds: float) -> None:
        """Wait for its end. One that hangs is killed, and TimeoutError raised."""
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            await self.kill()
            raise

    async def kill(self) -> None:
        """SIGKILL."""
        if self.code is None:
            self.process.kill()
        await asyncio.wait_for(self.process.wait(), LIMIT)

    async def interrupt_twice(self, numbers: random.Random) -> None:
        """Ctrl-C, and once more before all in flight has ended."""
        with suppress(ProcessLookupError):  # it may have ended by itself
            self.process.send_signal(signal.SIGINT)
            await asyncio.sleep(numbers.uniform(0.0, 0.1))
            self.process.send_signal(signal.SIGINT)
        await self.end(LEAVE_SECONDS)
