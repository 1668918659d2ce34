"""A run that is stopped or left: nothing new goes out, nothing that is paid is lost, nothing unsent is called paid."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from attrs import define, field

from asyncsdk import ChargeUnknownError, Client, CredentialError, EditResult, ImageEdit, ImageEditor, SaveError
from asyncsdk.images.destination import OWN_DIRECTORY
from asyncsdk.images.ledger.file import load_ledger
from asyncsdk.server import LocalServer
from tests.raw_server import RawServer, Talk, answering, client_of, reply, serving
from tests.stories.edits import BUSY, LOST, all_of, done, jobs, until

UNAVAILABLE = reply(503, {"error": {"message": "busy", "type": "server_error"}}, {"retry-after": "0"})

# the lost answer is met before the second try of what was turned away, however busy the machine is
BUSY_FOR_LONG = reply(429, {"error": {"message": "too fast"}}, {"retry-after-ms": "60000"})


@define
class Held:
    """A server that answers nobody until it is told to, each in turn with the next of `answers`."""

    server: RawServer
    answers: list[bytes] = field(factory=list)
    _go: anyio.Event = field(factory=anyio.Event)

    async def has(self, requests: int) -> None:
        while len(self.server.requests) < requests:
            await anyio.sleep(0.01)

    def answer(self, *answers: bytes) -> None:
        self.answers += answers
        self._go.set()

    async def next(self) -> bytes:
        await self._go.wait()
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def holding() -> AsyncIterator[Held]:
    async def handle(talk: Talk) -> None:
        while True:
            await talk.hear()
            await talk.say(await held.next())

    async with serving(handle) as server:
        held = Held(server)
        yield held


@pytest.mark.parametrize("refusal", [BUSY, UNAVAILABLE], ids=["429", "503"])
async def test_what_the_server_turns_away_after_a_stop_is_not_sent_again(out: Path, refusal: bytes) -> None:
    async with holding() as held, client_of(held.server) as client:
        async with ImageEditor(client).edit_many(jobs(10), out=out, concurrency=2) as outcomes:
            await held.has(2)
            outcomes.stop()
            held.answer(refusal)
            assert [outcome.status for outcome in await all_of(outcomes)] == ["failed", "failed"]
        assert len(held.server.requests) == 2
        known = await load_ledger(out / OWN_DIRECTORY)
        assert [(state.status, state.problem is None) for _, state in known.index.states.items()] == [
            ("failed", False),
            ("failed", False),
        ]
        held.answers[:] = [done()]
        async with ImageEditor(client).edit_many(jobs(10), out=out) as outcomes:
            await all_of(outcomes)
            assert outcomes.counts == {"done": 10}


async def test_what_is_turned_away_after_the_first_lost_answer_is_not_sent_again(out: Path) -> None:
    async with holding() as held, client_of(held.server) as client:
        edits = ImageEditor(client).edit_many(jobs(10), out=out, concurrency=3, on_uncertain="stop")
        async with edits as outcomes:
            await held.has(3)
            held.answer(LOST, BUSY_FOR_LONG)
            ended = await until(outcomes, ChargeUnknownError)
        assert sorted(outcome.status for outcome in ended) == ["failed", "failed", "uncertain"]
        assert len(held.server.requests) == 3


async def test_a_redo_that_is_turned_away_and_stopped_leaves_the_edit_as_done(out: Path) -> None:
    async with holding() as held, client_of(held.server) as client:
        held.answer(done())
        async with ImageEditor(client).edit_many(jobs(1), out=out) as outcomes:
            [first] = await all_of(outcomes)
    async with holding() as held, client_of(held.server) as client:
        async with ImageEditor(client).edit_many(jobs(1), out=out, redo=[first.id]) as outcomes:
            await held.has(1)
            outcomes.stop()
            held.answer(BUSY)
            assert await all_of(outcomes) == []
        known = await load_ledger(out / OWN_DIRECTORY)
        assert [state.status for _, state in known.index.states.items()] == ["done"]


async def test_a_stop_does_not_wait_for_a_second_try_of_what_was_lost(out: Path) -> None:
    later = reply(500, {"error": {"message": "broken"}}, {"retry-after": "100"})
    async with answering(later) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(1), out=out, on_uncertain="retry") as outcomes:
            while not server.requests or outcomes.in_flight:
                await anyio.sleep(0.01)
            outcomes.stop()
            with anyio.fail_after(20):
                [lost] = await all_of(outcomes)
        assert isinstance(lost.error, ChargeUnknownError)
        assert len(server.requests) == 1
        async with ImageEditor(client).edit_many(jobs(1), out=out) as outcomes:
            [again] = await all_of(outcomes)
        assert again.status == "uncertain"
        assert again.problem is not None


async def test_leaving_calls_only_that_uncertain_of_which_a_byte_was_sent(out: Path) -> None:
    async with holding() as held, client_of(held.server, connections=1) as client:
        async with ImageEditor(client).edit_many(jobs(6), out=out, concurrency=6) as outcomes:
            await held.has(1)
        assert [each.status for each in outcomes.abandoned] == ["uncertain"]
        held.answer(done())
        async with ImageEditor(client).edit_many(jobs(6), out=out) as outcomes:
            await all_of(outcomes)
            assert outcomes.counts == {"uncertain": 1, "done": 5}


def no_key() -> str:
    raise ZeroDivisionError("the vault is shut")


async def cancelled_key() -> str:
    """What it waits for was cancelled by somebody else."""
    waited_for = asyncio.get_running_loop().create_future()
    waited_for.cancel()
    return str(await waited_for)


@pytest.mark.parametrize(("key", "error"), [(no_key, CredentialError), (cancelled_key, RuntimeError)])
async def test_a_key_that_can_not_be_had_makes_no_edit_uncertain(
    server: LocalServer, out: Path, key: Callable[[], str], error: type[Exception]
) -> None:
    async with (
        Client(key, base_url=server.url) as client,
        ImageEditor(client).edit_many(jobs(4), out=out, max_edits=4) as outcomes,
    ):
        assert {outcome.status for outcome in await until(outcomes, error)} <= {"failed"}
    assert server.requests == []
    async with (
        Client("sk-1", base_url=server.url) as client,
        ImageEditor(client).edit_many(jobs(4), out=out, max_edits=4) as outcomes,
    ):
        await all_of(outcomes)
        assert outcomes.counts == {"done": 4}


async def test_what_ended_and_was_not_taken_is_there_after_leaving_early(client: Client, server: LocalServer) -> None:
    async with ImageEditor(client).edit_many(jobs(5), concurrency=5) as outcomes:
        first = await anext(outcomes)
        while server.edits.edits < 5 or outcomes.in_flight:
            await anyio.sleep(0.01)
    assert first not in outcomes.abandoned
    assert {each.status for each in outcomes.abandoned} == {"done"}
    assert len(outcomes.abandoned) == 4
    assert all(each.result is not None and each.result.images[0].content for each in outcomes.abandoned)
    assert outcomes.images_made == 5


async def test_what_was_taken_is_not_there_again(client: Client) -> None:
    async with ImageEditor(client).edit_many(jobs(5)) as outcomes:
        await all_of(outcomes)
        assert outcomes.abandoned == ()
    assert outcomes.abandoned == ()


async def test_leaving_while_the_caller_saves_loses_no_picture_and_no_cost(client: Client, tmp_path: Path) -> None:
    begun = anyio.Event()

    async def save(edit: ImageEdit, result: EditResult) -> None:
        begun.set()
        await anyio.sleep_forever()

    editor, out = ImageEditor(client), tmp_path / "out"
    async with editor.edit_many(jobs(1), out=out, save=save) as outcomes:
        await begun.wait()
    [paid] = outcomes.abandoned
    assert paid.status == "uncertain"
    assert isinstance(paid.error, SaveError)
    assert paid.files == (out / "1.png",)
    assert paid.result is not None
    async with editor.edit_many(jobs(1), out=out, save=save) as outcomes:
        [again] = await all_of(outcomes)
    assert again.status == "uncertain"
    assert again.usage is not None
    assert paid.usage is not None
    assert again.usage.total_tokens == paid.usage.total_tokens
