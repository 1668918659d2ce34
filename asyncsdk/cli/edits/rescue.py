"""Saves in a temporary directory what is paid and could not be saved where it was wanted."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import anyio
from attrs import define, evolve, field

from asyncsdk.cli.edits.messages import without_calls
from asyncsdk.errors import ChargeUnknownError, SaveError
from asyncsdk.files import Again, in_thread, patiently
from asyncsdk.images.names import safe_name
from asyncsdk.images.outcome import Problem
from asyncsdk.images.saving import Destination, FileWriter, Saving, raw_folder_in, save_raw
from asyncsdk.retry import pause_after

LEAVE_SECONDS = 10.0  # to leave in, for pictures that are paid
RESCUE_SECONDS = 3.0  # of them, for what can't be saved at once elsewhere either

Unsaved = ChargeUnknownError | SaveError


@define
class Rescued:
    """What is on disk elsewhere of an edit, by its number in the response: all of it if it `is_whole`.

    `failure` is why something of it is in memory only.
    """

    pictures: dict[int, Path] = field(factory=dict)
    raw: dict[int, Path] = field(factory=dict)
    is_whole: bool = False
    failure: Exception | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The pictures, in the order of the response."""
        return tuple(self.pictures[number] for number in sorted(self.pictures))

    @property
    def places(self) -> str:
        """Where it is, in words."""
        return ", ".join(map(str, [*self.files, *self.raw.values()]))

    def added_to(self, problem: Problem) -> Problem:
        """The edit's problem, with where it is, and what is lost."""
        lines = [without_calls(problem.message)]
        if self.places:
            lines.append(f"Saved elsewhere: {self.places}")
        if self.failure is not None:
            what = "The rest" if self.places else "What came"
            lines.append(f"{what} could not be saved elsewhere either ({self.failure}): it is lost.")
            lines.append("Before you send more, make room there, or name a directory on another disk in TMPDIR.")
        return evolve(problem, message="\n  ".join(lines), raw_files=(*problem.raw_files, *self.raw.values()))


@define(eq=False)
class Rescue:
    """One directory for all that a command could not save, made once it is needed.

    An edit may be tried again: what is saved of it by then is not saved twice. What passes is waited for once for all
    edits together.
    """

    _waits_since: float | None = field(default=None, init=False)
    _directory: Path | None = field(default=None, init=False)
    _making: anyio.Lock = field(factory=anyio.Lock, init=False)
    _rescued: dict[Unsaved, Rescued] = field(factory=dict, init=False)

    async def save(self, error: Unsaved, name: str, *, waits: bool = True) -> Rescued:
        """Save what is in memory of the edit `name`; nothing is fetched, for that was tried or is too late."""
        rescued = self.so_far(error)

        async def again(reason: Exception) -> bool:
            rescued.failure = reason  # what is known of it if the wait is cut short
            return waits and await self.again(reason)

        try:
            directory = await self.directory(again)
            failure = await _save_pictures(error, rescued, Destination(directory, safe_name(name)), again)
            await _save_raw(error, rescued, raw_folder_in(directory), name, again)
        except Exception as reason:  # noqa: BLE001 - whatever the disk does, the edit's own error is reported
            failure = reason
        rescued.failure = failure
        return rescued

    def so_far(self, error: Unsaved) -> Rescued:
        """What is saved of an edit by now."""
        return self._rescued.setdefault(error, Rescued(failure=TimeoutError("there was no time for it")))

    async def again(self, error: Exception) -> bool:
        """Whether to try once more after `error`: a moment later, for which it waits."""
        now = time.monotonic()
        self._waits_since = now if self._waits_since is None else self._waits_since
        pause = pause_after(error, now - self._waits_since)
        if pause is not None:
            await anyio.sleep(pause)
        return pause is not None

    @property
    def is_used(self) -> bool:
        """Whether the directory was made."""
        return self._directory is not None

    async def directory(self, again: Again) -> Path:
        """Where it all goes, made if it was not yet. Raises OSError where that fails and `again` waits no more."""
        async with self._making:
            if self._directory is None:
                self._directory = await patiently(partial(in_thread, _make_directory, again=again), again)
            return self._directory


def is_due(error: Exception | None) -> bool:
    """Whether something that came is in memory only."""
    if isinstance(error, SaveError) and error.in_memory:
        return True
    return isinstance(error, Unsaved) and bool(_lost_raw(error))


async def _save_pictures(error: Unsaved, rescued: Rescued, place: Destination, again: Again) -> Exception | None:
    """Returns the first failure of the disk; all were tried then."""
    if not isinstance(error, SaveError) or error.result is None:
        return None
    images = error.result.images
    unsaved = tuple(
        evolve(image, content=None) if number in rescued.pictures else image for number, image in enumerate(images)
    )
    saving = Saving(
        response=evolve(error.result.response, data=unsaved, unreadable=()),
        receive=None,
        place=place,
        raw_folder=None,
        raw_name=place.name,
        if_taken="beside",  # another edit's picture may have this very name
        way=FileWriter(again=again),
    )
    try:
        await saving.run()
    finally:
        rescued.pictures |= saving.saved
    rescued.is_whole = len(rescued.pictures) == len(images) and not _raw_of(error)
    return saving.disk_failure


async def _save_raw(error: Unsaved, rescued: Rescued, folder: Path, name: str, again: Again) -> None:
    """Raises OSError."""
    for number, content in enumerate(_lost_raw(error)):
        if number not in rescued.raw:
            found = partial(rescued.raw.__setitem__, number)
            await save_raw(folder, name, content, FileWriter(again=again), on_saved=found)


def _lost_raw(error: Unsaved) -> tuple[bytes, ...]:
    """All that came in the place of images, where some of it is in no file."""
    raw = _raw_of(error)
    return raw if len(error.raw_files) < len(raw) else ()


def _raw_of(error: Unsaved) -> tuple[bytes, ...]:
    """What came in the place of images, also what was not looked at any more when the command was left."""
    result = error.result if isinstance(error, SaveError) else None
    came = () if result is None else (unreadable.raw for unreadable in result.response.unreadable)
    return tuple(filter(None, (Counter(came) | Counter(error.raw)).elements()))


def _make_directory() -> Path:
    return Path(mkdtemp(prefix="asyncsdk-paid-"))
