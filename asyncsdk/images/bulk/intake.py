"""Prepares edits one after the other, before any is sent: pictures, rules, names, and what earlier runs did."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Protocol

from attrs import define, evolve, field, frozen

from asyncsdk import files
from asyncsdk.api import ImageRef
from asyncsdk.errors import EditError, InvalidEditError
from asyncsdk.given import unpacked
from asyncsdk.images.billing import ABANDONED, SENT_ELSEWHERE, charge_unknown, problem_of, status_of
from asyncsdk.images.bulk.duplicates import DuplicateMatcher, ordinal_of
from asyncsdk.images.bulk.ended import EndedPage
from asyncsdk.images.bulk.naming import Named, Naming
from asyncsdk.images.bulk.policy import Decision, Policy
from asyncsdk.images.check import check, invalid
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.destination import OWN_DIRECTORY, REPLACED, Destination
from asyncsdk.images.edit import ImageEdit, address_of
from asyncsdk.images.ledger.file import FileLedger
from asyncsdk.images.ledger.states import ItemState
from asyncsdk.images.names import safe_name, why_refused
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.images.pictures import LoadedEdit, Overlays, converted, loaded
from asyncsdk.images.target import Located, Target
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.suggestions import warn_of_near_misses
from asyncsdk.threads import NoThreadError

_IN_A_BATCH = (
    "it is in a batch that has not ended: nothing else was sent. A run of batches with this ledger collects it."
)


@frozen(kw_only=True)
class PreparedEdit:
    """An edit that is to be sent. `item` is its key in the ledger, `place` where its pictures go, if anywhere.

    `id` is the caller's name for it, and `name` that of its pictures. `source` is a digest of where its first picture
    comes from. `moves_anothers`: pictures of another edit, such as of an earlier prompt, are moved aside for its own.
    `is_in_redo`: the caller named it to be sent again. `before` is how the ledger has it, and `is_asked_again`: its
    answer was lost, and is asked for again by its key, which is made of `keyed_by`, else of `item`. `ordinal` is its
    number among equal ones, from 0. `most` is what it counts with, in a run of batches.
    """

    loaded: LoadedEdit
    id: str
    name: str
    source: str | None = None
    item: str | None = None
    place: Destination | None = None
    moves_anothers: bool = False
    is_in_redo: bool = False
    ordinal: int = 0
    before: ItemState | None = None
    is_asked_again: bool = False
    most: int | None = None
    keyed_by: str | None = None

    @property
    def edit(self) -> ImageEdit:
        return self.loaded.edit

    @property
    def is_equal_to_another(self) -> bool:
        """Whether it is not the first with these pictures and fields."""
        return self.ordinal > 0


@frozen(kw_only=True)
class BatchedEdit(EditOutcome):
    """An edit that is in a batch: for a run of batches it is yet to end.

    `item` is its key in the ledger, and `state` what that has of it.
    """

    item: str
    state: ItemState

    @classmethod
    def of(cls, edit: ImageEdit, edit_id: str, item: str, state: ItemState) -> BatchedEdit:
        problem = Problem(type="EditError", message=_IN_A_BATCH)
        return cls(edit=edit, id=edit_id, status="batched", item=item, state=state, problem=problem)


class EditIntake(Protocol):
    """One pass over the edits of a run, as the run sees it."""

    policy: Policy
    target: Target | None
    stores: RemoteStores
    before_wait: Callable[[], Awaitable[None]] | None  # called before it waits for edits that other processes have
    more_room: Callable[[], Awaitable[bool]] | None  # waits for room under a limit in dollars; False: none will be

    def in_turn(self, edits: AsyncIterable[ImageEdit]) -> AsyncGenerator[ImageEdit | EndedPage, None]:
        """Those of `edits` that are this run's, each of which `prepare` takes next, and pages of others that ended."""

    async def prepare(self, edit: ImageEdit) -> PreparedEdit | EditOutcome | None:
        """The `edit` that `in_turn` gave last, ready to be sent, or how it ended already; None: it is left out."""

    async def ready(self, prepared: PreparedEdit) -> PreparedEdit | EditOutcome:
        """The edit with its pictures as they are sent, or how it ended where one can't be converted."""

    def lost(self, prepared: PreparedEdit) -> None:
        """Another process has the edit now, and nothing of it was sent here."""


@define(eq=False, kw_only=True)
class Intake:
    """One pass over the edits of a run, in their order."""

    policy: Policy
    checked: bool
    target: Target | None = None
    ledger: FileLedger | None = None
    pricing: Pricing | None = None
    stores: RemoteStores = field(factory=RemoteStores)
    before_wait: Callable[[], Awaitable[None]] | None = None
    more_room: Callable[[], Awaitable[bool]] | None = None
    _overlays: Overlays = field(factory=dict, init=False)
    _naming: Naming = field(init=False)
    _duplicates: DuplicateMatcher = field(init=False)
    _number: int = field(default=0, init=False)
    _postponed: list[tuple[int, ImageEdit]] = field(factory=list, init=False)
    _all_came: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._naming, self._duplicates = Naming(self._owner_of, self._state_of), DuplicateMatcher(self._state_of)

    async def in_turn(self, edits: AsyncIterable[ImageEdit]) -> AsyncGenerator[ImageEdit | EndedPage, None]:
        """`edits` as they come, and at the end again those that `prepare` could not tell from their duplicates."""
        async for edit in edits:
            self._number += 1
            yield edit
        self._all_came = True
        for number, edit in self._postponed:
            self._number = number
            yield edit

    async def prepare(self, edit: ImageEdit) -> PreparedEdit | EditOutcome | None:
        """The `edit` that `in_turn` gave last, ready to be sent, or how it ended already.

        None for one that is outside this run's filter, or that comes again at the end. Raises TypeError for what is
        not an edit, EditError where the system has no thread to read it.
        """
        if not isinstance(edit, ImageEdit):
            raise TypeError(f"edits are ImageEdit values, not {type(edit).__name__}")
        with thread_errors_typed():
            return await self._prepared(edit)

    async def ready(self, prepared: PreparedEdit) -> PreparedEdit | EditOutcome:
        """The edit with its pictures as they are sent, or how it ended where one can't be converted."""
        return await with_pictures_as_sent(prepared, checked=self.checked)

    def lost(self, prepared: PreparedEdit) -> None:
        """Never: all that is in a ledger in files is its one process's."""

    async def _prepared(self, edit: ImageEdit) -> PreparedEdit | EditOutcome | None:
        named = Named(edit, str(edit.line or self._number), source_of(edit))
        try:
            loaded_edit = await read_and_check(edit, checked=self.checked, stores=self.stores, overlays=self._overlays)
        except (InvalidEditError, EditError) as error:
            return self._within_filter(unsent(edit, self._id_of_unread(named), error), named)
        if self.ledger is None:
            if (wrong := self._refusal(loaded_edit)) is not None:
                return self._within_filter(unsent(edit, named.preferred, wrong), named)
            return PreparedEdit(loaded=loaded_edit, id=named.preferred, name=named.preferred)
        digest = await files.in_thread(loaded_edit.digest)
        item = self._duplicates.item_of(digest, edit.id or edit.name, last=self._all_came)
        if item is None:
            self._postponed.append((self._number, edit))
            return None
        state = self._state_of(item)
        named = evolve(named, pictures=edit.n or 1, item=item, state=state)
        edit_id = named.called or self._naming.free(named)
        is_in_redo = self._is_in_redo(edit_id, named)
        decision = self.policy.decide(edit_id, state, is_in_redo=is_in_redo, maybe_paid=bool(edit.maybe_paid))
        if decision == "leave":
            return None
        if decision not in {"send", "ask again"} and state is not None:
            return await self._passed_over(named, edit_id, decision)
        if decision == "uncertain":
            return EditOutcome(edit=edit, id=edit_id, status="uncertain", problem=SENT_ELSEWHERE)
        if (wrong := self._refusal(loaded_edit, decision)) is not None:
            return unsent(edit, self._id_of_unread(named), wrong)
        prepared = await self._reserve_names(loaded_edit, named)
        if not isinstance(prepared, PreparedEdit):
            return prepared
        return evolve(prepared, is_in_redo=is_in_redo, before=state, is_asked_again=decision == "ask again")

    async def _passed_over(self, named: Named, edit_id: str, decision: Decision) -> EditOutcome:
        edit, state = named.edit, named.state
        assert state is not None and named.item is not None  # noqa: S101, PT018 - for the type checker: it is known
        if decision != "batched":
            return await self._skip(edit, edit_id, state)
        self._naming.names.reserve(state.id, edit.n or 1, self._place_of(edit))
        return BatchedEdit.of(edit, edit_id, named.item, state)

    def _refusal(self, loaded_edit: LoadedEdit, decision: Decision = "send") -> InvalidEditError | EditError | None:
        """Why an edit that was read is not sent; what is asked for again counts already, and needs no price."""
        if loaded_edit.error is not None or self.pricing is None or decision == "ask again":
            return loaded_edit.error
        return self.pricing.refusal(loaded_edit.edit)

    def _within_filter(self, unread: EditOutcome, named: Named) -> EditOutcome | None:
        """How an edit that can't be read ended; None if the run is about others. To the ledger it is new."""
        is_in_redo, statuses = self._is_in_redo(unread.id, named), (unread.status, "new")
        return unread if any(self.policy.takes(each, is_in_redo=is_in_redo) for each in statuses) else None

    def _is_in_redo(self, edit_id: str, named: Named) -> bool:
        """Whether the caller named it to be sent again, also by the id of an earlier edit of the same picture."""
        return bool(self.policy.redo) and not self.policy.redo.isdisjoint({edit_id, self._naming.earlier(named)})

    def _state_of(self, item: str) -> ItemState | None:
        return None if self.ledger is None else self.ledger.state(item)

    def _place_of(self, edit: ImageEdit) -> int:
        """The same as `Names.reserve` takes it: a line, or the number in the run as a negative number."""
        return edit.line or -self._number

    def _id_of_unread(self, named: Named) -> str:
        """The id of an edit that can't be read: its own, unless another edit of this run has that."""
        written = named.edit.id
        return self._reserve_free(named) if not written or written in self._naming else written

    def _reserve_free(self, named: Named) -> str:
        """Reserve a name that no other edit has."""
        if self.ledger is None:
            return named.preferred
        name = self._naming.free(named)
        self._naming.names.reserve(name, named.pictures, self._place_of(named.edit))
        return name

    async def _reserve_names(self, loaded_edit: LoadedEdit, named: Named) -> PreparedEdit | EditOutcome:
        """The edit with its place, unless its id or a file on the disk prevents it."""
        edit = named.edit
        name = edit.id or self._naming.free(named)
        ordinal = 0 if named.item is None else ordinal_of(named.item)
        ready = PreparedEdit(
            loaded=loaded_edit, id=name, name=name, item=named.item, source=named.source, ordinal=ordinal
        )
        if self.target is None:
            return ready
        problem = self._naming.names.reserve(name, named.pictures, self._place_of(edit))
        if problem is not None:
            reason = why_refused(name, "with a name that is not free")
            return unsent(edit, self._reserve_free(named), invalid(problem, reason))
        place = Destination(self.target.directory, safe_name(name))
        owners = await self._owners_at(self.target, place, named.pictures)
        if any(owner is not None and self._naming.is_another(owner, named) for owner in owners.values()):
            name = self._reserve_free(named)
            place = Destination(self.target.directory, safe_name(name))
            owners = await self._owners_at(self.target, place, named.pictures)
        strange = [*await self.target.blocked(place), *(taken for taken in owners if not owners[taken])]
        if strange:
            where = self.target.shown(strange[0])
            return unsent(edit, ready.id, invalid(_in_the_way(where, ready.id), "with a file in the way"))
        moves_anothers = any(owner != named.item for owner in owners.values())
        return evolve(ready, name=name, place=place, moves_anothers=moves_anothers)

    async def _owners_at(self, target: Target, place: Destination, pictures: int) -> dict[str, str | None]:
        """The pictures at a place, each with the item that it belongs to, None if it does not belong to any."""
        there = await target.existing(place.names(pictures))
        return {name: self._owner_of(name.rpartition(".")[0]) for name in there}

    def _owner_of(self, stem: str) -> str | None:
        return None if self.ledger is None else self.ledger.owner_of(stem)

    async def _skip(self, edit: ImageEdit, name: str, state: ItemState) -> EditOutcome:
        is_done = state.status == "done"
        self._naming.names.reserve(state.id, edit.n or 1, self._place_of(edit))
        gone = [] if self.target is None else await self.target.gone(state.files)
        kept = [file for file in state.files if file not in gone]
        located = Located() if self.target is None else self.target.located(kept)
        return EditOutcome(
            edit=edit,
            id=name,
            status="skipped" if is_done else "refused" if state.status == "refused" else "uncertain",
            files=located.files,
            objects=located.objects,
            is_earlier=True,
            is_replaced=is_done and any(map(_is_aside, state.files)),
            usage=state.usage,
            cost=state.dollars,
            problem=_problem_of_earlier(state, [] if self.target is None else list(map(self.target.shown, gone))),
        )


@contextmanager
def thread_errors_typed() -> Iterator[None]:
    """Raise EditError where the system has no thread, after waiting for one: nothing is wrong with the edit."""
    try:
        yield
    except NoThreadError as error:
        failure = EditError(f"no thread can be had ({error.strerror}). Nothing was sent. The same call tries again.")
        failure.resumable = True
        raise failure from error


def source_of(edit: ImageEdit) -> str | None:
    """A digest of where the first picture comes from: a path, or a reference. None for bytes."""
    picture = edit.image[0] if edit.image else None
    where = (picture.file_id or picture.image_url) if isinstance(picture, ImageRef) else _path_of(picture)
    return where and hashlib.blake2b(where.encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _path_of(given: object) -> str | None:
    picture = unpacked(given).content
    address = address_of(picture)
    if address is not None:
        return address.shown  # without the signature, which is another each time
    name = picture if isinstance(picture, str | os.PathLike) else getattr(picture, "name", None)
    try:
        if isinstance(name, str | os.PathLike):
            return os.path.abspath(os.fsdecode(name))  # noqa: PTH100 - resolved, two links would be one picture
    except OSError:  # the working directory is gone, and with it the picture
        pass
    return None


def _problem_of_earlier(state: ItemState, gone: Sequence[str]) -> Problem | None:
    """What is wrong with an edit of an earlier run, pictures of which are `gone`."""
    is_cut_short = state.status == "uncertain" and state.problem is None  # some of its pictures were recovered
    if gone and (state.status == "done" or is_cut_short):
        return _pictures_gone(gone)
    if state.status == "sent" or is_cut_short:  # its process ended before the response came, or was saved
        return problem_of(charge_unknown(EditError(ABANDONED)))
    return state.problem


def _is_aside(file: str) -> bool:
    return PurePath(file).is_relative_to(PurePath(OWN_DIRECTORY, REPLACED))


def _in_the_way(where: str, name: str) -> str:
    return (
        f"{where} is there already and was not made by these edits: it is not overwritten. "
        f"Give {name!r} another id, or another directory. Nothing was sent."
    )


def _pictures_gone(places: Sequence[str]) -> Problem:
    which = ", ".join(places)
    message = (
        f"paid, but its file is gone or empty: {which}. Put the file back, or name the id in redo to send and pay it "
        "again."
    )
    return Problem(type="SaveError", message=message)


async def read_and_check(
    edit: ImageEdit, *, checked: bool, stores: RemoteStores | None = None, overlays: Overlays | None = None
) -> LoadedEdit:
    """Read an edit's pictures, and check them and its fields, unless its `error` says that it can't be sent.

    `stores` and `overlays` are as for `loaded`. Raises InvalidEditError, EditError.
    """
    loaded_edit = await loaded(edit, stores, overlays)
    if checked and loaded_edit.error is None:
        check(edit, loaded_edit.images, loaded_edit.mask, loaded_edit.markup)
    warn_of_near_misses(edit.options)  # of what is sent all the same
    return loaded_edit


async def as_sent(loaded_edit: LoadedEdit, *, checked: bool) -> LoadedEdit:
    """The edit with HEIC pictures converted, and checked again if any was. Raises InvalidEditError, EditError."""
    if loaded_edit.error is not None:
        raise loaded_edit.error
    sent = await converted(loaded_edit)
    if checked and sent is not loaded_edit:
        check(sent.edit, sent.images, sent.mask, sent.markup)
    return sent


async def with_pictures_as_sent(prepared: PreparedEdit, *, checked: bool) -> PreparedEdit | EditOutcome:
    """The edit with HEIC pictures converted, or how it ended where one can't be."""
    if not prepared.loaded.has_heic:
        return prepared
    try:
        with thread_errors_typed():
            return evolve(prepared, loaded=await as_sent(prepared.loaded, checked=checked))
    except (InvalidEditError, EditError) as error:
        return unsent(prepared.edit, prepared.id, error)


def unsent(edit: ImageEdit, name: str, error: InvalidEditError | EditError) -> EditOutcome:
    """The outcome of an edit that is not sent: refused, or failed where a later run may read its pictures."""
    return EditOutcome(edit=edit, id=name, status=status_of(error), problem=problem_of(error), error=error)
