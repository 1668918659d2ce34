"""A seeded simulation of the protocol of a shared ledger, on the pure rules that the product goes by.

Workers pause, die and come back late; the database is away between any two statements, acknowledgements are lost and
statements executed late; clocks of workers jump. The server may know edits by their keys, for a while. `broken` names
rules to break on purpose: a simulation that does not find that is worth nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Literal

from attrs import define, evolve, field

from asyncsdk.images.idempotency import is_known
from asyncsdk.images.ledger import rows
from asyncsdk.images.ledger.rows import Changed, EditRow, Ended
from asyncsdk.postgres.lease import LeaseTerms, Renewal, is_good, is_steady, may_take_lapsed

Broken = Literal[
    "no fencing",
    "a client's clock",
    "started after the send",
    "started not repeatable",
    "a lease renewed late",
    "a late answer thrown away",
    "takeover right after an outage",
    "an overwriting put",
    "limits counted per process",
    "a key used again after the window",
]
TERMS = LeaseTerms()
WINDOW, MEMORY = 200.0, 300.0  # in which a key is used again, and for how long the server knows it
STEPS = 260
Answered = Literal["yes", "no", "late", "lost"]


@define(eq=False)
class SimulatedWorker:
    """A process: what it is at, and what it believes."""

    name: str
    paused_until: float = 0.0
    stepped_at: float = 0.0
    is_dead: bool = False
    wall: float = 0.0  # how far its wall clock is off
    renewal: Renewal | None = None
    steady_since: float | None = None
    edit: str = ""
    stage: Literal["idle", "claiming", "claimed", "starting", "started", "sent", "ending", "ended"] = "idle"
    epoch: int = 0
    last: str = ""
    asks: bool = False  # for an answer that was lost
    generation: int | None = None  # of its key, if the server knows any
    tried: float | None = None  # when that was sent first, as far as it was seen
    is_new: bool = True  # the server did not know the key
    started_at: float = 0.0
    asked: Callable[[], Answered] | None = None  # the statement whose answer it waits for
    answer_at: float = 0.0
    outcome: Ended | None = None
    is_cut: bool = False  # since it began this edit it was paused for long, or its answer was lost
    claimed: int = 0


@define(eq=False)
class Simulation:
    """One sequence of events. `violations` is what must not happen."""

    seed: int
    broken: Broken | None = None
    edits: int = 4
    limit: int | None = None
    is_keyed: bool = False
    violations: list[str] = field(factory=list, init=False)
    now: float = field(default=1000.0, init=False)
    random: random.Random = field(init=False)
    table: dict[str, EditRow] = field(init=False)
    until: dict[str, float] = field(factory=dict, init=False)
    away_until: float = field(default=0.0, init=False)
    delayed: list[Callable[[], Answered]] = field(factory=list, init=False)
    pictures: dict[str, str] = field(factory=dict, init=False)  # by name: of which call
    calls: dict[str, int] = field(factory=dict, init=False)  # that the server may have done
    known: dict[tuple[str, int], float] = field(factory=dict, init=False)  # keys, and when the server made an edit
    paid: dict[str, list[str]] = field(factory=dict, init=False)
    allowed: dict[str, int] = field(init=False)
    counted: int = field(default=0, init=False)
    workers: list[SimulatedWorker] = field(init=False)
    _tries: Callable[[], int] = field(factory=lambda: count().__next__, init=False)

    def __attrs_post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.table = {f"e{number}": EditRow() for number in range(self.edits)}
        self.allowed = dict.fromkeys(self.table, 1)
        self.workers = [SimulatedWorker(name) for name in "ABC"]

    def run(self) -> list[str]:
        """Play it, then let one more process bring all to an end. Returns what must not have happened."""
        for _ in range(STEPS):
            self._anything()
        self._settle()
        self._check_end()
        return self.violations

    def _anything(self) -> None:
        dice, worker = self.random.random(), self.random.choice(self.workers)
        self.now += self.random.choice([0.1, 1.0, 5.0])
        if dice < 0.01:
            worker.is_dead, worker.is_cut = True, True
        elif dice < 0.03:
            worker.paused_until, worker.is_cut = self.now + self.random.choice([30.0, 90.0, 400.0]), True
        elif dice < 0.05:
            worker.wall = self.random.uniform(-300.0, 300.0)
        elif dice < 0.065:
            self.away_until = self.now + self.random.choice([5.0, 80.0, 200.0])
            for each in self.workers:
                each.is_cut = True
        elif dice < 0.1 and self.delayed:
            self.delayed.pop(self.random.randrange(len(self.delayed)))()
        elif dice < 0.11:
            self._release(self.random.choice(list(self.table)))
        else:
            self._step(worker)

    def _step(self, worker: SimulatedWorker) -> None:
        if worker.is_dead or worker.paused_until > self.now:
            return
        if self.now - worker.stepped_at > TERMS.renew_every:  # it was not given a turn, which is a pause too
            worker.is_cut, worker.paused_until = True, self.now
        worker.stepped_at = self.now
        if worker.renewal is None or self.now - worker.renewal.asked >= TERMS.renew_every:
            self._renew(worker)
            return
        if worker.asked is not None:
            self._take_answer(worker, self._ask(worker.asked))
            return
        {
            "idle": self._begin,
            "claimed": self._start,
            "started": self._send,
            "sent": self._receive,
            "ended": self._record,
        }[worker.stage](worker)  # the others wait for an answer

    def _ask(self, statement: Callable[[], Answered]) -> Answered:
        """Run a statement: the database may be away, its answer get lost, or it be executed much later."""
        dice = self.random.random()
        if self.now < self.away_until:
            return "lost"
        if dice < 0.05:
            self.delayed.append(statement)
            return "lost"
        answer = statement()
        return "lost" if dice < 0.15 else answer

    def _renew(self, worker: SimulatedWorker) -> None:
        if self.now < self.away_until:
            return
        asked, took = self.now, self.random.choice([0.0, 0.0, 10.0])
        self.until[worker.name] = self.now + TERMS.lease
        self.now += took
        renewal = Renewal(self.now if self.broken == "a lease renewed late" else asked, self.now)
        if not is_steady(worker.renewal, renewal, TERMS):
            worker.steady_since = asked
        worker.renewal = renewal

    def _may_take(self, worker: SimulatedWorker, row: EditRow) -> bool:
        clock = self.now + (worker.wall if self.broken == "a client's clock" else 0.0)
        if self.until.get(row.holder or "", 0.0) > clock:
            return False
        if self.broken in {"takeover right after an outage", "a client's clock"}:
            return True
        return may_take_lapsed(worker.steady_since, self.now, TERMS)

    def _is_wrongly_taken(self, row: EditRow) -> bool:
        """Whether what is called lapsed is of a process that lives, was never paused, and whose lease is alive."""
        holder = next((each for each in self.workers if each.name == row.holder), None)
        if holder is None or holder.is_dead or self.now - holder.stepped_at > TERMS.renew_every:
            return False
        if holder.paused_until > self.now - 2 * TERMS.lease:
            return False
        return self.until.get(holder.name, 0.0) > self.now or self.now < self.away_until + TERMS.renew_every

    def _begin(self, worker: SimulatedWorker) -> None:
        name = self.random.choice(list(self.table))
        row, new = self.table[name], f"t{self._tries()}"
        may_take = row.phase is not None and self._may_take(worker, row)
        if row.phase == "started" and may_take:
            if self._is_wrongly_taken(row):
                self.violations.append(f"{name} was called lapsed, and its holder lives")
            self.table[name] = rows.lapse(row, may_take=True).row
            return
        asks = self.is_keyed and row.status == "uncertain" and is_known(row.tried, self.now, self._window)
        is_over = row.status in {"done", "refused", "uncertain"} and row.phase is None
        if (is_over and not asks) or row.phase == "started":  # of which no process asks for a claim
            return
        if row.phase == "claimed" and may_take and self._is_wrongly_taken(row):
            self.violations.append(f"{name} was taken from a holder that lives")
        sees, holder = (row.epoch, row.last), worker.name
        worker.edit, worker.stage, worker.is_cut, worker.last = name, "claiming", False, new
        worker.asks, worker.tried = asks, row.tried
        if self.is_keyed:
            is_over = row.tried is not None and not is_known(row.tried, self.now, self._window)
            worker.generation = row.generation + is_over

        def claim() -> Answered:
            current = self.table[name]
            seen = (current.epoch, current.last) if self.broken == "no fencing" else sees
            full = worker.claimed if self.broken == "limits counted per process" else self.counted
            if self.limit is not None and current.phase is None and full >= self.limit and current.last != new:
                return "no"
            change = rows.claim(
                current, seen=seen, new=new, holder=holder, now=self.now, may_take=may_take, asks=asks,
                window=self._window,
            )  # fmt: skip
            worker.claimed += change.counted
            return self._apply(name, change)

        worker.asked = claim

    def _start(self, worker: SimulatedWorker) -> None:
        if self.broken == "started after the send":
            self._call(worker)
        if not is_good(worker.renewal, self.now, TERMS):
            return
        worker.started_at = self.now
        if worker.asks and not is_known(worker.tried, self.now, self._window):  # it waited for too long
            worker.outcome, worker.stage = "uncertain", "ended"
            return
        name, epoch, was, new = worker.edit, worker.epoch, worker.last, f"t{self._tries()}"
        worker.stage = "starting"

        def start() -> Answered:
            row, is_alive = self.table[name], self.until.get(worker.name, 0.0) > self.now
            if self.broken == "no fencing":
                row = evolve(row, epoch=epoch, last=was, phase="claimed")
            if self.broken == "started not repeatable" and row.last == new:
                return "no"
            is_checked = self.broken not in {"a lease renewed late", "no fencing"}
            change = rows.start(
                row, epoch=epoch, was=was, new=new, now=self.now, is_alive=is_alive if is_checked else True,
                generation=worker.generation,
            )  # fmt: skip
            if change.answer == "yes" and change.row is not row and not is_alive:
                self.violations.append(f"{name} was started under a lease that had lapsed")
            return self._apply(name, change)

        worker.asked, worker.last = start, new

    def _send(self, worker: SimulatedWorker) -> None:
        if self.is_keyed and not self._may_send(worker):
            worker.outcome, worker.stage, worker.is_cut = "uncertain", "ended", True
            return
        if self.broken != "started after the send":
            self._call(worker)
        worker.stage, worker.answer_at = "sent", self.now + self.random.choice([1.0, 10.0, 100.0])
        worker.outcome = self.random.choice(["done", "done", "done", "failed", "uncertain"])
        if worker.outcome == "failed" and (worker.asks or not worker.is_new):  # what was lost stays lost
            worker.outcome = "uncertain"
        worker.is_cut = worker.is_cut or worker.outcome == "uncertain"
        if worker.outcome == "failed":
            self.calls[worker.edit] -= 1
            self.known.pop((worker.edit, worker.generation or 0), None)

    def _may_send(self, worker: SimulatedWorker) -> bool:
        """Whether the lease never lapsed since the start: another may have asked for it meanwhile."""
        is_steady_since = worker.steady_since is not None and worker.steady_since <= worker.started_at
        return is_steady_since and is_good(worker.renewal, self.now, TERMS)

    @property
    def _window(self) -> float:
        return 1e9 if self.broken == "a key used again after the window" else WINDOW

    def _call(self, worker: SimulatedWorker) -> None:
        if worker.generation is not None:
            key = (worker.edit, worker.generation)
            worker.is_new = not is_known(self.known.get(key), self.now, MEMORY)
            if not worker.is_new:
                return
            self.known[key] = self.now
        self.calls[worker.edit] = self.calls.get(worker.edit, 0) + 1
        if self.calls[worker.edit] > self.allowed[worker.edit]:
            self.violations.append(f"{worker.edit} was sent {self.calls[worker.edit]} times")

    def _receive(self, worker: SimulatedWorker) -> None:
        if self.now < worker.answer_at:
            return
        if worker.outcome == "done":
            mine, name = f"{worker.edit} {worker.epoch}", worker.edit
            if name in self.pictures and self.broken != "an overwriting put":
                name = f"{worker.edit}~{worker.epoch}"
            self.pictures[name] = mine
            self.paid.setdefault(worker.edit, []).append(mine)
        worker.stage = "ended"

    def _record(self, worker: SimulatedWorker) -> None:
        name, epoch, was, status, new = worker.edit, worker.epoch, worker.last, worker.outcome, f"t{self._tries()}"
        assert status is not None
        worker.stage = "ending"

        def end() -> Answered:
            row = self.table[name]
            if self.broken == "a late answer thrown away" and row.phase is None and row.last != new:
                return "no"
            return self._apply(name, rows.end(row, epoch=epoch, was=was, new=new, status=status))

        worker.asked = end

    def _take_answer(self, worker: SimulatedWorker, answer: Answered) -> None:
        if answer == "lost":
            return  # it is asked for again, with the same try
        worker.asked = None
        if worker.stage == "claiming":
            worker.stage, worker.epoch = ("claimed" if answer == "yes" else "idle"), self.table[worker.edit].epoch
        elif worker.stage == "starting":
            if answer != "yes" and self.table[worker.edit].phase == "started" and not worker.is_cut:
                self.violations.append(f"{worker.edit} is started, and its holder does not know it")
            worker.stage = "started" if answer == "yes" else "idle"
        else:
            worker.stage = "idle"

    def _apply(self, name: str, change: Changed) -> Answered:
        self.table[name], self.counted = change.row, self.counted + change.counted
        return change.answer

    def _release(self, name: str) -> None:
        change = rows.release(self.table[name], new=f"t{self._tries()}", now=self.now, force=True)
        self.allowed[name] += change.answer == "yes"
        self._apply(name, change)

    def _settle(self) -> None:
        """All that live come to the end of what they are at; all leases of the others lapse."""
        self.away_until = 0.0
        for statement in self.delayed:
            statement()
        for worker in self.workers:
            worker.paused_until = 0.0
            for _ in range(400):
                if worker.is_dead or worker.stage == "idle":
                    break
                self.now += 1.0
                self._step(worker)
        for name, row in self.table.items():
            self.table[name] = rows.lapse(row, may_take=True).row

    def _check_end(self) -> None:
        for name, row in self.table.items():
            if row.status in {None, "failed", "refused"} and self.calls.get(name, 0) > self.allowed[name] - 1:
                self.violations.append(f"{name} is {row.status}, and was sent {self.calls[name]} times")
            survivors = [call for call in self.paid.get(name, ()) if call in self.pictures.values()]
            if len(survivors) < len(self.paid.get(name, ())):
                self.violations.append(f"{name}: a picture that is paid is gone")
            is_recorded = row.status in {"done", "uncertain"} or row.late
            if self.paid.get(name) and not is_recorded and self.allowed[name] == 1:  # else a person took the risk
                self.violations.append(f"{name} is paid, and is {row.status}")
            recorded = (row.status == "done") + len(row.late)
            alive = all(not worker.is_dead for worker in self.workers)
            if self.paid.get(name) and alive and not recorded:
                self.violations.append(f"{name}: an answer that is paid was thrown away")
        made = sum(self.calls.values())
        if self.limit is not None and made > self.limit:
            self.violations.append(f"{made} were sent, {self.limit} were allowed")


def search(sequences: int, *, broken: Broken | None = None, first: int = 0) -> list[str]:
    """What must not happen, in so many sequences; of one that is broken until it is found."""
    found: list[str] = []
    for seed in range(first, first + sequences):
        limit = 3 if seed % 2 else None
        simulation = Simulation(seed, broken, limit=limit, is_keyed=seed % 3 == 0)
        found += [f"seed {seed}: {each}" for each in simulation.run()]
        if broken is not None and found:
            break
    return found
