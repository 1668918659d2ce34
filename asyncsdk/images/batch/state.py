"""What the batches of one call share: its edits, how far each batch is, where outcomes go, and whether it is left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import anyio
from anyio.abc import ObjectSendStream
from attrs import define, evolve, field

from asyncsdk.errors import EditError
from asyncsdk.images.batch.memory import BatchMemory
from asyncsdk.images.batch.options import BatchOptions
from asyncsdk.images.batch.progress import BatchProgress
from asyncsdk.images.batch.sending import BatchSender
from asyncsdk.images.bulk.intake import BatchedEdit, PreparedEdit, unsent
from asyncsdk.images.bulk.run import BulkRun
from asyncsdk.images.destination import Destination
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.book import BatchRecord
from asyncsdk.images.ledger.states import ItemState, State
from asyncsdk.images.names import safe_name
from asyncsdk.images.outcome import EditOutcome, Status
from asyncsdk.images.pictures import LoadedEdit
from asyncsdk.images.target import Target
from asyncsdk.models import Usage, add


@define(eq=False, kw_only=True)
class BatchCall:
    """The state of one call. `outcomes` takes how edits end, as they do.

    `edits` are those in batches, by item, `given` those of them whose outcomes were given; `again` those that are to be
    put into others, with how often they were cut again; `under_way` counts batches that are brought to their ends.
    """

    run: BulkRun
    memory: BatchMemory
    target: Target
    options: BatchOptions
    sender: BatchSender
    outcomes: ObjectSendStream[EditOutcome]
    edits: dict[str, PreparedEdit] = field(factory=dict, init=False)
    again: list[tuple[PreparedEdit, int]] = field(factory=list, init=False)
    given: set[str] = field(factory=set, init=False)
    progress: dict[str, BatchProgress] = field(factory=dict, init=False)  # by our key of the batch
    under_way: int = field(default=0, init=False)
    reading: anyio.Lock = field(factory=anyio.Lock, init=False)  # one batch is read at a time
    changes: int = field(default=0, init=False)  # batches that ended, and edits that are on their way no more
    _all_came: anyio.Event = field(factory=anyio.Event, init=False)
    _leaving: anyio.Event = field(factory=anyio.Event, init=False)
    _changed: anyio.Event = field(factory=anyio.Event, init=False)

    @property
    def is_left(self) -> bool:
        """Whether nothing more is sent, and no batch is waited for."""
        return self._leaving.is_set()

    def leave(self) -> None:
        """Send nothing more, and wait for no batch."""
        self._leaving.set()
        self.change()

    def halt(self, error: Exception) -> None:
        """Leave for a reason, which is raised to the caller at the end."""
        self.run.halt(error)
        self.leave()

    async def give(self, outcome: EditOutcome) -> None:
        """An edit ended."""
        self.run.ended(outcome)
        await self.outcomes.send(outcome)

    def cost(self, record: BatchRecord, edit: ImageEdit, usage: Usage | None) -> int | None:
        """What an edit of a batch cost, in billionths of a dollar; None where that is not known."""
        pricing = self.run.pricing
        return None if pricing is None else pricing.cost(evolve(edit, model=record.model), usage, batched=True)

    async def recorded(
        self, record: BatchRecord, item: str, outcome: EditOutcome, pictures: int, *, most: int | None, was: State
    ) -> None:
        """An edit of a batch is recorded, which counted with `most`.

        `was`: its status before, by another line or without one.
        """
        before = self.progress[record.key]
        self.progress[record.key] = evolve(before, recorded=min(before.recorded + 1, record.edits))
        self.run.images_made += pictures
        self.run.usage = add([self.run.usage, outcome.usage or Usage()])
        self.run.limits.spend(outcome.usage)
        if was == "uncertain":
            self.run.limits.ask_again(most)
        elif was in {"failed", "refused"}:  # it counted no more
            self.run.limits.count(most)
        if outcome.status in {"failed", "refused"}:
            self.run.limits.take_back(most)
        else:
            self.run.settle(most, self.cost(record, outcome.edit, outcome.usage), outcome.usage)
        if item in self.edits:
            self.given.add(item)
            await self.give(outcome)

    async def turn_away(self, prepared: PreparedEdit, outcome: EditOutcome) -> None:
        """An edit that counted is in no batch: it counts no more, and is others'."""
        self.edits.pop(prepared.item or "", None)
        self.run.limits.take_back(prepared.most)
        await self.memory.give_back([prepared.item or ""])
        await self.give(outcome)
        self.change()

    async def report(self, items: Iterable[str]) -> None:
        """Edits of this call are another process's, and perhaps ended there."""
        mine = [item for item in items if item in self.edits]
        states = await self.memory.states(mine)
        for item in mine:
            prepared, state = self.edits.pop(item, None), states.get(item)
            if prepared is None:  # it was given meanwhile
                continue
            if state is None or (state.status == "failed" and state.problem is None):  # as before its batch
                await self.give(unsent(prepared.edit, prepared.id, _elsewhere()))
                continue
            status: Status = "skipped" if state.status == "done" else "failed"
            status = state.status if state.status in {"refused", "uncertain", "batched"} else status
            located = self.target.located(state.files)
            await self.give(
                EditOutcome(
                    edit=prepared.edit,
                    id=prepared.id,
                    status=status,
                    files=located.files,
                    objects=located.objects,
                    usage=state.usage,
                    cost=state.dollars,
                    problem=state.problem,
                )
            )

    async def report_rest(self) -> None:
        """All batches have ended, or are left: what is said of no edit yet came late, or another process has it."""
        await self.report([item for item in self.edits if item not in self.given])

    def know(self, outcome: BatchedEdit) -> None:
        """An edit of this call is in a batch already."""
        prepared = self.prepared_of(outcome.item, outcome.state)
        self.edits[outcome.item] = evolve(prepared, id=outcome.id, loaded=LoadedEdit(edit=outcome.edit, images=()))

    def prepared_of(self, item: str, state: ItemState) -> PreparedEdit:
        """An edit that is in a batch; one that this call does not have is known by what is recorded of it alone."""
        if item in self.edits:
            return self.edits[item]
        edit = ImageEdit(image=(), prompt="", n=state.n, id=state.id)
        place = Destination(self.target.directory, safe_name(state.id))
        loaded = LoadedEdit(edit=edit, images=())
        known: Any = {"source": state.source, "most": state.cost}
        return PreparedEdit(loaded=loaded, id=state.id, name=state.id, item=item, place=place, **known)

    async def pause(self, seconds: float) -> None:
        """Wait, unless the call is left."""
        with anyio.move_on_after(seconds):
            await self._leaving.wait()

    def all_came(self) -> None:
        """There are no other edits, or none that would come before room is made for them."""
        self._all_came.set()

    async def wait_for_edits(self) -> None:
        """Until all edits came: only then is it known whose the results of an earlier call are."""
        while not self._all_came.is_set() and not self.is_left:
            with anyio.move_on_after(1.0):
                await self._all_came.wait()

    def change(self) -> None:
        """A batch came to its end, or an edit on its way to one."""
        self.changes += 1
        self._changed.set()
        self._changed = anyio.Event()

    async def wait_for_change(self, since: int) -> None:
        """Until there were more `changes` than these."""
        while self.changes == since:
            await self._changed.wait()


def _elsewhere() -> EditError:
    error = EditError(
        "it is in no batch of this call any more: it is free, or another copy of this run has it. Nothing was sent by "
        "this one. The same call sends it, or says how it ended."
    )
    error.resumable = True
    return error
