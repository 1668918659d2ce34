"""The first part of the demo: kills an upload half-way, finishes it by the same command, and checks every claim."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from asyncsdk.cli import units
from asyncsdk.cli.demo.children import ChildError, UploadChild, child
from asyncsdk.cli.demo.evidence import Evidence, Parts, sha256_of
from asyncsdk.cli.display import choose
from asyncsdk.cli.uploads.transfer import UploadsView
from asyncsdk.events import Progress
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import BLOCK

PARTS = 48
SECONDS_TO_THE_END = 4.0  # at the rate of the first run, which is killed half-way
OVERHEAD = 1024  # bytes of a part's request besides its data, at most


@frozen
class DemoPlan:
    """How `path`, of `size` bytes, is sent slowly enough to watch."""

    path: Path
    size: int

    @property
    def part_size(self) -> int:
        """Small enough that half of the parts are there at half-time."""
        return max(1, self.size // PARTS // BLOCK) * BLOCK

    @property
    def connections(self) -> int:
        """Few if there are few parts."""
        return max(1, min(4, self.size // self.part_size // 8))

    @property
    def rate(self) -> int:
        """The rate of the first run, in bytes a second."""
        return int(self.size / SECONDS_TO_THE_END)


@define(eq=False)
class RunObserver:
    """Follows one run, and kills it when `kill_at` bytes are there."""

    show: Callable[[Progress], None]
    kill: Callable[[], None]
    kill_at: float
    last: Progress | None = field(default=None, init=False)
    killed: bool = field(default=False, init=False)
    seconds: float = field(default=0.0, init=False)
    _began: float | None = field(default=None, init=False)

    def see(self, progress: Progress) -> None:
        """A snapshot came."""
        if self.killed:
            return
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        self.last, self.seconds = progress, now - self._began
        self.show(progress)
        if progress.bytes_done >= self.kill_at:
            self.killed = True
            self.kill()


@define(eq=False)
class Story:
    """The upload of `plan`, reported by `say`; `evidence` is what the server received."""

    plan: DemoPlan
    folder: Path
    evidence: Evidence
    say: Callable[[str], None]
    _threads: DaemonThreadPool = field(factory=lambda: DaemonThreadPool("asyncsdk-demo", limit=1), init=False)

    async def play(self) -> None:
        """Send, kill, send again, compare. Raises ChildError if a claim is wrong."""
        self.say(f"\n[bold]$ asyncsdk upload {self.plan.path.name} --purpose batch[/]")
        stopped = await self._stop_half_way()
        before = await self._threads.run(self.evidence.parts)
        self.say("\n[bold]$ asyncsdk upload …[/] the same again")
        watch, result = await self._finish()
        after = await self._threads.run(self.evidence.parts)
        self._check_what_went(result, stopped, after.since(before))
        await self._check_what_is_stored(result["file"]["id"])
        self._sum_up(result, watch.seconds)

    async def _stop_half_way(self) -> Progress:
        watch, upload = await self._upload(kill_at=self.plan.size / 2, rate=self.plan.rate)
        if watch.last is None or not watch.killed:
            raise ChildError(f"the upload ended before it could be stopped half-way. {upload.output}")
        self.say("  [red]killed[/] half-way, by SIGKILL: it had no chance to clean up")
        return watch.last

    async def _finish(self) -> tuple[RunObserver, Mapping[str, Any]]:
        watch, upload = await self._upload(kill_at=math.inf, rate=None)
        if not upload.result.get("file"):
            raise ChildError(f"the second run failed. {upload.output}")
        return watch, upload.result

    async def _upload(self, *, kill_at: float, rate: int | None) -> tuple[RunObserver, UploadChild]:
        name = self.plan.path.name
        view = UploadsView({name: self.plan.size})
        with choose("auto", view, stays=True) as display:
            async with child("upload", str(self.plan.path), *self._options(rate)) as process:
                watch = RunObserver(lambda progress: display.show(view.update(name, progress)), process.kill, kill_at)
                upload = UploadChild(process, watch.see)
                await upload.ended()
        return watch, upload

    def _options(self, rate: int | None) -> list[str]:
        options = {
            "--purpose": "batch",
            "--check": "none",  # a file of the user's may be for something else
            "--base-url": self.evidence.base_url,
            "--journal": self.folder / "journal",
            "--part-size": self.plan.part_size,
            "--concurrency": self.plan.connections,
            "--progress": "json",
            **({} if rate is None else {"--limit-rate": rate}),
        }
        return ["--json", *(str(word) for option in options.items() for word in option)]

    def _check_what_went(self, result: Mapping[str, Any], stopped: Progress, second: Parts) -> None:
        sent, resumed = result["bytes_sent"], result["bytes_resumed"]
        if sent + resumed != self.plan.size or resumed < stopped.bytes_done:
            raise ChildError(f"of {stopped.bytes_done} bytes sent before, {resumed} were kept; {sent} were sent again.")
        if not sent <= second.bytes <= sent + second.count * OVERHEAD:
            raise ChildError(f"the second run reports {sent} bytes, the server received {second.bytes}.")
        self._tick(f"{units.size(resumed)} were there and were kept; the server received the other {units.size(sent)}")

    async def _check_what_is_stored(self, file_id: str) -> None:
        stored = await self._threads.run(partial(self.evidence.sha256_of, file_id))
        source = await self._threads.run(partial(sha256_of, self.plan.path))
        if stored != source:
            raise ChildError(f"the server stored other bytes: sha256 {stored}, not {source} of the file.")
        self._tick(f"what the server stored has the sha256 of the file, {source[:16]}…")

    def _sum_up(self, result: Mapping[str, Any], seconds: float) -> None:
        sent, file_id = result["bytes_sent"], result["file"]["id"]
        pace = f"the rest took {units.elapsed(seconds)} ({units.rate(sent / seconds)})" if seconds else "in no time"
        self.say(f"\n{units.size(self.plan.size)} are uploaded as {file_id}; {pace}.")

    def _tick(self, claim: str) -> None:
        self.say(f"  [green]✓[/] {claim}")
