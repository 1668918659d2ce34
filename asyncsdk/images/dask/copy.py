"""A copy of a run on a worker, in a thread and an event loop of its own: Dask calls `run`, by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import anyio

from asyncsdk import tasks
from asyncsdk.client import Client
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bulk.outcomes import Outcomes
from asyncsdk.images.costs.travelling import table_of
from asyncsdk.images.dask import pages
from asyncsdk.images.dask.task import CopyEnd, CopyTask
from asyncsdk.images.editor import ImageEditor
from asyncsdk.images.ledger.postgres import PostgresLedger
from asyncsdk.images.ledgers import VARIABLE
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.postgres.url import is_database_url
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.version import __version__

LOOK_EVERY = 0.5  # seconds, whether the worker is to close


def run(text: str) -> str:
    """Run it to its end, which is returned as text: nothing is raised, which a scheduler would keep and log."""
    theirs = json.loads(text).get("asyncsdk")
    if theirs != __version__:  # the rest of the task may be something else to it
        return CopyEnd(
            kind="ConfigurationError",
            message=f"this worker has asyncsdk {__version__}, and the driver has {theirs}. Nothing was sent from it. "
            "Install the same version on both.",
        ).as_text()
    task, is_leaving = CopyTask.of_text(text), _leaving()
    try:
        return anyio.run(_copy, task, is_leaving).as_text()
    except Exception as error:  # noqa: BLE001 - whatever it is, the driver gets it in words
        return CopyEnd.of_error(error).as_text()


async def _copy(task: CopyTask, is_leaving: Callable[[], bool]) -> CopyEnd:
    lease, renew_every = task.terms
    terms = LeaseTerms(lease=lease, renew_every=renew_every)
    ledger = PostgresLedger(ledger_of(task, os.environ), options=task.options, terms=terms, part_of=task.run)
    stores = RemoteStores()
    async with Client(key_of(task, os.environ), **task.client) as client, tasks.group() as group:
        prices = None if task.prices is None else table_of(task.prices)
        editor = ImageEditor(client, remote_options=stores, prices=prices, **task.editor)
        edits = pages.read(task.pages, task.out, stores, from_anywhere=True)
        async with editor.edit_many(edits, out=task.out, ledger=ledger, **task.request) as outcomes:
            group.start_soon(_stop_when_leaving, outcomes, is_leaving)
            async for _ in outcomes:
                pass
        group.cancel_scope.cancel()
    return CopyEnd(is_leaving=is_leaving())


def ledger_of(task: CopyTask, environment: Mapping[str, str]) -> str:
    """The database, as this worker knows it, else as the driver does: there is no password in that."""
    ours = environment.get(VARIABLE, "")
    return ours if is_database_url(ours) else task.ledger


def key_of(task: CopyTask, environment: Mapping[str, str]) -> str:
    """The key of this worker: of the same kind as the driver's, and no other. Raises ConfigurationError."""
    key = environment.get(task.key)
    if not key:
        raise ConfigurationError(
            f"this worker has no API key: set {task.key} in its environment. Keys do not travel. Nothing was sent from "
            "it."
        )
    return key


async def _stop_when_leaving(outcomes: Outcomes, is_leaving: Callable[[], bool]) -> None:
    """Send nothing new once the worker is to close: it is given some time for what is in flight."""
    while not is_leaving():  # noqa: ASYNC110 - of another thread, and distributed has no event for it
        await anyio.sleep(LOOK_EVERY)
    outcomes.stop()


def _leaving() -> Callable[[], bool]:
    """Whether the worker that this thread is one of is about to close, as when it is retired."""
    from distributed import get_worker

    worker: Any = get_worker()
    return lambda: worker.status.name not in {"running", "paused"}
