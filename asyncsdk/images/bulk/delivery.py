"""Delivers one paid edit of a run: pictures to disk and to the caller's `save`, records to the ledger."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from asyncsdk import tasks
from asyncsdk.errors import SaveError
from asyncsdk.files import Waiting
from asyncsdk.images.bulk.intake import PreparedEdit
from asyncsdk.images.destination import RAW, Destination
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.idempotency import EditKey
from asyncsdk.images.ledger import Ledger
from asyncsdk.images.ledger.owner import PictureOwner
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.images.result import EditResult, not_delivered, not_saved
from asyncsdk.images.saving import FileWriter, Saving
from asyncsdk.images.target import Delivery, Located, Target
from asyncsdk.retry import FULL, SCARCE, code_of, is_scarce

Save = Callable[[ImageEdit, EditResult], Awaitable[object] | object]

# the next picture would fail the same way: a directory that is gone, a disk that is full or broken, no descriptors
_DISK_FAILURES = FULL | SCARCE | {
    errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.ESTALE, errno.EIO,
}  # fmt: skip


@define(eq=False)
class ResultWriter:
    """Saves the pictures of one edit. Whatever fails, what came is kept as far as possible.

    A failure that passes is waited for; see `Rewriting` for `wait_until_alone`.
    """

    result: EditResult
    place: Destination | None
    ledger: LedgerWriter
    save: Save | None
    target: Target | None
    wait_until_alone: Callable[[Exception], Awaitable[None]]
    way: type[FileWriter] = FileWriter
    _saving: Saving = field(init=False)
    _caller_failure: Exception | None = field(default=None, init=False)
    _delivery: Delivery | None = field(default=None, init=False)
    _is_delivered: bool = field(default=False, init=False)
    _not_delivered: Exception | None = field(default=None, init=False)  # why pictures did not get to their target
    is_handed_on: bool | None = field(default=None, init=False)  # None: the caller's `save` was not called, or not yet

    def __attrs_post_init__(self) -> None:
        again = Rewriting(self.wait_until_alone).again
        self._saving = Saving(
            response=self.result.response,
            receive=self.result.receive,
            place=self.place,
            raw_folder=self.ledger.raw_folder,
            raw_name=self.ledger.name,
            if_taken="beside" if self.ledger.owner.is_shared else "move aside",
            names=self.result.edit.n or 1,
            way=self.way(self.ledger.drafts, None if self.place is None else self.place.directory, again),
            moved=self.ledger.owner.moved,
            is_anothers=self.ledger.owner.is_anothers,
            beside=self.ledger.owner.beside,
            shielded=True,
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """The pictures that are on disk so far, unless they went on to their target."""
        return self._delivery.located.files if self._has_arrived and self._delivery else self._saving.files

    @property
    def objects(self) -> tuple[str, ...]:
        """The pictures that arrived in a bucket."""
        return () if self._delivery is None else self._delivery.located.objects

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all pictures that are saved, relative to their target."""
        if self._delivery is not None:
            return self._delivery.names
        saved = () if self.place is None else self._saving.files
        return tuple(path.relative_to(self.place.directory).as_posix() for path in saved if self.place is not None)

    @property
    def displaced(self) -> Located:
        """Older pictures that were moved aside, where they are now."""
        objects = () if self._delivery is None else self._delivery.displaced.objects
        return Located(files=tuple(self._saving.displaced), objects=objects)

    @property
    def _has_arrived(self) -> bool:
        """Whether all that is saved is where it belongs."""
        return self._delivery is not None and self._is_delivered and self._not_delivered is None

    @property
    def is_usable(self) -> bool:
        """Whether the response had a picture, as far as this side knows."""
        return self.place is None or bool(self._saving.files) or self._saving.is_in_memory

    @property
    def is_lasting_failure(self) -> bool:
        """Whether the next picture can't be saved either, by the errors of the disk, the target and `save`."""
        if self._not_delivered is not None:
            return True
        failures = (self._saving.disk_failure, self._caller_failure)
        return any(code_of(failure) in _DISK_FAILURES for failure in failures)

    @property
    def doubt(self) -> SaveError | None:
        """The error where all pictures are on disk and may not survive, since a sync failed."""
        if not (self._saving.doubts and self._saving.is_whole):
            return None
        where, why = ", ".join(map(str, (*self.objects, *self.files))), self._saving.doubts[0]
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
        if await self._deliver() is not None:
            return self.failure()
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

    async def _deliver(self) -> Exception | None:
        """Bring what is saved where it belongs. Returns why not all of it got there."""
        if self.target is None or self.place is None:
            return None
        pictures = self.result.edit.n or 1
        self._delivery = self.target.delivery(self._saving.files, self.place, pictures, self.ledger.owner)
        self._not_delivered = await self._delivery.run()
        self._is_delivered = True
        return self._not_delivered

    async def settle(self) -> None:
        """All of it is recorded: what was kept until it arrived may go."""
        if self._has_arrived and self._delivery is not None:
            await self._delivery.settle()

    def end_within(self, seconds: float) -> None:
        """Wait at most `seconds` for a disk that hangs."""
        self._saving.end_within(seconds)

    def failure(self, why: Exception | None = None) -> SaveError:
        """The SaveError for the pictures that could not be saved, with the files that were."""
        if self.place is None and isinstance(why, SaveError) and why.result is self.result:
            return why  # the caller's `save` saved them by this very result
        if self.target is not None and self.target.is_elsewhere and self._saving.is_whole and not self._has_arrived:
            return not_delivered(self.result, self._saving.files, self.target.where, self._not_delivered or why)
        return not_saved(self.result, self._saving, why)


@define(eq=False)
class Rewriting:
    """How long the failures of one edit's writes are waited for.

    `wait_until_alone` is awaited before the last attempt: it returns once no other edit uses the descriptors and the
    memory that this one lacks.
    """

    _wait_until_alone: Callable[[Exception], Awaitable[None]]
    _waiting: Waiting = field(factory=Waiting, init=False)
    _is_last_attempt: bool = field(default=False, init=False)

    async def again(self, error: Exception) -> bool:
        """Whether to try once more: after a wait, and the last time once no other edit is at the server."""
        if await self._waiting.again(error):
            return True
        if self._is_last_attempt or not is_scarce(error):
            return False
        self._is_last_attempt = True
        await self._wait_until_alone(error)
        return True


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
    def owner(self) -> PictureOwner:
        """The edit, for who names its pictures."""
        item = self._prepared.item
        return PictureOwner(None, item) if self._ledger is None else self._ledger.owner(item)

    @property
    def raw_folder(self) -> Path | None:
        """The directory of what came in the place of its pictures; None: it is not kept."""
        return None if self._ledger is None else self._ledger.directory / RAW

    async def intend(self, cost: int | None = None, key: EditKey | None = None, *, again: bool = False) -> None:
        """Record that it is about to be sent, what it costs at most, and its key. Raises LedgerError.

        `again`: its answer is asked for again by that.
        """
        if self._ledger is not None and self._prepared.item is not None:
            known: Any = {"n": self._prepared.edit.n or 1, "source": self._prepared.source, "cost": cost, "key": key}
            await self._ledger.intend(self._prepared.item, id=self._prepared.name, again=again, **known)

    @property
    def may_send(self) -> bool:
        """Whether what `intend` recorded is true still."""
        return self._ledger is None or self._prepared.item is None or self._ledger.may_send(self._prepared.item)

    def release(self) -> None:
        """Record that the server did nothing for it."""
        if self._ledger is not None and self._prepared.item is not None:
            self._ledger.release(self._prepared.item)

    async def end(self, outcome: EditOutcome, names: tuple[str, ...] = (), cost: int | None = None) -> None:
        """Record how it ended, with the names of its pictures and what it cost. Raises LedgerError."""
        if self._ledger is None or self._prepared.item is None:
            return
        result = outcome.result
        await self._ledger.end(
            self._prepared.item,
            outcome.status,
            id=self._prepared.name,
            problem=outcome.problem,
            files=names,
            usage=outcome.usage,
            cost=cost,
            again=self._prepared.is_asked_again,
            images=None if result is None else len(result.images),
            request_id=None if result is None else result.request_id,
        )
