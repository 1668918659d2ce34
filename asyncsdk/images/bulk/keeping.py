"""The pictures of an edit that is paid, on their way: to the disk, and to the caller's `save`."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

from attrs import define, field

from asyncsdk import tasks
from asyncsdk.errors import SaveError
from asyncsdk.images.bulk.entry import Entry
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.result import EditResult, not_saved
from asyncsdk.images.saving import Place, Saving

Save = Callable[[ImageEdit, EditResult], Awaitable[object]]

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})  # the next picture would meet the same


@define(eq=False)
class Keeping:
    """Whatever fails, what came is kept as far as that goes, and `failure` says where."""

    result: EditResult
    place: Place | None
    entry: Entry
    save: Save | None
    _saving: Saving = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._saving = Saving(
            response=self.result.response,
            receive=self.result.receive,
            place=self.place,
            raw_folder=self.entry.raw_folder,
            raw_name=self.entry.name,
            if_taken="make way",
            names=self.result.edit.n or 1,
            drafts=self.entry.drafts,
            moved=self.entry.moved,
            shielded=True,
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """The pictures that are on disk so far."""
        return self._saving.files

    @property
    def is_usable(self) -> bool:
        """Whether the response brought a picture, as far as this side knows."""
        return self.place is None or bool(self.files) or self._saving.is_in_memory

    @property
    def is_out_of_room(self) -> bool:
        """Whether the disk takes nothing more."""
        failure = self._saving.disk_failure
        return isinstance(failure, OSError) and failure.errno in NO_ROOM

    async def keep(self) -> SaveError | None:
        """Save the pictures; hand them on if they are whole, or kept by the caller alone. Returns what went wrong."""
        if self.place is None and self.save is None:  # the caller takes them from the outcome
            return None
        await self.result.save_by(self._saving)
        if self.save is not None and (self.place is None or self._saving.is_whole):
            try:
                await tasks.others(self.save(self.result.edit, self.result))
            except Exception as error:  # noqa: BLE001 - a caller's `save` raises what it likes
                return self.failure(error)
        return None if self._saving.is_whole else self.failure()

    def failure(self, why: Exception | None = None) -> SaveError:
        """The error of an edit whose pictures are not all kept, with where each is now."""
        if self.place is None and isinstance(why, SaveError) and why.result is self.result:
            return why  # the caller's `save` saved them by this very result
        return not_saved(self.result, self._saving, why)
