"""Saves in a temporary directory what is paid and could not be saved where it was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePath
from tempfile import mkdtemp

from attrs import define, field, frozen

from asyncsdk.errors import AsyncSDKError, ChargeUnknownError, SaveError
from asyncsdk.files import Waiting, in_thread, patiently
from asyncsdk.images.result import EditResult, keep_raw
from asyncsdk.images.saving import raw_folder_in


@frozen
class Rescued:
    """What is on disk elsewhere, and what failed there too."""

    files: Sequence[PurePath] = ()
    raw_files: Sequence[PurePath] = ()
    failure: Exception | None = None

    @property
    def places(self) -> str:
        """Where it is, in words."""
        return ", ".join(map(str, [*self.files, *self.raw_files]))


@define(eq=False)
class Rescue:
    """One directory for all that a command could not save, made once it is needed."""

    _directory: Path | None = field(default=None, init=False)

    async def save(self, result: EditResult, *, name: str | None = None) -> Rescued:
        """Save whatever can be saved of an edit that is paid."""
        try:
            return Rescued(await result.save(await self.directory(), name=name, overwrite=name is not None))
        except SaveError as error:
            return Rescued(error.files, error.raw_files, error)
        except OSError as error:
            return Rescued(failure=error)

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
        return len(error.raw_files) < sum(map(bool, error.raw))
    cause = error.__cause__ if isinstance(error, SaveError) else None
    return cause is not None and not isinstance(cause, AsyncSDKError)
