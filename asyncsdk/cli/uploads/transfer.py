"""Uploads side by side: shows how they go, and says of each how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial

from attrs import define, field, frozen

from asyncsdk import tasks
from asyncsdk.cli import units
from asyncsdk.cli.exits import Exit, exit_code_of_all
from asyncsdk.cli.output import Out, complain, stdout_is_terminal
from asyncsdk.cli.signals import Stop
from asyncsdk.cli.uploads import messages, records
from asyncsdk.cli.uploads.display import Display
from asyncsdk.errors import AsyncSDKError
from asyncsdk.events import Progress
from asyncsdk.uploads.job import UploadResult

Listener = Callable[[Progress], None]
Upload = Callable[[Listener], Awaitable[UploadResult]]
_MOST_LINES = 10


@frozen
class _Ended:
    name: str
    result: UploadResult | None = None
    error: AsyncSDKError | None = None


@define(eq=False)
class Transfer:
    """`now` tells the server's time; `instead` is said where the same command would not go on."""

    out: Out
    display: Display
    stop: Stop
    now: Callable[[], float]
    instead: str = ""
    _latest: dict[str, Progress] = field(factory=dict, init=False)
    _ended: dict[str, AsyncSDKError | None] = field(factory=dict, init=False)

    async def run(self, uploads: Mapping[str, Upload], *, at_once: int) -> Exit:
        """Run `uploads`, by the names of their files, so many at once."""
        self.stop.at_the_end(partial(self._tell_of_the_rest, list(uploads)))
        with self.display:
            async with tasks.map_unordered(uploads.items(), self._one, limit=at_once) as outcomes:
                async for ended in outcomes:
                    self._report(ended)
        return exit_code_of_all(list(self._ended.values()))

    async def _one(self, named: tuple[str, Upload]) -> _Ended:
        name, upload = named
        try:
            return _Ended(name, result=await upload(partial(self._watch, name)))
        except AsyncSDKError as error:
            return _Ended(name, error=error)

    def _watch(self, name: str, progress: Progress) -> None:
        self._latest[name] = progress
        self.display.show(name, progress)

    def _report(self, ended: _Ended) -> None:
        self._ended[ended.name] = ended.error
        self.display.end(ended.name)
        shares_the_terminal = ended.error is not None or stdout_is_terminal()
        with self.display.aside() if shares_the_terminal else nullcontext():
            if ended.error is not None:
                self._say_failed(ended.name, ended.error)
            elif ended.result is not None:
                self._say_done(ended.name, ended.result)

    def _say_done(self, name: str, result: UploadResult) -> None:
        self.out.result(messages.done(name, result), record=records.uploaded(name, result), name=result.file.id)

    def _say_failed(self, name: str, error: AsyncSDKError) -> None:
        complain(messages.failed(name, error, now=self.now(), instead=self.instead))
        self.out.record(records.not_uploaded(name, records.error_of(error), error.progress))

    def _tell_of_the_rest(self, names: list[str]) -> None:
        """Say of what was under way or to come how it goes on."""
        rest = [name for name in names if name not in self._ended]
        begun = [name for name in rest if name in self._latest]
        for name in begun[:_MOST_LINES]:
            complain(messages.stopped(name, self._latest[name], now=self.now(), instead=self.instead))
        if more := len(rest) - len(begun[:_MOST_LINES]):
            complain(f"{units.counted(more, 'file')} not sent. The same command goes on.")
        interrupted = records.plain_error("Interrupted", "stopped by a signal; the same command goes on")
        for name in rest:
            self.out.record(records.not_uploaded(name, interrupted, self._latest.get(name)))
