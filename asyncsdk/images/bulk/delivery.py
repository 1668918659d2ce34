"""Delivers one paid edit of a run: pictures to disk and to the caller's `save`, records to the ledger."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import define, field, frozen

from asyncsdk import tasks
from asyncsdk.errors import LedgerError, SaveError
from asyncsdk.files import Waiting
from asyncsdk.images.bulk.intake import PreparedEdit
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.file import Ledger
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.images.result import EditResult, not_saved
from asyncsdk.images.saving import RAW, Destination, FileWriter, Saving
from asyncsdk.retry import FULL, SCARCE, code_of, is_scarce

Save = Callable[[ImageEdit, EditResult], Awaitable[object] | object]

# the next picture would fail the same way: a directory that is gone, a disk that is full or broken, no descriptors
_DISK_FAILURES = FULL | SCARCE | {
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.ESTALE, errno.EIO,
}  # fmt: skip


@define(eq=False)
class ResultWriter:
    """Saves the pictures of one edit. Whatever fails, what came is kept as far as possible.

    A failure that passes is waited for. `wait_until_alone` is awaited before the last attempt: it returns once no other
    edit uses the descriptors and the memory that this one lacks.
    """

    result: EditResult
    place: Destination | None
    ledger: LedgerWriter
    save: Save | None
    wait_until_alone: Callable[[Exception], Awaitable[None]]
    _saving: Saving = field(init=False)
    _waiting: Waiting = field(factory=Waiting, init=False)
    _is_last_attempt: bool = field(default=False, init=False)
    _caller_failure: Exception | None = field(default=None, init=False)
    is_handed_on: bool | None = field(default=None, init=False)  # None: the caller's `save` was not called, or not yet

    def __attrs_post_init__(self) -> None:
        self._saving = Saving(
            response=self.result.response,
            receive=self.result.receive,
            place=self.place,
            raw_folder=self.ledger.raw_folder,
            raw_name=self.ledger.name,
            if_taken="move aside",
            names=self.result.edit.n or 1,
            way=FileWriter(self.ledger.drafts, None if self.place is None else self.place.directory, self._again),
            moved=self.ledger.moved,
            is_anothers=self.ledger.is_anothers,
            shielded=True,
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """The pictures that are on disk so far."""
        return self._saving.files

    @property
    def displaced(self) -> tuple[Path, ...]:
        """Older pictures that were moved aside, where they are now."""
        return tuple(self._saving.displaced)

    @property
    def is_usable(self) -> bool:
        """Whether the response had a picture, as far as this side knows."""
        return self.place is None or bool(self.files) or self._saving.is_in_memory

    @property
    def is_disk_failure(self) -> bool:
        """Whether the next picture can't be saved either, by the errors of the disk and of the caller's `save`."""
        failures = (self._saving.disk_failure, self._caller_failure)
        return any(code_of(failure) in _DISK_FAILURES for failure in failures)

    @property
    def doubt(self) -> SaveError | None:
        """The error where all pictures are on disk and may not survive, since a sync failed."""
        if not (self._saving.doubts and self._saving.is_whole):
            return None
        where, why = ", ".join(map(str, self.files)), self._saving.doubts[0]
        failure = SaveError(
            f"the edit is done, paid and saved ({where}), but the disk failed ({why.strerror}): a power cut "
            "may lose it. Nothing more was sent. Copy the pictures elsewhere, and check the disk."
        )
        failure.__cause__, failure.result, failure.files = why, self.result, self.files
        return failure

    async def keep(self) -> SaveError | None:
        """Save the pictures, then call `save` if all are saved or the caller saves them. Returns what went wrong."""
        if self.place is None and self.save is None:  # the caller takes them from the outcome
            return None
        await self.result.save_by(self._saving)
        if self.save is not None and (self.place is None or self._saving.is_whole):
            try:
                saving = self.save(self.result.edit, self.result)
                if inspect.isawaitable(saving):  # an ordinary function has saved it by now
                    await tasks.await_foreign(saving)
            except Exception as error:  # noqa: BLE001 - a caller's `save` may raise anything
                self._caller_failure, self.is_handed_on = error, False
                return self.failure(error)
            self.is_handed_on = True
        return None if self._saving.is_whole else self.failure()

    def end_within(self, seconds: float) -> None:
        """Wait at most `seconds` for a disk that hangs."""
        self._saving.end_within(seconds)

    async def _again(self, error: Exception) -> bool:
        """Whether to try once more: after a wait, and the last time once no other edit is at the server."""
        if await self._waiting.again(error):
            return True
        if self._is_last_attempt or not is_scarce(error):
            return False
        self._is_last_attempt = True
        await self.wait_until_alone(error)
        return True

    def failure(self, why: Exception | None = None) -> SaveError:
        """The SaveError for the pictures that could not be saved, with the files that were."""
        if self.place is None and isinstance(why, SaveError) and why.result is self.result:
            return why  # the caller's `save` saved them by this very result
        return not_saved(self.result, self._saving, why)


@frozen
class LedgerWriter:
    """Writes one edit's ledger records; does nothing without a ledger."""

    _ledger: Ledger | None
    _prepared: PreparedEdit

    @property
    def drafts(self) -> Path | None:
        """The directory for pictures until they are whole; None for beside their place."""
        if self._ledger is None or self._prepared.place is None:
            return None
        return self._ledger.drafts_for(self._prepared.place.directory)

    @property
    def name(self) -> str:
        """The caller's name for the edit."""
        return self._prepared.id

    @property
    def raw_folder(self) -> Path | None:
        """The directory of what came in the place of its pictures; None: it is not kept."""
        return None if self._ledger is None else self._ledger.directory / RAW

    async def intend(self) -> None:
        """Record that it is about to be sent. Raises LedgerError."""
        if self._ledger is not None and self._prepared.item is not None:
            await self._ledger.intend(
                self._prepared.item, id=self._prepared.name, n=self._prepared.edit.n or 1, source=self._prepared.source
            )

    def release(self) -> None:
        """Record that the server did nothing for it."""
        if self._ledger is not None and self._prepared.item is not None:
            self._ledger.release(self._prepared.item)

    def is_anothers(self, stem: str) -> bool:
        """Whether a picture of this name, relative to the directory and without suffix, may be another edit's."""
        return self._owner_of(stem) not in {None, self._prepared.item}

    async def moved(self, files: Mapping[str, str]) -> None:
        """Record which pictures of other edits were moved aside for its own, from where to where."""
        owners = {was: self._owner_of(was.rpartition(".")[0]) for was in files}
        for item in dict.fromkeys(owners.values()):
            if self._ledger is not None and item is not None and item != self._prepared.item:
                with suppress(LedgerError):  # `end` raises it too; the pictures are saved first
                    await self._ledger.moved(item, {was: now for was, now in files.items() if owners[was] == item})

    def _owner_of(self, stem: str) -> str | None:
        return None if self._ledger is None else self._ledger.owner_of(stem)

    async def end(self, outcome: EditOutcome) -> None:
        """Record how it ended. Raises LedgerError."""
        if self._ledger is None or self._prepared.item is None:
            return
        place, result = self._prepared.place, outcome.result
        await self._ledger.end(
            self._prepared.item,
            outcome.status,
            id=self._prepared.name,
            problem=outcome.problem,
            files=tuple(path.relative_to(place.directory).as_posix() for path in outcome.files) if place else (),
            usage=outcome.usage,
            images=None if result is None else len(result.images),
            request_id=None if result is None else result.request_id,
        )
