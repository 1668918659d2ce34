"""How far all copies of a run are: read while somebody looks, and not more often than every few seconds."""

from __future__ import annotations

import uuid
from typing import Any

import anyio
import pytest

from asyncsdk import tasks
from asyncsdk.images.ledger import whole
from asyncsdk.images.ledger.progress import LedgerProgress
from asyncsdk.images.ledger.whole import WholeWatch
from asyncsdk.postgres import DatabaseFault


class Counting:
    """A database that answers, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_away = False

    async def run(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        self.asked += 1
        if self.is_away:
            raise DatabaseFault("it is away", "Wait.")
        return [{"state": "done", "number": self.asked, "copies": 2}, {"state": "held", "number": 3, "copies": 2}]


async def test_it_is_read_while_somebody_looks_and_an_outage_leaves_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole, "PAUSE", 0.02)
    monkeypatch.setattr(whole, "INTEREST", 0.1)
    monkeypatch.setattr(whole, "LEAST_REST", 0)
    database: Any = Counting()
    watch = WholeWatch(database, uuid.uuid4())
    async with tasks.group() as group:
        group.start_soon(watch.keep)
        await anyio.sleep(0.05)
        assert (database.asked, watch.look()) == (0, None)
        await anyio.sleep(0.5)
        assert 1 <= database.asked <= 6  # and then nobody looked any more
        assert watch.look() == LedgerProgress(done=database.asked, held=3, copies=2)
        database.is_away = True
        await anyio.sleep(0.1)
        assert watch.look() is not None
        group.cancel_scope.cancel()
