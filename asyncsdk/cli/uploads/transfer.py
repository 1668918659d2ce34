"""Runs uploads in parallel: shows their progress, and reports how each ended."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from attrs import asdict, define, evolve, field, frozen

from asyncsdk import tasks
from asyncsdk.cli import units
from asyncsdk.cli.display import NullDisplay
from asyncsdk.cli.exits import Exit, exit_code_of_all
from asyncsdk.cli.output import Out, complain, stdout_is_terminal
from asyncsdk.cli.signals import Stop
from asyncsdk.cli.uploads import messages, records
from asyncsdk.errors import (
    AsyncSDKError,
    AuthenticationError,
    BadRequestError,
    CredentialError,
    FileProcessingError,
    UploadBusyError,
)
from asyncsdk.events import Progress, UploadPhase
from asyncsdk.models import File, to_json
from asyncsdk.remote.address import remote_address
from asyncsdk.uploads.job import UploadResult
from asyncsdk.uploads.journal.memory import MemoryJournal
from asyncsdk.uploads.progress import RateMeter
from asyncsdk.uploads.sharing import SharedList

if TYPE_CHECKING:
    from rich.console import RenderableType

Listener = Callable[[Progress], None]
StartUpload = Callable[[Listener], Awaitable[UploadResult]]
NamedUpload = tuple[str, StartUpload]
_MOST_LINES = 10
_MANY = 100  # files: of more, the total alone is shown, and not rows that come and go
_TROUBLE = {UploadPhase.RETRYING, UploadPhase.WAITING}
_CALM = 30.0  # seconds between two outages that are each worth a line


@define
class Outages:
    """Which moments of an upload's outages are worth a line: a beginning now and then, and the end of that one."""

    _reported_at: float = field(default=-math.inf, init=False)
    _is_reported: bool = field(default=False, init=False)

    def turns(self, state: UploadPhase, now: float) -> bool:
        """Whether one begins or ends that is worth a line, at `now` (seconds)."""
        is_out = state is UploadPhase.RETRYING
        if is_out is self._is_reported or (is_out and now - self._reported_at < _CALM):
            return False
        self._is_reported, self._reported_at = is_out, now
        return True


@frozen
class Snapshot:
    """A new snapshot of an upload, and the one before; with it an outage may `turn`, which is worth a line.

    `title` is what a person reads in place of `name`.
    """

    name: str
    before: Progress | None
    now: Progress
    turns: bool = False
    title: str = ""

    def line(self) -> str:
        """The upload on a line. Where it goes on, or begins after it was waited for, its rate is not known yet."""
        goes_on = (self.turns or self._was_in_trouble) and self.now.state is UploadPhase.SENDING
        shown = evolve(self.now, rate=0.0, eta=None) if goes_on else self.now
        line = messages.moving(self.title or self.name, shown, now=time.time())
        if not goes_on or "going on" in self.now.note:
            return line
        is_begin = self.before is not None and self.before.state is UploadPhase.WAITING and not self.now.bytes_sent
        return f"{line}, {'sending' if is_begin and not self.turns else 'going on'}"

    def record(self) -> dict[str, Any]:
        """All its numbers; `source` is the FILE as it was given."""
        return {**asdict(self.now), "source": self.name}

    def is_news(self, *, each_change: bool) -> bool:
        """Whether its state changed, and to or from trouble unless `each_change` counts; or it began again.

        A server that has become silent is trouble, too. Of outages that follow each other some are enough.
        """
        if self.now.silent_for and not (self.before and self.before.silent_for):
            return True
        was, state = (self.before.state if self.before else None), self.now.state
        if not each_change and UploadPhase.RETRYING in {was, state}:
            return self.turns
        if state is UploadPhase.RETRYING and was is state:
            return False  # the same outage, in other words
        has_new_note = bool(self.now.note) and (self.before is None or self.before.note != self.now.note)
        changed = was is not state and (each_change or bool({was, state} & _TROUBLE))
        return changed or (has_new_note and state is UploadPhase.SENDING)

    @property
    def _was_in_trouble(self) -> bool:
        return self.before is not None and self.before.state in _TROUBLE


@define(eq=False)
class UploadsView:
    """`sizes` are the bytes of each file, for the total; `under_way` are the latest snapshots.

    The total has a rate of its own, of what all files together sent: rows come and go. Of many files it is all that is
    shown. `held` are the files that other processes are sending. `titles` are what a person reads in place of names.
    """

    sizes: Mapping[str, int]
    clock: Callable[[], float] = time.monotonic
    titles: Mapping[str, str] = field(factory=dict)
    under_way: dict[str, Progress] = field(factory=dict, init=False)
    held: set[str] = field(factory=set, init=False)
    _ended: int = field(default=0, init=False)  # files
    _whole: int = field(init=False)  # bytes of all files that have not failed
    _done: int = field(default=0, init=False)  # bytes of those that have ended
    _outages: dict[str, Outages] = field(factory=dict, init=False)
    _sent: int = field(default=0, init=False)
    _rate: RateMeter = field(factory=RateMeter, init=False)

    def __attrs_post_init__(self) -> None:
        self._whole = sum(self.sizes.values())

    def update(self, name: str, progress: Progress) -> Snapshot:
        """Take in what an upload reports."""
        before = self.under_way.get(name)
        self.under_way[name] = progress
        self.held.discard(name)
        self._sent += progress.bytes_sent - (before.bytes_sent if before else 0)
        self._rate.add(self.clock(), self._sent)
        turns = self._outages.setdefault(name, Outages()).turns(progress.state, self.clock())
        return Snapshot(name, before, progress, turns, self.title(name))

    def title(self, name: str) -> str:
        """What a person reads as the name of the file."""
        return self.titles.get(name, name)

    def put_off(self, name: str) -> None:
        """Take the upload's row away: it begins once more later, and counts what it sends from nothing."""
        self.under_way.pop(name, None)

    def pass_over(self, name: str) -> None:
        """The same where another process is sending the file."""
        self.put_off(name)
        self.held.add(name)

    def end(self, name: str, *, failed: bool = False) -> None:
        """Take the upload's row away; it counts in the total, unless it failed: nothing more of it will be sent."""
        self.under_way.pop(name, None)
        self.held.discard(name)
        self._outages.pop(name, None)
        size = self.sizes.get(name, 0)
        if failed:
            self._whole -= size
        else:
            self._ended += 1
            self._done += size

    def lines(self) -> list[str]:
        """A line for each upload, and one for the total where there are several files."""
        rows = [*self._rows().items(), *self._totals()]
        return [messages.moving(name, progress, now=time.time()) for name, progress in rows]

    def records(self) -> list[dict[str, Any]]:
        """The total while nothing is done but to wait for others; else none: each snapshot is written."""
        return [{**asdict(self._total()), "source": None}] if self.held and not self.under_way else []

    def frame(self, width: int) -> RenderableType:
        """A row for each upload, and a total where there are several files."""
        from asyncsdk.cli.uploads import bars

        return bars.frame(self._rows(), next(iter(self._totals()), None), width)

    def _rows(self) -> Mapping[str, Progress]:
        if len(self.sizes) > _MANY:
            return {}
        return {self.title(name): progress for name, progress in self.under_way.items()}

    def _totals(self) -> list[tuple[str, Progress]]:
        """The total with its title; none where it would repeat the only row."""
        return [(f"{self._ended:,} of {len(self.sizes):,} files", self._total())] if len(self.sizes) > 1 else []

    def _total(self) -> Progress:
        rows = list(self.under_way.values())
        self._rate.add(self.clock(), self._sent)
        whole = Progress(
            state=UploadPhase.SENDING,
            source="",
            bytes_total=max(1, self._whole),
            bytes_done=self._done + sum(row.bytes_done for row in rows),
            bytes_resumed=sum(row.bytes_resumed for row in rows),
            bytes_in_flight=sum(row.bytes_in_flight for row in rows),
            parts_in_flight=sum(row.parts_in_flight for row in rows),
            connections=max((row.connections for row in rows), default=0),
            rate=self._rate.current,
            held_by_others=len(self.held),
        )
        if self.held:
            whole = evolve(whole, note=messages.held_by_others(len(self.held)))
        if self.held and not rows:
            return evolve(whole, state=UploadPhase.WAITING, rate=0.0)
        if rows and all(row.state is UploadPhase.RETRYING for row in rows):
            return evolve(whole, rate=0.0)  # what is sent now may have vanished in buffers
        left = whole.bytes_total - whole.bytes_moved
        return evolve(whole, eta=left / whole.rate if whole.rate else None)


@frozen
class _Ended:
    name: str
    result: UploadResult | None = None
    error: AsyncSDKError | None = None


@define(eq=False)
class Transfer:
    """`now` returns the server's time; `instead` is the advice if the same command would not resume.

    `renamed`: the files' names on the server were chosen, and differ from those here. `left_out` is how many that were
    found are not sent. `shared` is where other processes send the same files.
    """

    out: Out
    display: NullDisplay[UploadsView]
    stop: Stop
    now: Callable[[], float]
    instead: str = ""
    renamed: bool = False
    left_out: int = 0
    _refused: AsyncSDKError | None = field(default=None, init=False)
    shared: SharedList[NamedUpload] = field(factory=lambda: SharedList(MemoryJournal()))
    _tally: messages.UploadTally = field(factory=messages.UploadTally, init=False)
    _latest: dict[str, Progress] = field(factory=dict, init=False)
    _ended: dict[str, AsyncSDKError | None] = field(factory=dict, init=False)

    async def run(self, uploads: Mapping[str, StartUpload], *, at_once: int) -> Exit:
        """Run `uploads`, by file name, `at_once` at a time; none is begun once one was refused as all would be."""
        began = time.monotonic()
        self.stop.at_the_end(partial(self._report_the_rest, list(uploads)))
        self.shared.on_waiting = self._report_waiting
        with self.display:
            named = self.shared.given(uploads.items())
            async with self.shared.connected(), tasks.map_unordered(named, self._one, limit=at_once) as outcomes:
                async for ended in outcomes:
                    if ended is not None:
                        self._report(ended)
        for (name, _), error in self.shared.failures:  # it was to come again, and another was refused
            self._report(_Ended(name, error=error))
        self._report_not_begun([name for name in uploads if name not in self._ended])
        self._tally.left_out = self.left_out
        if (len(uploads) > 1 or self.left_out) and not self.out.shape.quiet:
            complain(self._tally.line(time.monotonic() - began))
        return Exit.SOME_FAILED if self.left_out else exit_code_of_all(list(self._ended.values()))

    async def _one(self, named: NamedUpload) -> _Ended | None:
        """Bring an upload to its end. None: it comes again."""
        name, upload = named
        with self.shared.turn():
            try:
                ended = _Ended(name, result=await upload(partial(self._watch, name)))
            except AsyncSDKError as error:
                if isinstance(error, UploadBusyError) and self.shared.pass_over(named, error):
                    self._latest.pop(name, None)
                    self.display.view.pass_over(name)
                    return None
                if self.shared.comes_again(named, error):
                    self.display.view.put_off(name)
                    self.display.aside()
                    complain(messages.tried_again(self.display.view.title(name), error))
                    return None
                ended = _Ended(name, error=error)
            self.shared.end(named)
            return ended

    def _report_waiting(self, count: int) -> None:
        if not self.out.shape.quiet:
            self.display.aside()
            complain(f"W{messages.held_by_others(count)[1:]}.")

    def _watch(self, name: str, progress: Progress) -> None:
        self._latest[name] = progress
        self.display.show(self.display.view.update(name, progress))

    def _report(self, ended: _Ended) -> None:
        self._ended[ended.name] = ended.error
        self._latest.pop(ended.name, None)
        self._tally.add(ended.result, ended.error)
        if ended.result is not None and ended.result.by_others:
            self.shared.meets_others = True
        self.display.view.end(ended.name, failed=ended.error is not None)
        if ended.error is not None or stdout_is_terminal():
            self.display.aside()
        if ended.error is not None:
            self._report_failed(ended.name, ended.error)
        elif ended.result is not None:
            self._report_done(ended.name, ended.result)

    def _report_done(self, name: str, result: UploadResult) -> None:
        stored_as = result.file.filename or ""
        address = remote_address(name)
        own = PurePath(name).name if address is None else address.name
        surprise = "" if self.renamed or stored_as == own else stored_as
        self.out.result(
            messages.done(self.display.view.title(name), result, surprise),
            record=records.uploaded(name, result),
            name=result.file.id,
        )

    def _report_failed(self, name: str, error: AsyncSDKError) -> None:
        is_for_all = self._is_for_all(error)
        if self._refused is None or not is_for_all:
            complain(messages.failed(self.display.view.title(name), error, now=self.now(), instead=self.instead))
        if is_for_all:
            self._refused = error
            self.shared.stop()
        record = records.not_uploaded(name, records.error_of(error, self.instead), error.progress)
        if isinstance(error, FileProcessingError) and isinstance(error.file, File):  # it is there
            record["file"] = to_json(error.file)
        self.out.record(record)

    def _is_for_all(self, error: AsyncSDKError) -> bool:
        """Whether what all files have in common is refused: the key, or a purpose that none went up with."""
        if isinstance(error, BadRequestError) and (error.param, error.code) == ("purpose", "invalid_value"):
            return None not in self._ended.values()
        return isinstance(error, AuthenticationError | CredentialError)

    def _report_not_begun(self, names: Sequence[str]) -> None:
        if names:
            complain(f"{units.counted(len(names), 'file')} not sent: all would be refused for the reason above.")
        for name in names:
            self.out.record(records.not_uploaded(name, records.plain_error("NotSent", "another file was refused")))

    def _report_the_rest(self, names: list[str]) -> None:
        """Report what was under way or not begun, and how to resume it."""
        rest = [name for name in names if name not in self._ended]
        begun = [name for name in rest if name in self._latest]
        for name in begun[:_MOST_LINES]:
            title = self.display.view.title(name)
            complain(messages.stopped(title, self._latest[name], now=self.now(), instead=self.instead))
        held = self.display.view.held.intersection(rest)
        if held:
            complain(messages.left_to_others(len(held)))
        if more := len(rest) - len(begun[:_MOST_LINES]) - len(held):
            complain(f"{units.counted(more, 'file')} not sent. The same command sends them.")
        advice = f". {self.instead}" if self.instead else "; the same command goes on"
        interrupted = records.plain_error("Interrupted", f"stopped by a signal{advice}")
        for name in rest:
            self.out.record(records.not_uploaded(name, interrupted, self._latest.get(name)))
