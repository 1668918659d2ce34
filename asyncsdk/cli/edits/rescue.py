"""Saves in a temporary directory what is paid and could not be saved where it was wanted."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from attrs import define, evolve, field, frozen

from asyncsdk.errors import AsyncSDKError, ChargeUnknownError, SaveError
from asyncsdk.files import Waiting, in_thread, patiently
from asyncsdk.images.names import safe_name
from asyncsdk.images.outcome import Problem
from asyncsdk.images.result import EditResult, keep_raw
from asyncsdk.images.saving import Place, Saving, raw_folder_in
from asyncsdk.models import UnreadableImage


@frozen
class Rescued:
    """What is on disk elsewhere: all of the edit if it `is_whole`. `failure` is what that disk did not take either."""

    files: tuple[Path, ...] = ()
    raw_files: tuple[Path, ...] = ()
    is_whole: bool = False
    failure: Exception | None = None

    @property
    def places(self) -> str:
        """Where it is, in words."""
        return ", ".join(map(str, [*self.files, *self.raw_files]))

    def added_to(self, problem: Problem) -> Problem:
        """The edit's problem, with where it is."""
        message = f"{problem.message}\n  Saved elsewhere: {self.places}"
        return evolve(problem, message=message, raw_files=(*problem.raw_files, *self.raw_files))


@define(eq=False)
class Rescue:
    """One directory for all that a command could not save, made once it is needed."""

    _directory: Path | None = field(default=None, init=False)

    async def save(self, error: SaveError, result: EditResult, name: str) -> Rescued:
        """Save what is in memory of an edit that is paid; nothing is fetched, for that was tried or is too late."""
        try:
            directory = await self.directory()
        except OSError as failure:
            return Rescued(failure=failure)
        raw = error.raw if is_raw_lost(error) else ()
        saving = Saving(
            response=evolve(
                result.response, unreadable=tuple(UnreadableImage(raw=content, reason="") for content in raw)
            ),
            receive=None,
            place=Place(directory, safe_name(name)),
            raw_folder=raw_folder_in(directory),
            raw_name=name,
            if_taken="overwrite",  # only a try of ours for this very edit can have been here
            shielded=True,
        )
        await saving.run()
        is_whole = saving.is_whole and not error.raw
        return Rescued(saving.files, tuple(saving.raw_files), is_whole, saving.disk_failure)

    async def keep_raw(self, error: ChargeUnknownError, name: str) -> ChargeUnknownError:
        """Save what came in the place of images, and return the error with where that is."""
        try:
            return await keep_raw(error, raw_folder_in(await self.directory()), name)
        except OSError:
            return error

    @property
    def is_used(self) -> bool:
        """Whether the directory was made."""
        return self._directory is not None

    async def directory(self) -> Path:
        """Where it all goes. Raises OSError where it can't be made."""
        if self._directory is None:
            self._directory = await patiently(partial(in_thread, _make_directory), Waiting().again)
        return self._directory


def _make_directory() -> Path:
    return Path(mkdtemp(prefix="asyncsdk-paid-"))


def is_due(error: Exception | None) -> bool:
    """Whether the disk did not take something that came, so that it is in memory only."""
    if isinstance(error, ChargeUnknownError):
        return is_raw_lost(error)
    cause = error.__cause__ if isinstance(error, SaveError) else None
    return cause is not None and not isinstance(cause, AsyncSDKError)


def is_raw_lost(error: ChargeUnknownError | SaveError) -> bool:
    """Whether some of what came in the place of images is in no file."""
    return len(error.raw_files) < sum(map(bool, error.raw))
