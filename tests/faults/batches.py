"""Edits in batches, whose process is killed at each step or at moments of chance, and gone on with by the same call.

    python -m tests.faults batches [--batched 2000] [--seed S]

Whatever happens, the server makes each edit once at most, no batch is created twice, each edit ends as it should, and
nothing of ours is left on the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from asyncsdk import Client, ImageEdit, ImageEditor, PostgresLedger
from asyncsdk.images.batch.drafts import PictureDraft
from asyncsdk.images.batch.shared_memory import SharedBatches
from asyncsdk.images.ledger.file import FileLedger
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.server import Fault
from asyncsdk.server.faults import Route
from asyncsdk.timing import Timing
from tests.faults.support import LIMIT, ServerProcess, processes, serving
from tests.faults.table import Row
from tests.stories.pictures import photo

MODEL = "gpt-image-2"
FORBIDDEN_EVERY = 11
PICTURES = 5
KILLS, COPIES, LEASE = 20, 4, 3.0
TIMING = Timing(batch_search=2.0, batch_search_interval=0.2, first_delay=0.05)
ROUTES: tuple[Route, ...] = (
    "files.create", "batches.create", "batches.get", "batches.list", "files.delete", "files.list",
)  # fmt: skip
LOST = (  # together 5 % of the answers
    *(Fault(route, "reset", at="done", every=20) for route in ROUTES),
    Fault("files.content", "close", at="answering", every=20),
)
PREFIX = "asyncsdk-"


@frozen
class BatchTask:
    """A call of `edit_batch`, or of `edit_many`, in a process of its own."""

    url: str
    folder: Path
    edits: int
    size: int
    poll: float = 0.05
    ledger: str | None = None
    lease: float = LEASE
    first: int = 0  # the edit that this copy begins with
    max_cost: float | None = None
    fields: Mapping[str, Any] = field(factory=dict)  # of each edit

    @property
    def out(self) -> Path:
        """Where the pictures go."""
        return self.folder / "out"

    def jobs(self) -> list[ImageEdit]:
        """Its edits: some have equal pictures, and some are refused."""
        self.folder.mkdir(parents=True, exist_ok=True)
        paths = [self.folder / f"{number}.png" for number in range(PICTURES)]
        for number, path in enumerate(paths):
            if not path.exists():
                photo(path, (16, 16), seed=number)
        jobs = [
            ImageEdit(
                image=paths[number % PICTURES],
                prompt=self.prompt(number),
                id=f"e{number}",
                **{"model": MODEL, **self.fields},
            )
            for number in range(self.edits)
        ]
        return jobs[self.first :] + jobs[: self.first]

    @staticmethod
    def prompt(number: int) -> str:
        """What an edit is known by on the server."""
        return f"{'forbidden' if number % FORBIDDEN_EVERY == FORBIDDEN_EVERY - 1 else 'beret'} {number}"


@frozen
class DeathAt:
    """The process dies at the first step of this name; without one it notes all names."""

    step: str = ""

    def __call__(self) -> list[str]:
        """Wrap what this process asks of the server, and what it writes."""
        steps = list[str]()

        def come_to(step: str) -> None:
            steps.append(step)
            if step == self.step:
                os.kill(os.getpid(), signal.SIGKILL)

        _wrap(Client, "send", lambda _, request, **__: request.name, come_to)
        _wrap(Client, "receive", lambda _, request, *__, **___: request.name, come_to)
        _wrap(FileLedger, "note", lambda _, *facts: facts[-1]["t"] if facts else "", come_to)
        _wrap(SharedBatches, "note", lambda _, *facts: facts[-1]["t"] if facts else "", come_to)
        _wrap(SharedBatches, "begin", lambda *_: "creating", come_to)
        _wrap(SharedBatches, "take_up", lambda *_: "take up", come_to)
        for ledger in (FileLedger, SharedLedger):
            _wrap(ledger, "end", lambda _, __, status, **___: f"end {status}", come_to)
        give_name: Any = PictureDraft.give_name

        def name(*arguments: Any) -> Any:
            doubt = give_name(*arguments)
            come_to("after a picture has its name")
            return doubt

        setattr(PictureDraft, "give_name", name)  # noqa: B010 - from outside
        return steps


def _wrap(owner: Any, method: str, named: Callable[..., str], come_to: Callable[[str], None]) -> None:
    usual = getattr(owner, method)

    async def wrapped(*arguments: Any, **options: Any) -> Any:
        name = named(*arguments, **options)
        come_to(f"before {name}")
        result = await usual(*arguments, **options)
        come_to(f"after {name}")
        return result

    setattr(owner, method, wrapped)


@define(eq=False)
class RunningBatches:
    """A process that does a task."""

    process: Any
    _answer: Connection

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        await asyncio.to_thread(self.process.join, LIMIT)
        self._answer.close()

    async def ended(self, within: float) -> bool:
        """Wait so many seconds at most, and return whether it has ended."""
        await asyncio.to_thread(self.process.join, within)
        return self.process.exitcode is not None

    async def answer(self, within: float = LIMIT) -> dict[str, Any] | None:
        """What it said at its end: the `statuses` by id, `error`, `steps`; None where it was killed."""
        loop = asyncio.get_running_loop()
        has_said = await loop.run_in_executor(None, self._answer.poll, within)
        found: dict[str, Any] | None = None
        with suppress(EOFError):
            found = json.loads(self._answer.recv()) if has_said else None
        if not await self.ended(within):
            await self.kill()
            raise AssertionError(f"it did not end within {within} s")
        return found


def start(task: BatchTask, before: Callable[[], Any] | None = None) -> RunningBatches:
    """Begin a task in a process of its own, where `before` is called first."""
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(target=_work, args=(task, theirs, before), daemon=True)
    process.start()
    theirs.close()
    return RunningBatches(process, ours)


def _work(task: BatchTask, answer: Connection, before: Callable[[], Any] | None) -> None:
    steps = before() if before is not None else None
    said = asyncio.run(outcomes_of(task))
    answer.send(json.dumps(said | ({"steps": steps} if isinstance(steps, list) else {})))


async def outcomes_of(task: BatchTask) -> dict[str, Any]:
    """Do a task, and return how its edits ended."""
    statuses, problems, error = dict[str, str](), dict[str, str](), None
    terms = LeaseTerms(lease=task.lease, renew_every=task.lease / 4)
    ledger = None if task.ledger is None else PostgresLedger(task.ledger, terms=terms)
    options: Any = {"out": task.out, "ledger": ledger, "batch_size": task.size, "poll": task.poll}
    options |= {"max_cost": task.max_cost}
    async with Client("sk-test", base_url=task.url, timing=TIMING) as client:
        try:
            async with ImageEditor(client).edit_batch(task.jobs(), **options) as outcomes:
                async for outcome in outcomes:
                    statuses[outcome.id] = outcome.status
                    if outcome.problem is not None:
                        problems[outcome.id] = outcome.problem.message
        except Exception as failure:  # noqa: BLE001 - it is reported
            error = f"{type(failure).__name__}: {failure}"
    return {"statuses": statuses, "error": error, "problems": problems}


async def check(row: Row, server: ServerProcess, task: BatchTask, said: dict[str, Any] | None, *, name: str) -> None:
    """What must hold at the end: see the top."""
    row.must(said is not None, f"{name}: the last run was killed")
    if said is None:
        return
    row.must(said["error"] is None, f"{name}: {said['error']}")
    made = Counter(await server.edits())
    for number in range(task.edits):
        prompt, status = task.prompt(number), said["statuses"].get(f"e{number}")
        is_forbidden = prompt.startswith("forbidden")
        expected = {"refused"} if is_forbidden else {"done", "skipped"}
        if status == "uncertain" and not made[prompt]:  # a create that was written down and never sent can't be known
            expected = {"uncertain"}
        row.must(status in expected, f"{name}: e{number} is {status}: {said['problems'].get(f'e{number}')}")
        row.must(made[prompt] <= 1, f"{name}: {prompt!r} was made {made[prompt]} times")
        if status in {"done", "skipped"}:
            row.must((task.out / f"e{number}.png").is_file(), f"{name}: e{number}.png is not there")
    ours = [file for file in server.files() if file["filename"].startswith(PREFIX) or file["purpose"] == "batch_output"]
    row.must(not ours, f"{name}: left on the server: {[file['filename'] for file in ours][:4]}")
    aside = list((task.out / ".asyncsdk" / "replaced").rglob("*.png"))
    row.must(not aside, f"{name}: pictures were saved twice: {aside[:3]}")
    drafts = list((task.out / ".asyncsdk" / "drafts").iterdir()) if task.ledger is None else []
    row.must(not drafts, f"{name}: drafts are left: {drafts[:3]}")


async def die_at_each_step(
    folder: Path, steps: list[str] | None = None, *, database: str | None = None, forget: Callable[[], object] = list
) -> Row:
    """A call that dies at the first step of each name, and the same call after that.

    With the ledger in files, or in a `database`, from which `forget` removes it after each.
    """
    row = Row("batch steps")
    async with serving(folder / "server", "--batch-seconds", "0.1") as server:
        first = BatchTask(server.url, folder / "all", edits=12, size=5, ledger=database, lease=1.0)
        said = await start(first, DeathAt()).answer()
        await check(row, server, first, said, name="without a kill")
        names = list(dict.fromkeys((said or {}).get("steps", ())))
        for number, step in enumerate(names if steps is None else steps):
            row.must(step in names, f"{step} is not a step: {names}")
            forget()
            await _die_at(row, server, evolve(first, folder=folder / f"step{number}"), step)
    row.figures = {"steps": ", ".join(names)}
    return row


async def _die_at(row: Row, server: ServerProcess, task: BatchTask, step: str) -> None:
    before = Counter(await server.edits())
    row.must(await start(task, DeathAt(step)).answer() is None, f"{step}: it survived")
    said = await start(task).answer()
    made = Counter(await server.edits()) - before
    row.must(all(count == 1 for count in made.values()), f"{step}: made again: {made}")
    row.cases += 1
    await check(row, _Since(server, before), task, said, name=f"killed {step}")  # type: ignore[arg-type]  # as one


@frozen
class _Since:
    """A server, less what it made before."""

    server: ServerProcess
    before: Counter[str]

    async def edits(self) -> dict[str, int]:
        return Counter(await self.server.edits()) - self.before

    def files(self) -> list[dict[str, Any]]:
        return self.server.files()


async def kill_batches(
    folder: Path,
    edits: int,
    *,
    seed: int,
    kills: int = KILLS,
    size: int = 300,
    database: str | None = None,
) -> Row:
    """Many edits, killed at moments of chance, with 5 % of the answers lost; over a `database` by four copies."""
    row, numbers = Row("batches" if database is None else "batch fleet"), random.Random(seed)
    options = ("--batch-seconds", "6", "--listing-delay", "0.5")
    async with serving(folder / "server", *options) as server:
        await server.inject(*LOST)
        task = BatchTask(server.url, folder / "work", edits=edits, size=size, ledger=database)
        task.jobs()
        await kill_at_random(row, task, kills, numbers)
        await server.clear_faults()
        said = await start(task).answer(within=600.0)
        await check(row, server, task, said, name=f"seed {seed}")
        requests = (await server.stats())["requests"]
        row.figures |= {name: str(requests.get(name, 0)) for name in ("batches.create", "files.create", "batches.get")}
        row.figures |= {name: str(count) for name, count in Counter((said or {}).get("statuses", {}).values()).items()}
        row.figures["made"] = str(sum((await server.edits()).values()))
    return row


async def kill_at_random(
    row: Row, task: BatchTask, kills: int, numbers: random.Random, killed: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Kill a task at moments of chance and go on with it, over a database with four copies, until all have ended.

    Each kill is a case of `row`; `killed` is called after it.
    """
    firsts = [0] if task.ledger is None else [number * task.edits // COPIES for number in range(COPIES)]
    running = {first: start(evolve(task, first=first)) for first in firsts}
    while row.cases < kills:
        first = numbers.choice(firsts)
        if not await running[first].ended(numbers.uniform(0.3, 2.0) / len(firsts)):
            await running[first].kill()
            row.cases += 1
            if killed is not None:
                await killed()
        elif task.ledger is None:
            break
        running[first] = start(evolve(task, first=first))
    for copy in running.values():
        await copy.answer(within=600.0)
