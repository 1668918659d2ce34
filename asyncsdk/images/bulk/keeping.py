"""The pictures of an edit that is paid, on their way: to the disk, and to the caller's `save`."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.errors import SaveError
from asyncsdk.images.bulk.entry import Entry
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.result import EditResult, not_saved
from asyncsdk.images.saving import Place, make_way, save_all, save_beside

Save = Callable[[ImageEdit, EditResult], Awaitable[object]]

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})  # the next picture would meet the same


@define(eq=False)
class Keeping:
    """`files` are the pictures that are on disk so far. Once `is_saved`, what fails is the caller's own."""

    result: EditResult
    place: Place | None
    entry: Entry
    save: Save | None
    files: list[Path] = field(factory=list, init=False)
    is_saved: bool = field(default=False, init=False)

    async def keep(self) -> None:
        """Save the pictures and hand them on. Raises OSError, APIError, and what the caller's `save` raises."""
        if self.place is not None:
            contents = await self.result.contents()
            with anyio.CancelScope(shield=True):
                await self._to_disk(self.place, contents)
        self.is_saved = True
        if self.save is not None:
            await tasks.others(self.save(self.result.edit, self.result))

    def failure(self, error: Exception) -> SaveError:
        """What is told where `error` kept the pictures from being kept: where they are now."""
        return not_saved(error, self.result, self.files)

    def is_out_of_room(self, error: Exception) -> bool:
        """Whether `error` says that the disk takes no more."""
        return not self.is_saved and isinstance(error, OSError) and error.errno in NO_ROOM

    async def _to_disk(self, place: Place, contents: Sequence[bytes]) -> None:
        await self.entry.moved(await make_way(place, max(self.result.edit.n or 1, len(contents))))
        try:
            await save_all(place, contents, drafts=self.entry.drafts, saved=self.files)
        except FileExistsError:  # somebody put something there meanwhile: what is paid is kept beside it
            await save_beside(place, contents, drafts=self.entry.drafts, saved=self.files)
