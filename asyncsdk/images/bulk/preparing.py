"""Looks at edits one after the other, before any is sent: pictures, rules, names, and what became of them earlier."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from pathlib import Path

from attrs import define, evolve, field, frozen

from asyncsdk import files
from asyncsdk.errors import EditError, InvalidEditError
from asyncsdk.images.bulk.equals import Equals
from asyncsdk.images.bulk.ledger import Ledger
from asyncsdk.images.bulk.standing import Policy
from asyncsdk.images.bulk.states import ItemState
from asyncsdk.images.charge import LEFT, maybe_paid, problem_of, status_of
from asyncsdk.images.check import check
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.names import Names
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.images.pictures import LoadedEdit, loaded
from asyncsdk.images.saving import Place

NUMBERED_DIGITS = 8


@frozen(kw_only=True)
class Ready:
    """An edit that is to be sent. `item` is its name in the ledger, `place` where its pictures go, if anywhere.

    `displaced` are the items of earlier edits whose pictures stand at that place and must make way.
    """

    loaded: LoadedEdit
    id: str
    item: str | None = None
    place: Place | None = None
    displaced: frozenset[str] = frozenset()

    @property
    def edit(self) -> ImageEdit:
        return self.loaded.edit


@define(eq=False, kw_only=True)
class Preparing:
    """The state of one pass over edits, in their order."""

    policy: Policy
    checked: bool
    out: Path | None = None
    ledger: Ledger | None = None
    _names: Names = field(factory=Names, init=False)
    _equals: Equals = field(init=False)
    _number: int = field(default=0, init=False)
    _postponed: list[tuple[int, ImageEdit]] = field(factory=list, init=False)
    _all_came: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._equals = Equals(self._state_of)

    async def in_turn(self, edits: AsyncIterable[ImageEdit]) -> AsyncGenerator[ImageEdit, None]:
        """`edits` as they come, and once more at the end those that `prepare` could not tell from their equals."""
        async for edit in edits:
            self._number += 1
            yield edit
        self._all_came = True
        for number, edit in self._postponed:
            self._number = number
            yield edit

    async def prepare(self, edit: ImageEdit) -> Ready | EditOutcome | None:
        """What is to be sent for the `edit` whose turn it is, or how it ended already.

        None for one that this run is not about, or that comes again at the end. Raises TypeError for what is no edit.
        """
        if not isinstance(edit, ImageEdit):
            raise TypeError(f"edits are ImageEdit values, not {type(edit).__name__}")
        number = str(self._number_of(edit))
        try:
            found = await read_and_check(edit, checked=self.checked)
        except (InvalidEditError, EditError) as error:
            return unsent(edit, edit.id or number, error)
        if self.ledger is None:
            return Ready(loaded=found, id=edit.id or number)
        digest = await files.in_thread(found.digest)
        item = self._equals.item_of(digest, edit.id, last=self._all_came)
        if item is None:
            self._postponed.append((self._number, edit))
            return None
        state = self._state_of(item)
        name = edit.id or self._free_number(number, item, state)
        verdict = self.policy.verdict(name, state)
        if verdict == "leave":
            return None
        if verdict != "send" and state is not None:
            return await self._told(edit, name, state)
        return await self._named(Ready(loaded=found, id=name, item=item, place=self._place(name)))

    def _state_of(self, item: str) -> ItemState | None:
        return None if self.ledger is None else self.ledger.state(item)

    def _free_number(self, number: str, item: str, state: ItemState | None) -> str:
        """A number names an edit until another one that stood there has it: a line more at the top shifts them all."""
        if state is not None:
            return state.id
        owner = self.ledger.owner_of(number) if self.ledger else None
        is_free = owner in {None, item} and number not in self._names
        return number if is_free else f"{number}-{item[:NUMBERED_DIGITS]}"

    def _number_of(self, edit: ImageEdit) -> int:
        """Where the edit that is looked at stands, in its source or else in the run."""
        return edit.line or self._number

    def _place_of(self, edit: ImageEdit) -> int:
        """The same as names are told of: a line, or below 0 the number in the run."""
        return edit.line or -self._number

    def _place(self, name: str) -> Place | None:
        return None if self.out is None else Place(self.out, name)

    async def _named(self, ready: Ready) -> Ready | EditOutcome:
        if ready.place is None:
            return ready
        problem = self._names.reserve(ready.id, ready.edit.n or 1, self._place_of(ready.edit))
        if problem is not None:
            return unsent(ready.edit, ready.id, InvalidEditError(problem))
        there = await files.existing(ready.place.paths(ready.edit.n or 1))
        owners = {path: self._owner_of(path, ready.place) for path in there}
        strange = [*await files.no_directories(ready.place.folders), *(path for path in there if not owners[path])]
        if strange:
            return unsent(ready.edit, ready.id, InvalidEditError(_in_the_way(strange[0], ready.id)))
        return evolve(ready, displaced=frozenset(filter(None, owners.values())) - {ready.item})

    def _owner_of(self, path: Path, place: Place) -> str | None:
        stem = path.relative_to(place.directory).with_suffix("").as_posix()
        return None if self.ledger is None else self.ledger.owner_of(stem)

    async def _told(self, edit: ImageEdit, name: str, state: ItemState) -> EditOutcome:
        done = state.status == "done"
        self._names.reserve(state.id, edit.n or 1, self._place_of(edit))
        saved = [self.out / file for file in state.files] if self.out else []
        gone = await files.gone(saved)
        return EditOutcome(
            edit=edit,
            id=name,
            status="skipped" if done else "refused" if state.status == "refused" else "uncertain",
            files=tuple(path for path in saved if path not in gone),
            usage=state.usage,
            problem=_pictures_gone(gone) if gone and done else _left() if state.status == "sent" else state.problem,
        )


def _in_the_way(path: Path, name: str) -> str:
    return (
        f"{path} is there already and was not made by these edits: it is not overwritten. "
        f"Give {name!r} another id, or another directory. Nothing was sent."
    )


def _pictures_gone(paths: Sequence[Path]) -> Problem:
    which = ", ".join(map(str, paths))
    message = (
        f"paid, but gone or empty: {which}. Put it back, or name the id for redo: it is sent again, and paid again."
    )
    return Problem(type="SaveError", message=message)


def _left() -> Problem:
    """What is said of an edit whose process ended before its answer came."""
    return problem_of(maybe_paid(EditError(LEFT)))


async def read_and_check(edit: ImageEdit, *, checked: bool) -> LoadedEdit:
    """Read an edit's pictures, and hold them and its fields against the rules. Raises InvalidEditError, EditError."""
    found = await loaded(edit)
    if checked:
        check(edit, found.images, found.mask, found.markup)
    return found


def unsent(edit: ImageEdit, name: str, error: InvalidEditError | EditError) -> EditOutcome:
    """The outcome of an edit that is not sent: refused, or failed where a later run may read its pictures."""
    return EditOutcome(edit=edit, id=name, status=status_of(error), problem=problem_of(error), error=error)
