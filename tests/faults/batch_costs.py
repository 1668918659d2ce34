"""A limit in dollars for edits in batches whose processes are killed, at each step or at moments of chance.

    python -m tests.faults batchcosts costfleet [--batched 2000] [--seed S]

Whatever happens, what all batches cost is never more than the limit, and never more than the ledger counts.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from asyncsdk import Client, ImageEditor, PostgresLedger, api
from asyncsdk.images.costs.money import NANOS
from asyncsdk.images.costs.table import packaged
from asyncsdk.images.ledger.file import load_ledger
from tests.faults.batches import BatchTask, DeathAt, kill_at_random, start
from tests.faults.support import ServerProcess, serving
from tests.faults.table import Row

NEAR: Mapping[str, Any] = {"model": "gpt-image-1", "quality": "low", "size": "1024x1024"}  # costs about what it may
FAR: Mapping[str, Any] = {"quality": "low"}  # of any size: it may cost some times what it does
STEPS = ("after batched", "after creating", "after POST /batches", "after created", "after end done", "after closed")
OPTIONS = ("--documented-tokens", "--batch-seconds")


async def die_within_a_limit(
    folder: Path, *, steps: tuple[str, ...] = STEPS, database: str | None = None, forget: Callable[[], object] = list
) -> Row:
    """A call with a limit dies at a step, and the same call goes on; with the ledger in files, or in a `database`."""
    row = Row("batch costs")
    for number, step in enumerate(steps):
        place, fields = folder / str(number), (NEAR, FAR)[len(step) % 2]
        async with serving(place / "server", *OPTIONS, "0.2") as server:
            task = await _limited(BatchTask(server.url, place, edits=10, size=3, ledger=database, lease=1.0), fields)
            row.must(await start(task, DeathAt(step)).answer() is None, f"{step}: it survived")
            await _check(row, server, task, name=f"killed {step}")
            said = await start(task).answer()
            await _check(row, server, task, name=f"gone on {step}")
            _check_end(row, said, name=f"gone on {step}")
            row.cases += 1
        forget()
    return row


async def kill_within_a_limit(
    folder: Path,
    edits: int,
    *,
    seed: int,
    kills: int = 20,
    size: int = 300,
    fields: Mapping[str, Any] = FAR,
    database: str | None = None,
) -> Row:
    """Many edits with a limit, killed at moments of chance; over a `database` by four copies."""
    row, numbers = Row("batch costs" if database is None else "cost fleet"), random.Random(seed)
    async with serving(folder / "server", *OPTIONS, "1") as server:
        task = await _limited(BatchTask(server.url, folder / "work", edits=edits, size=size, ledger=database), fields)

        async def killed() -> None:
            await _check(row, server, task, name=f"seed {seed}, kill {row.cases}")

        await kill_at_random(row, task, kills, numbers, killed)
        said = await start(task).answer(within=600.0)
        await _check(row, server, task, name=f"seed {seed}, at the end")
        _check_end(row, said, name=f"seed {seed}")
        made = await server.edits()
        row.must(max(made.values(), default=0) <= 1, f"seed {seed}: made twice: {made}")
        row.figures = {name: str(count) for name, count in Counter((said or {}).get("statuses", {}).values()).items()}
        row.figures |= {"limit": f"${task.max_cost:.4f}", "cost": f"${await _real(server):.4f}"}
        row.figures["counted"] = f"${await _counted(task):.4f}"
    return row


async def _limited(task: BatchTask, fields: Mapping[str, Any]) -> BatchTask:
    """The task with a limit for a third of its edits, by what they cost at most in a batch."""
    task = evolve(task, fields=fields)
    async with Client("none", base_url=task.url) as client:
        plan = await ImageEditor(client).plan(task.jobs()[:1])
    assert plan.batch_cost is not None
    return evolve(task, max_cost=plan.batch_cost.dollars[1] * (task.edits // 3 + 0.5))


async def _check(row: Row, server: ServerProcess, task: BatchTask, *, name: str) -> None:
    real, counted, limit = await _real(server), await _counted(task), task.max_cost or 0.0
    row.must(real <= limit + 1e-9, f"{name}: ${real:.6f} were spent, and the limit is ${limit:.6f}")
    row.must(counted <= limit + 1e-9, f"{name}: the ledger counts ${counted:.6f}, and the limit is ${limit:.6f}")
    row.must(real <= counted + 1e-9, f"{name}: ${real:.6f} were spent, and the ledger counts ${counted:.6f}")


def _check_end(row: Row, said: dict[str, Any] | None, *, name: str) -> None:
    error = (said or {"error": "killed"})["error"] or ""
    row.must(not error or error.startswith("LimitReachedError: max_cost="), f"{name}: {error}")


async def _real(server: ServerProcess) -> float:
    """What all batches of the server have cost so far, in dollars."""
    total, table = 0, packaged()
    async with Client("any", base_url=server.url) as client:
        async for batch in client.pages(api.list_batches()):
            usage, price = batch.usage, table.of(batch.model)
            if usage is not None and price is not None:
                read = (usage.input_tokens or 0) * price.text.input  # of what kind each was is not said: at least
                total += int((read + (usage.output_tokens or 0) * price.image.output) * (price.batch or 1))
    return total / NANOS


async def _counted(task: BatchTask) -> float:
    """What the ledger counts, in dollars."""
    if task.ledger is None:
        return (await load_ledger(task.out / ".asyncsdk")).spent.cost / NANOS
    shown = await PostgresLedger(task.ledger).show()
    return float(0 if shown is None else shown["cost"]) / NANOS
