"""A list that several processes go through: what is passed over comes again, and nothing is given twice at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.errors import ConfigurationError, InternalServerError, JournalError, UploadBusyError
from asyncsdk.uploads import sharing
from asyncsdk.uploads.journal import Journal
from asyncsdk.uploads.journal.memory import MemoryJournal
from asyncsdk.uploads.journal.messages import taken_over
from asyncsdk.uploads.sharing import SharedList, anywhere
from tests.journal.support import KEY


@define(eq=False)
class Others(MemoryJournal):
    """A journal in which other processes hold some keys, each for so many looks."""

    looks_left: dict[str, int] = field(factory=dict)
    looks: list[set[str]] = field(factory=list)
    is_connected: bool = False

    async def held(self, keys: Collection[str]) -> Collection[str]:
        assert self.is_connected
        self.looks.append(set(keys))
        for key in keys:
            self.looks_left[key] = self.looks_left.get(key, 0) - 1
        return [key for key in keys if self.looks_left[key] > 0]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        self.is_connected = True
        yield
        self.is_connected = False


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr(sharing, "LONGEST_PAUSE", 0.002)


def busy(key: str | None) -> UploadBusyError:
    error = UploadBusyError("process 7 is sending this file")
    error.key = key
    return error


async def gone_through(
    shared: SharedList[str], items: list[str], work: dict[str, list[Exception]], limit: int = 2
) -> list[tuple[str, str]]:
    """How each ended. `work` is what an item fails with, one after the other, before it succeeds."""

    async def run(item: str) -> tuple[str, str] | None:
        with shared.turn():
            await asyncio.sleep(0)
            failures = work.get(item, [])
            if not failures:
                return item, "done"
            failure = failures.pop(0)
            if isinstance(failure, UploadBusyError) and shared.pass_over(item, failure):
                return None
            assert isinstance(failure, Exception)
            if not isinstance(failure, UploadBusyError) and shared.comes_again(item, failure):  # type: ignore[arg-type] # all are ours
                return None
            return item, type(failure).__name__

    async with (
        asyncio.timeout(5),
        shared.connected(),
        tasks.map_unordered(shared.given(items), run, limit=limit) as outcomes,
    ):
        return [outcome async for outcome in outcomes if outcome is not None]


async def test_what_others_hold_is_waited_for_at_the_end_and_asked_for_at_once() -> None:
    journal, waited = Others(looks_left={"b": 3, "c": 1}), list[int]()
    shared = SharedList[str](journal, on_waiting=waited.append)
    ended = await gone_through(shared, ["b", "c", "a", "d"], {"b": [busy("b")], "c": [busy("c")]})
    assert [item for item, _ in ended] == ["a", "d", "c", "b"]
    assert journal.looks == [{"b", "c"}, {"b"}, {"b"}]
    assert waited[0] == 2
    assert shared.waiting == 0
    assert not journal.is_connected


async def test_what_became_free_and_was_taken_by_yet_another_is_passed_over_again() -> None:
    shared = SharedList[str](Others())
    ended = await gone_through(shared, ["a", "b"], {"a": [busy("a"), busy("a"), busy("a")]})
    assert sorted(ended) == [("a", "done"), ("b", "done")]


async def test_during_a_long_list_what_became_free_comes_between_two_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "LOOK_SECONDS", -1.0)
    shared = SharedList[str](Others(looks_left={"a": 2}))
    ended = await gone_through(shared, ["a", "b", "c", "d", "e"], {"a": [busy("a")]}, limit=1)
    assert [item for item, _ in ended] == ["b", "a", "c", "d", "e"]


async def test_a_failure_that_may_pass_comes_once_more_at_the_end_where_others_are_at_work() -> None:
    server = InternalServerError("broken", status_code=500)
    work: dict[str, list[Exception]] = {"a": [busy("a")], "b": [server], "c": [server, server]}
    ended = await gone_through(SharedList[str](Others()), ["a", "b", "c", "d"], work, limit=1)
    assert ended == [("d", "done"), ("a", "done"), ("b", "done"), ("c", "InternalServerError")]


async def test_alone_a_failure_is_the_end_of_its_item_unless_another_process_took_it_over() -> None:
    not_opened = JournalError("no such database")
    work: dict[str, list[Exception]] = {
        "a": [InternalServerError("broken", status_code=500)],
        "b": [not_opened],
        "c": [ConfigurationError("wrong")],
        "d": [taken_over(KEY)],
    }
    ended = await gone_through(SharedList[str](Others()), ["a", "b", "c", "d"], work, limit=1)
    failed = [("a", "InternalServerError"), ("b", "JournalError"), ("c", "ConfigurationError")]
    assert ended == [*failed, ("d", "done")]


async def test_a_failure_that_was_to_come_once_more_is_not_lost_by_a_stop() -> None:
    server, shared = InternalServerError("broken", status_code=500), SharedList[str](Others(looks_left={"a": 10**9}))
    asyncio.get_running_loop().call_later(0.05, shared.stop)
    await gone_through(shared, ["a", "b"], {"a": [busy("a")], "b": [server]}, limit=1)
    assert shared.failures == [("b", server)]
    shared.end("b")
    assert shared.failures == []


def test_who_does_not_want_to_wait_for_another_process_is_told_at_once() -> None:
    shared = SharedList[str](Others())
    shared.meets_others = True
    assert not shared.comes_again("a", busy("a"))


@pytest.mark.parametrize("journal", [MemoryJournal(), Others()], ids=["one process", "no key"])
async def test_what_can_not_be_known_to_be_free_is_not_passed_over(journal: Journal) -> None:
    key = "a" if type(journal) is MemoryJournal else None
    assert await gone_through(SharedList[str](journal), ["a"], {"a": [busy(key)]}) == [("a", "UploadBusyError")]


async def test_a_database_that_can_not_be_asked_lets_each_upload_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: object, __: object) -> list[str]:
        raise JournalError("gone")

    monkeypatch.setattr(Others, "held", fails)
    assert await gone_through(SharedList[str](Others()), ["a"], {"a": [busy("a")]}) == [("a", "done")]


async def test_a_stop_ends_the_wait() -> None:
    shared = SharedList[str](Others(looks_left={"a": 10**9}))
    asyncio.get_running_loop().call_later(0.05, shared.stop)
    assert await gone_through(shared, ["a", "b"], {"a": [busy("a")]}) == [("b", "done")]


def test_only_machines_that_share_a_database_begin_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.randrange", lambda _: 2)
    assert list(anywhere([1, 2, 3, 4], Others())) == [3, 4, 1, 2]
    assert list(anywhere([1, 2, 3, 4], MemoryJournal())) == [1, 2, 3, 4]
    assert list(anywhere([], Others())) == []
