"""The state machine of an edit in a ledger that machines share: who may do what to its row, and what counts (pure).

Rules:

1. Every change is a compare-and-set on the epoch and the *try* that the row was last seen with, and leaves a new random
   try. So changes form one chain: none is done twice, and a statement that was delayed changes nothing.
2. A change whose acknowledgement was lost is asked for again: a row that has this very try already is success.
3. A claim raises the epoch. Only an edit that nobody works at can be claimed, or one whose claim lapsed before it was
   started. The lease of its holder, by the database's clock, says what lapsed.
4. No byte goes out before *started* is acknowledged, which requires the claim and a lease that is alive.
5. Where the lease lapses between *started* and its end, the edit is *uncertain*. Its epoch and its try stay: an answer
   that comes late still makes it *done*.
6. An uncertain edit is claimed again only once its start is older than the answer limit plus one lease, for no answer
   to it can come any more. Before that a person may release it, which raises the epoch.
7. What is paid is kept: an answer to a claim that is over makes an edit *done* of which nothing is sent just now and
   that is not done, so that a later claim is not started; else it is kept beside, as *late*.
8. An edit counts from its claim. One that the server surely did not do does not count any more, and neither does a
   claim that lapsed before its start, once a limit has no other room.
9. Where the server knows an edit again by a key, an uncertain one may be claimed at once to *ask* for its answer, for
   as long as the server surely knows the key: by the database's clock since it was sent first. To the server it is the
   same edit, so that it counts once. A key that was sent first under one claim keeps that time under all others.

Theory of operation: the SQL in `postgres/sql/edit_*.sql` does the same, a statement for many rows; a test runs the same
sequences through both. A row has two halves: how its last attempt ended (`status`), and the claim that is open, if
any (`phase`). So a claim that is given back leaves what was there before::

    phase      what is true                                              on a lapse
    ─────────  ────────────────────────────────────────────────────────  ─────────────────────────────
    None       nobody works at it; `status` is how it ended, None: new    -
    claimed    it is reserved, and nothing of it was sent                the next claim takes it
    started    the server may be working on it                           uncertain

A key is that of the edit and its generation. `generation` and `tried`, when that was sent first, are of the last
attempt, `new_generation` and `new_tried` of the open claim. `tried` is None where the server surely did nothing, or
knows no key. `header` is that in which a key was sent last: of another one nothing is known.

An edit that is in a batch is started, and its holder is the batch, whose lease has no end: it never lapses. It becomes
so at once from claimed, by `postgres/sql/batch_begin.sql`, which is its start, and ends as any other; or the batch was
surely not done, and it is withdrawn (`postgres/sql/batch_withdraw.sql`).
"""

from __future__ import annotations

from typing import Literal

from attrs import evolve, frozen

from asyncsdk.images.idempotency import is_known

Ended = Literal["done", "failed", "refused", "uncertain"]
Phase = Literal["claimed", "started"]
Answer = Literal["yes", "no", "late"]  # late: what is paid is kept, and the row is not this claim's any more

ANSWER_LIMIT = 600.0  # seconds that a server may take for an edit


@frozen(kw_only=True)
class EditRow:
    """One edit, without what it is about. `last` is the try of the last change, `started` by the database's clock.

    `cost` is what its last attempt counts with, and `new_cost` what the open claim does: what it costs at most. `asks`:
    the open claim asks for the answer to the last attempt, and counts with that.
    """

    status: Ended | None = None
    phase: Phase | None = None
    epoch: int = 0
    holder: str | None = None
    last: str | None = None
    started: float | None = None
    late: tuple[str, ...] = ()
    cost: int | None = None
    new_cost: int | None = None
    generation: int = 0
    tried: float | None = None
    header: str | None = None
    new_generation: int | None = None
    new_tried: float | None = None
    asks: bool = False

    @property
    def claimed(self) -> tuple[int, int]:
        """What the open claim counts with beside the last attempt, if there is one: edits, and what they cost."""
        return (0, 0) if self.phase is None or self.asks else (1, self.new_cost or 0)


@frozen
class Changed:
    """The row after a change that was asked for, the answer, and by how much the ledger's counts changed.

    `counted` is of edits, `spent` of what they cost.
    """

    row: EditRow
    answer: Answer
    counted: int = 0
    spent: int = 0


def claim(
    row: EditRow,
    *,
    seen: tuple[int, str | None],
    new: str,
    holder: str,
    now: float,
    may_take: bool = False,
    lease: float = 60.0,
    cost: int | None = None,
    asks: bool = False,
    window: float | None = None,
) -> Changed:
    """Claim an edit that was `seen` with this epoch and try, and that costs `cost` at most.

    `may_take`: the claim that is open has lapsed, and this process was connected for long enough to say so. `asks`: to
    ask for the answer that was lost, by its key, which the server surely knows for the `window`.
    """
    if row.last == new and row.phase == "claimed":
        return Changed(row, "yes")
    if (row.epoch, row.last) != seen or row.phase == "started" or (row.phase == "claimed" and not may_take):
        return Changed(row, "no")
    if asks and not (row.status == "uncertain" and is_known(row.tried, now, window)):
        return Changed(row, "no")
    is_uncertain = row.status == "uncertain" and (row.phase is None or row.asks)
    if is_uncertain and not asks and not may_be_sent_again(row.started, now, lease):
        return Changed(row, "no")
    key = (row.generation, row.tried) if asks else (None, None)
    claimed = evolve(
        row, phase="claimed", epoch=row.epoch + 1, holder=holder, last=new, new_cost=row.cost if asks else cost,
        new_generation=key[0], new_tried=key[1], asks=asks,
    )  # fmt: skip
    counted, spent = (after - before for after, before in zip(claimed.claimed, row.claimed, strict=True))
    return Changed(claimed, "yes", counted=counted, spent=spent)


def start(
    row: EditRow,
    *,
    epoch: int,
    was: str,
    new: str,
    now: float,
    is_alive: bool,
    generation: int | None = None,
    header: str | None = None,
) -> Changed:
    """Before the first byte. `is_alive`: the lease of the holder, at this moment, by the database's clock.

    `generation` is that of the key, in this `header`. None: it is sent without one, and no key that was sent before is
    its own.
    """
    if row.epoch == epoch and row.last == new and row.phase == "started":
        return Changed(row, "yes")
    if (row.epoch, row.last) != (epoch, was) or row.phase != "claimed" or not is_alive:
        return Changed(row, "no")
    if generation is not None and header != row.header:
        row = evolve(row, header=header, tried=None)
    is_same = generation == row.generation and row.tried is not None
    tried = None if generation is None else row.tried if is_same else now
    generation = row.generation + 1 if generation is None else generation
    started = evolve(row, phase="started", last=new, started=now, new_generation=generation, new_tried=tried)
    return Changed(started, "yes")


def turn_away(row: EditRow, *, epoch: int, was: str, new: str, asked: bool = False) -> Changed:
    """The server surely did not do it: it goes back to claimed, or is free if its claim has lapsed meanwhile.

    `asked`: the claim was to ask for an answer. Whatever became of that, the attempt before is uncertain.
    """
    if row.epoch == epoch and row.last == new:
        return Changed(row, "yes" if row.phase == "claimed" else "no")
    if (row.epoch, row.last) != (epoch, was):
        return Changed(row, "no")
    if row.phase == "started":
        key = (row.new_generation, row.new_tried) if row.asks else (None, None)
        return Changed(evolve(row, phase="claimed", last=new, new_generation=key[0], new_tried=key[1]), "yes")
    if row.phase is None and row.status == "uncertain" and not asked:
        failed = evolve(row, status="failed", last=new, cost=None, tried=None)
        return Changed(failed, "no", counted=-1, spent=-(row.cost or 0))
    return Changed(row, "no")


def give_back(row: EditRow, *, epoch: int, was: str, new: str) -> Changed:
    """Nothing of it was sent, and it is left to others: it is as it was before the claim."""
    if row.epoch == epoch and row.last == new:
        return Changed(row, "yes")
    if (row.epoch, row.last) != (epoch, was) or row.phase != "claimed":
        return Changed(row, "no")
    return Changed(_closed(row, last=new), "yes", counted=-row.claimed[0], spent=-row.claimed[1])


def end(row: EditRow, *, epoch: int, was: str, new: str, status: Ended, cost: int | None = None) -> Changed:
    """How it ended, and what it cost; None: what it counts with. What is paid is kept whatever becomes of the claim."""
    if (row.epoch == epoch and row.last == new) or new in row.late:
        return Changed(row, "yes" if new not in row.late else "late")
    is_open = row.phase is not None or row.status == "uncertain"  # that is what it became by a lapse
    if (row.epoch, row.last) == (epoch, was) and is_open:
        before, is_unpaid = row.cost if row.phase is None else row.new_cost, status in {"failed", "refused"}
        after = None if is_unpaid else before if cost is None else cost
        key = (row.generation, row.tried) if row.phase is None else _key_of_claim(row)
        tried = None if is_unpaid else key[1]
        ended = evolve(_closed(row, last=new), status=status, cost=after, generation=key[0], tried=tried)
        return Changed(ended, "yes", counted=-is_unpaid, spent=(after or 0) - (before or 0))
    if status != "done":
        return Changed(row, "no")
    if row.phase != "started" and row.status != "done":
        after = row.cost if cost is None else cost
        done = evolve(_closed(row, last=new), status="done", late=(*row.late, new), cost=after)
        counted = 1 if _is_unpaid_by(row, epoch, was) else -row.claimed[0]
        return Changed(done, "late", counted=counted, spent=(after or 0) - (row.cost or 0) - row.claimed[1])
    return Changed(evolve(row, late=(*row.late, new)), "late")


def withdraw(row: EditRow, *, batch: str, new: str, holder: str | None) -> Changed:
    """Nothing of its batch was done: `holder` has claimed it again; without one it is as it was before its claim."""
    if row.phase != "started" or row.holder != batch:
        return Changed(row, "yes" if row.last == new and row.phase == "claimed" else "no")
    if holder is None:
        return Changed(_closed(row, last=new), "yes", counted=-row.claimed[0], spent=-row.claimed[1])
    claimed = evolve(row, phase="claimed", epoch=row.epoch + 1, holder=holder, last=new)
    return Changed(evolve(claimed, new_generation=None, new_tried=None), "yes")


def abandon(row: EditRow, *, new: str, may_take: bool) -> Changed:
    """What others make of a claim that lapsed before its start, where a limit has no other room: as it was before."""
    if row.phase != "claimed" or not may_take:
        return Changed(row, "no")
    return Changed(_closed(row, last=new), "yes", counted=-row.claimed[0], spent=-row.claimed[1])


def lapse(row: EditRow, *, may_take: bool) -> Changed:
    """What others make of a started edit whose holder's lease lapsed."""
    if row.phase != "started" or not may_take:
        return Changed(row, "no")
    generation, tried = _key_of_claim(row)
    lapsed = evolve(_closed(row, last=row.last), status="uncertain", cost=row.new_cost)
    return Changed(evolve(lapsed, generation=generation, tried=tried), "yes")


def release(
    row: EditRow, *, new: str, now: float, lease: float = 60.0, force: bool = False, is_lapsed: bool = False
) -> Changed:
    """A person decides that an uncertain edit is sent again: it may be paid twice, so it goes on to count.

    `is_lapsed`: the lease of the holder has lapsed, so that one that was started is uncertain too.
    """
    is_uncertain = row.status == "uncertain" if row.phase is None else row.phase == "started" and is_lapsed
    if not is_uncertain:
        return Changed(row, "yes" if row.last == new else "no")
    if not (force or may_be_sent_again(row.started, now, lease)):
        return Changed(row, "no")
    cost = row.cost if row.phase is None else row.new_cost
    generation, tried = (row.generation, row.tried) if row.phase is None else _key_of_claim(row)
    released = evolve(_closed(row, last=new), status="failed", epoch=row.epoch + 1, cost=cost)
    return Changed(evolve(released, generation=generation, tried=tried), "yes")


def _closed(row: EditRow, *, last: str | None) -> EditRow:
    """No claim is open any more, and `last` is the try of the change that closed it."""
    return evolve(row, phase=None, last=last, new_generation=None, new_tried=None, asks=False)


def _is_unpaid_by(row: EditRow, epoch: int, was: str) -> bool:
    """Whether the claim that this is the last change of ended it as unpaid, so that it does not count."""
    return (row.epoch, row.last) == (epoch, was) and row.phase is None and row.status in {"failed", "refused"}


def _key_of_claim(row: EditRow) -> tuple[int, float | None]:
    """The generation of what the open claim has sent, and when its key was sent first."""
    return row.generation if row.new_generation is None else row.new_generation, row.new_tried


def may_be_sent_again(started: float | None, now: float, lease: float) -> bool:
    """Whether no answer to an attempt that was `started` then can come any more."""
    return started is None or now >= sent_again_at(started, lease)


def sent_again_at(started: float, lease: float) -> float:
    """From when on an uncertain edit may be sent again."""
    return started + ANSWER_LIMIT + lease
