"""Saves what is paid: where it was requested, else in a temporary directory."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from tempfile import mkdtemp

import anyio
from attrs import define, evolve, field, frozen

from asyncsdk import tasks
from asyncsdk.cli.edits.messages import SAVED_ELSEWHERE
from asyncsdk.cli.edits.report import Report
from asyncsdk.cli.edits.typed import without_calls
from asyncsdk.cli.exits import Exit
from asyncsdk.cli.output import complain
from asyncsdk.cli.signals import Stop
from asyncsdk.errors import ChargeUnknownError, EditError, SaveError
from asyncsdk.files import Again, in_thread, patiently
from asyncsdk.images.billing import problem_of
from asyncsdk.images.destination import Destination
from asyncsdk.images.names import safe_name
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.images.result import EditResult, keep_raw, not_saved, saving_at
from asyncsdk.images.saving import FileWriter, Saving, destination_of, raw_folder_in, save_raw
from asyncsdk.retry import pause_after

LEAVE_SECONDS = 10.0  # for the end of a command with pictures that are paid
RESCUE_SECONDS = 3.0  # of these, for what can't be saved elsewhere at once either

Unsaved = ChargeUnknownError | SaveError


@frozen
class Saved:
    """What is on disk of an edit that is paid, and why the rest is not."""

    files: Sequence[PurePath]
    failure: Exception | None = None
    problem: Problem | None = None
    code: Exit = Exit.DONE


@define
class Rescued:
    """What is saved elsewhere of an edit, by its number in the response: everything if `is_whole`.

    `failure` is why something is in memory only.
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
        """The paths, as a message has them."""
        return ", ".join(map(str, [*self.files, *self.raw.values()]))

    def added_to(self, problem: Problem) -> Problem:
        """The edit's problem, with where its pictures are, and what is lost."""
        lines = [without_calls(problem.message)]
        if self.places:
            lines.append(f"Saved elsewhere: {self.places}")
        if self.failure is not None:
            what = "The rest" if self.places else "What came"
            lines.append(f"{what} could not be saved elsewhere either ({self.failure}): it is lost.")
            lines.append("Before you send more, make room there, or set TMPDIR to a directory on another disk.")
        return evolve(problem, message="\n  ".join(lines), raw_files=(*problem.raw_files, *self.raw.values()))


@define(eq=False)
class Rescue:
    """One temporary directory for all that a command could not save, created when it is needed.

    An edit may be tried again: what is saved of it by then is not saved twice. All edits together share one time limit
    for what may pass, such as a full disk.
    """

    _waits_since: float | None = field(default=None, init=False)
    _directory: Path | None = field(default=None, init=False)
    _making: anyio.Lock = field(factory=anyio.Lock, init=False)
    _rescued: dict[Unsaved, Rescued] = field(factory=dict, init=False)

    async def save(self, error: Unsaved, name: str, *, waits: bool = True) -> Rescued:
        """Save what is in memory of the edit `name`. Nothing is downloaded: that was tried, or it is too late."""
        rescued = self.so_far(error)

        async def again(reason: Exception) -> bool:
            rescued.failure = reason  # reported if the wait is cut short
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
        """What is saved of an edit so far."""
        return self._rescued.setdefault(error, Rescued(failure=TimeoutError("there was no time for it")))

    async def again(self, error: Exception) -> bool:
        """Whether to try once more after `error`; waits first."""
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
        """The directory, created on first use. Raises OSError if that fails and `again` waits no more."""
        async with self._making:
            if self._directory is None:
                self._directory = await patiently(partial(in_thread, _make_directory, again=again), again)
            return self._directory


@define(eq=False)
class RescueQueue:
    """The edits of a run of which something is in memory only, until each is saved elsewhere and reported."""

    report: Report
    rescue: Rescue = field(factory=Rescue, init=False)
    _waiting: dict[int, EditOutcome] = field(factory=dict, init=False)
    _scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)

    @property
    def ids(self) -> set[int]:
        """The outcomes that wait, by `id()`."""
        return set(self._waiting)

    def add(self, outcome: EditOutcome) -> None:
        """Report an edit that ended, or keep it until it is saved elsewhere."""
        if is_due(outcome.error):
            self._waiting[id(outcome)] = outcome
        else:
            self.report.add(outcome)

    async def take(self, outcome: EditOutcome) -> None:
        """Report an edit that ended. What is in memory only, such as on a full disk, is saved elsewhere first.

        What can't be is tried again at the end, when nothing else holds memory or descriptors.
        """
        self.add(outcome)
        if id(outcome) in self._waiting:
            await self._save(outcome, waits=False)

    def hurry(self) -> None:
        """Limit the rescue of what is left to RESCUE_SECONDS from now: a signal came."""
        self._scope.deadline = asyncio.get_running_loop().time() + RESCUE_SECONDS  # no task runs a signal's callback

    async def empty(self) -> None:
        """Try all once more, together, since they wait for the same; then report them, wherever they are."""
        with self._scope:
            async with tasks.group() as together:
                for outcome in self._waiting.values():
                    together.start_soon(partial(self._save, outcome, waits=True))
        for outcome in self._waiting.values():
            self._report(outcome, self.rescue.so_far(_error_of(outcome)))

    async def _save(self, outcome: EditOutcome, *, waits: bool) -> None:
        """Save and report an edit; where it can't be saved, or this is cancelled, it goes on waiting."""
        rescued = await self.rescue.save(_error_of(outcome), outcome.id, waits=waits)
        if rescued.failure is None:
            del self._waiting[id(outcome)]
            self._report(outcome, rescued)

    def _report(self, outcome: EditOutcome, rescued: Rescued) -> None:
        assert outcome.problem is not None  # noqa: S101 - for the type checker: it has an error
        if rescued.places:
            self.report.aside()
            complain(f"{outcome.id}: its pictures are saved elsewhere: {rescued.places}")
        files, problem = rescued.files or outcome.files, rescued.added_to(outcome.problem)
        if rescued.is_whole:
            problem = evolve(problem, code=SAVED_ELSEWHERE)
        self.report.add(evolve(outcome, files=files, problem=problem))


def is_due(error: Exception | None) -> bool:
    """Whether something of an edit is in memory only."""
    if isinstance(error, SaveError) and error.in_memory:
        return True
    return isinstance(error, Unsaved) and bool(_lost_raw(error))


def _error_of(outcome: EditOutcome) -> Unsaved:
    assert isinstance(outcome.error, Unsaved)  # noqa: S101 - for the type checker: `is_due` was asked
    return outcome.error


async def _save_pictures(error: Unsaved, rescued: Rescued, place: Destination, again: Again) -> Exception | None:
    """Return the first failure of the disk, after all were tried."""
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
            on_saved = partial(rescued.raw.__setitem__, number)
            await save_raw(folder, name, content, FileWriter(again=again), on_saved=on_saved)


def _lost_raw(error: Unsaved) -> tuple[bytes, ...]:
    """Everything that came in the place of images, if some of it is in no file."""
    raw = _raw_of(error)
    return raw if len(error.raw_files) < len(raw) else ()


def _raw_of(error: Unsaved) -> tuple[bytes, ...]:
    """Everything that came in the place of images, also what was not checked any more when the command was stopped."""
    result = error.result if isinstance(error, SaveError) else None
    came = () if result is None else (unreadable.raw for unreadable in result.response.unreadable)
    return tuple(filter(None, (Counter(came) | Counter(error.raw)).elements()))


def _make_directory() -> Path:
    return Path(mkdtemp(prefix="asyncsdk-paid-"))


async def save(result: EditResult, out: str, name: str, stop: Stop, *, overwrite: bool) -> Saved:
    """Save what is paid: where it was requested, else in a temporary directory. A signal ends waits and fetches."""
    place, why = destination_of(out, None, default=name), None
    saving = saving_at(result, place, is_named=bool(place.suffix), overwrite=overwrite, shielded=True)
    try:
        async with tasks.group() as group:  # so that no write is left half-way
            group.start_soon(result.save_by, saving)
    except asyncio.CancelledError:
        why = EditError("the command was stopped meanwhile")
    if saving.misnamed:
        complain(f"warning: {saving.misnamed}")
    if saving.is_whole:
        return Saved(saving.files)
    failure = not_saved(result, saving, why)
    if not is_due(failure):
        return Saved(failure.files, failure, problem_of(failure))
    rescued = await save_elsewhere(failure, name, stop)
    problem = rescued.added_to(problem_of(failure))
    if rescued.is_whole and stop.signum is None:
        complain(
            f"error: pictures that are paid could not be saved in {out} ({failure.__cause__}); "
            f"they are saved elsewhere: {rescued.places}"
        )
        return Saved(rescued.files, code=Exit.SOME_FAILED)
    return Saved(rescued.files or failure.files, SaveError(problem.message), problem)


async def keep_what_came(error: ChargeUnknownError, place: Destination, stop: Stop) -> Problem:
    """Save what came in the place of pictures next to where they were requested, else in a temporary directory."""
    if any(error.raw):
        with suppress(asyncio.CancelledError):  # a signal came: a temporary directory may need no wait
            error = await keep_raw(error, raw_folder_in(place.directory), place.name)
    if not is_due(error):
        return problem_of(error)
    return (await save_elsewhere(error, place.name, stop)).added_to(problem_of(error))


async def save_elsewhere(error: Unsaved, name: str, stop: Stop) -> Rescued:
    """Save what is in memory only in a temporary directory; after a signal there is less time for it."""
    rescue = Rescue()
    if stop.signum is None:
        with suppress(asyncio.CancelledError):
            return await rescue.save(error, name)
    with anyio.move_on_after(RESCUE_SECONDS):
        await rescue.save(error, name)
    return rescue.so_far(error)
