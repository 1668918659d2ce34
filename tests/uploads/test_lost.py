"""What became of a lost POST /files, asked of a real server: its own file, none, or not known; never a rival's."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from attrs import define, evolve, field

from asyncsdk import AsyncUploader, Client, api
from asyncsdk.errors import APIConnectionError, APIError
from asyncsdk.models import File
from asyncsdk.retry import Retry
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import DEFAULT_TIMING, Timing
from asyncsdk.uploads.response_checks import Content
from asyncsdk.uploads.whole.lost import LostFiles
from asyncsdk.uploads.whole.lost_files import LostRequest, NotThere, OutcomeUnknown, OwnFile, Verdict
from tests.waiting import until

QUICK = evolve(DEFAULT_TIMING, first_delay=0.01, file_search=0.4)
NAME = "a.jsonl"
MADE, NOT_MADE = Fault("files.create", "reset", "done"), Fault("files.create", "reset", "after")
DATE_SECONDS = 1.0  # what a Date leaves open

RIVAL_TRIES = 40  # a thousand take longer than a test may: `python -m tests.uploads.test_lost`


@define(eq=False)
class Scene:
    """A client with its `LostFiles`, a server, and a rival with a client of its own."""

    server: LocalServer
    client: Client
    rival: Client
    lost: LostFiles = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.lost = LostFiles(self.client)

    async def send(self, content: bytes, *, name: str = NAME, purpose: str = "batch") -> File | LostRequest:
        """Send a file as an uploader does: its File, or the request where the response was lost."""
        what = Content(name, purpose, len(content))
        began = await self.lost.now(Retry())
        try:
            with self.lost.sending(what):
                file = await post(self.client, content, name=name, purpose=purpose)
        except APIConnectionError:
            return LostRequest(content=what, md5=md5(content), began=began, until=self.client.clock.now() + 0.2)
        self.lost.answered(file.id)
        return file

    async def lose(self, content: bytes, fault: Fault, **options: str) -> LostRequest:
        self.server.inject(fault)
        request = await self.send(content, **options)
        assert isinstance(request, LostRequest)
        return request

    async def find(self, lost: LostRequest, taken: frozenset[str] = frozenset()) -> Verdict:
        async def known(ids: Collection[str]) -> Collection[str]:
            return taken & set(ids)

        return await self.lost.find(lost, Retry(2), taken=known)


async def post(client: Client, content: bytes, *, name: str = NAME, purpose: str = "batch") -> File:
    return await client.send(api.create_file(file=content, filename=name, purpose=purpose), max_retries=0)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@asynccontextmanager
async def scene(clock: Callable[[], float] = time.time, timing: Timing = QUICK) -> AsyncIterator[Scene]:
    async with (
        LocalServer(clock=clock) as server,
        Client("sk-test", base_url=server.url, timing=timing) as client,
        Client("sk-test", base_url=server.url, timing=QUICK) as rival,
    ):
        yield Scene(server, client, rival)


async def test_a_file_that_was_made_is_found_at_once() -> None:
    async with scene() as at:
        lost = await at.lose(b"ours" * 100_000, MADE)
        began = time.monotonic()
        verdict = await at.find(lost)
        assert verdict == OwnFile(own_file(verdict), ())
        assert own_file(verdict).id == at.server.files[0].id
        assert time.monotonic() - began < lost.until + QUICK.file_search - at.client.clock.now() + 2


async def test_one_that_was_not_made_is_not_there_and_that_is_said_no_earlier_than_it_is_settled() -> None:
    async with scene() as at:
        lost = await at.lose(b"ours", NOT_MADE)
        assert await at.find(lost) == NotThere()
        assert at.client.clock.now() >= lost.until + QUICK.file_search - DATE_SECONDS
        assert at.server.calls["files.list"] == 3  # for the time, at once, and when it is settled


async def test_a_file_that_is_listed_late_is_found() -> None:
    async with scene(timing=evolve(QUICK, file_search=1.0)) as at:
        lost = await at.lose(b"ours", NOT_MADE)
        at.server.clear_requests()
        search = asyncio.ensure_future(at.find(lost))
        await until(lambda: [each for each in at.server.requests if each.route == "files.list"])
        late = await post(at.rival, b"ours")  # the server was slow to make it
        assert own_file(await search).id == late.id


@pytest.mark.parametrize("minutes", [-7, 7])
async def test_a_server_whose_clock_is_off_is_asked_by_its_own_clock(minutes: int) -> None:
    async with scene(lambda: time.time() + 60 * minutes) as at:
        lost = await at.lose(b"ours", MADE)
        assert own_file(await at.find(lost)).id == at.server.files[0].id
        again = await at.lose(b"new", NOT_MADE, name="b.jsonl")
        assert await at.find(again) == NotThere()
        assert at.client.clock.now() >= again.until + QUICK.file_search - DATE_SECONDS


async def test_a_file_whose_response_came_late_does_not_set_the_clock_back(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"ours")
    async with scene() as at:
        at.server.inject(Fault("files.create", "stall", "done", seconds=4))
        uploader = AsyncUploader(at.client, journal="memory")
        await uploader.upload(tmp_path / "a.bin", purpose="batch", method="files")
        assert at.client.clock.now() > time.time() - 2


async def test_one_listing_serves_all_that_ask_at_the_time() -> None:
    async with scene() as at:
        lost = [await at.lose(b"%d" % number, MADE, name=f"{number}.jsonl") for number in range(20)]
        at.server.clear_requests()
        verdicts = await asyncio.gather(*map(at.find, lost))
        assert [own_file(verdict).filename for verdict in verdicts] == [each.content.filename for each in lost]
        assert at.server.calls["files.list"] == 1


async def test_a_listing_serves_only_those_that_asked_before_it_began() -> None:
    async with scene() as at:
        lost = [await at.lose(b"%d" % number, MADE, name=f"{number}.jsonl") for number in range(4)]
        at.server.clear_requests()
        at.server.inject(Fault("files.list", "stall", seconds=0.3))
        first = asyncio.ensure_future(at.find(lost[0]))
        await until(lambda: at.server.calls.get("files.list"))
        assert all(isinstance(verdict, OwnFile) for verdict in await asyncio.gather(first, *map(at.find, lost[1:])))
        assert at.server.calls["files.list"] == 2


async def test_when_the_one_that_lists_is_cancelled_another_takes_over() -> None:
    async with scene() as at:
        lost = [await at.lose(b"%d" % number, MADE, name=f"{number}.jsonl") for number in range(5)]
        at.server.clear_requests()
        at.server.inject(Fault("files.list", "stall"))  # until the one that lists is gone
        searches = [asyncio.ensure_future(at.find(each)) for each in lost]
        await until(lambda: at.server.calls.get("files.list"))
        searches[0].cancel()
        verdicts = await asyncio.gather(*searches, return_exceptions=True)
        assert isinstance(verdicts[0], asyncio.CancelledError)
        assert all(isinstance(verdict, OwnFile) for verdict in verdicts[1:])
        assert isinstance(await at.find(lost[0]), OwnFile)


async def test_a_rival_with_other_bytes_in_the_same_second_is_never_taken_for_ours() -> None:
    assert await rival_tries(RIVAL_TRIES) == []


async def test_a_rival_with_the_same_bytes_makes_it_unknown_where_ours_is_there_too() -> None:
    async with scene() as at:
        lost = await at.lose(b"same", MADE)
        theirs = await post(at.rival, b"same")
        verdict = await at.find(lost)
        assert isinstance(verdict, OutcomeUnknown)
        assert set(verdict.candidates) == {file.id for file in at.server.files}
        found = await at.find(lost, taken=frozenset({theirs.id}))
        assert own_file(found).id != theirs.id


@pytest.mark.parametrize("purpose", ["user_data", "assistants"])
async def test_where_the_server_gives_no_content_back_it_is_unknown(purpose: str) -> None:
    async with scene() as at:
        lost = await at.lose(b"ours", MADE, purpose=purpose)
        assert await at.find(lost) == OutcomeUnknown((at.server.files[0].id,))
        not_made = await at.lose(b"none", NOT_MADE, purpose=purpose, name="b.jsonl")
        assert await at.find(not_made) == NotThere()


async def test_a_file_that_another_call_was_answered_is_not_taken_though_it_has_the_same_bytes() -> None:
    async with scene() as at:
        other = await at.send(b"same")
        assert isinstance(other, File)
        lost = await at.lose(b"same", NOT_MADE)
        assert await at.find(lost) == NotThere()


async def test_two_lost_requests_with_the_same_bytes_each_get_a_file_of_their_own() -> None:
    async with scene() as at:
        lost = [await at.lose(b"same", MADE) for _ in range(3)]
        verdicts = await asyncio.gather(*map(at.find, lost))
        assert {own_file(verdict).id for verdict in verdicts} == {file.id for file in at.server.files}
        assert [own.duplicates for own in verdicts if isinstance(own, OwnFile)] == [(), (), ()]


async def test_a_request_that_may_have_made_two_gets_both() -> None:
    async with scene() as at:
        lost = [await at.lose(b"same", MADE) for _ in range(2)]
        verdict = await at.find(evolve(lost[1], began=lost[0].began, alike=2))
        assert isinstance(verdict, OwnFile)
        assert {verdict.file.id, *verdict.duplicates} == {file.id for file in at.server.files}


async def test_of_two_alike_the_one_that_was_not_made_is_not_there() -> None:
    async with scene() as at:
        lost = [await at.lose(b"same", MADE), await at.lose(b"same", NOT_MADE)]
        verdicts = await asyncio.gather(*map(at.find, lost))
        assert sorted(type(verdict).__name__ for verdict in verdicts) == ["NotThere", "OwnFile"]


async def test_a_file_of_a_request_that_is_still_on_its_way_is_not_taken() -> None:
    async with scene() as at:
        lost = await at.lose(b"same", NOT_MADE)
        at.server.inject(Fault("files.create", "stall", "done", seconds=0.3))
        sending = asyncio.ensure_future(at.send(b"same"))
        await until(lambda: at.server.files)
        assert await at.find(lost) == NotThere()
        answered = await sending
        assert isinstance(answered, File)


async def test_a_file_that_is_deleted_meanwhile_is_not_there() -> None:
    async with scene() as at:
        lost = await at.lose(b"ours", MADE)
        at.server.inject(Fault("files.content", "stall", "before", seconds=1.0))
        search = asyncio.ensure_future(at.find(lost))
        await until(lambda: at.server.calls.get("files.content"))
        await at.rival.send(api.delete_file(at.server.files[0].id))
        assert await search == NotThere()


async def test_content_that_is_not_served_though_the_file_is_there_makes_it_unknown() -> None:
    async with scene() as at:
        lost = await at.lose(b"ours", MADE)
        at.server.inject(Fault("files.content", "answer", every=1, status=404))
        assert await at.find(lost) == OutcomeUnknown((at.server.files[0].id,))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("files.content", "answer", every=1, status=200, body="<html>Please log in</html>"),
        Fault("files.content", "answer", every=1, status=503),
        Fault("files.content", "reset", every=1),
    ],
)
async def test_content_that_can_not_be_read_makes_it_unknown_with_the_error(fault: Fault) -> None:
    async with scene() as at:
        lost = await at.lose(b"ours", MADE)
        at.server.inject(fault)
        verdict = await at.find(lost)
        assert isinstance(verdict, OutcomeUnknown)
        assert verdict.candidates == (at.server.files[0].id,)
        assert isinstance(verdict.cause, APIError)
        at.server.clear_faults()
        assert isinstance(await at.find(lost), OwnFile)


async def test_a_list_that_can_not_be_had_makes_it_unknown_and_a_passing_failure_does_not() -> None:
    async with scene() as at:
        lost = await at.lose(b"ours", MADE)
        at.server.inject(Fault("files.list", "answer", every=1, status=500))
        verdict = await at.find(lost)
        assert isinstance(verdict, OutcomeUnknown)
        assert isinstance(verdict.cause, APIError)
        at.server.clear_faults()
        at.server.inject(Fault("files.list", "reset"), Fault("files.content", "reset"))
        assert isinstance(await at.find(lost), OwnFile)


async def test_without_a_network_it_is_unknown() -> None:
    async with scene() as at:
        lost = await at.lose(b"ours", MADE)
        await at.client.aclose()
        verdict = await at.find(lost)
        assert isinstance(verdict, OutcomeUnknown)
        assert verdict.cause is not None


async def test_it_is_found_in_a_list_of_many_pages_while_others_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.uploads.listing.listed.PAGE_FILES", 7)
    async with scene(timing=DEFAULT_TIMING) as at:
        lost = await at.lose(b"ours", MADE)
        for number in range(60):
            await post(at.rival, b"%d" % number)
        at.server.inject(Fault("files.list", "stall", every=1, seconds=0.02))

        async def others() -> None:
            while True:
                await post(at.rival, b"more", name="more.jsonl")

        uploading = asyncio.ensure_future(others())
        try:
            assert own_file(await at.find(lost)).id == at.server.files[0].id
        finally:
            uploading.cancel()
        assert at.server.calls["files.list"] >= 9


async def test_what_is_older_than_the_request_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.uploads.listing.listed.PAGE_FILES", 7)
    hours = [0.0]
    async with scene(lambda: time.time() + 3600 * hours[0]) as at:
        for number in range(60):
            hours[0] += 0.1
            await post(at.rival, b"%d" % number)
        hours[0] += 1
        lost = await at.lose(b"ours", MADE)
        at.server.clear_requests()
        assert isinstance(await at.find(lost), OwnFile)
        assert at.server.calls["files.list"] == 1


async def rival_tries(tries: int) -> list[str]:
    """What is wrong after so many lost requests, each with a rival of other bytes; half of them were made."""
    wrong: list[str] = []
    async with scene() as at:
        lost: dict[bytes, tuple[LostRequest, bool]] = {}
        for number in range(tries):
            ours, theirs, made = b"ours %8d" % number, b"else %8d" % number, number % 2 == 0
            name = f"{number}.jsonl"
            if number % 4 < 2:
                await post(at.rival, theirs, name=name)
            lost[ours] = await at.lose(ours, MADE if made else NOT_MADE, name=name), made
            if number % 4 >= 2:
                await post(at.rival, theirs, name=name)
        stored = {file.id: at.server.stored(file.id).read_bytes() for file in at.server.files}
        verdicts = await asyncio.gather(*(at.find(request) for request, _ in lost.values()))
        for (ours, (_, made)), verdict in zip(lost.items(), verdicts, strict=True):
            right = isinstance(verdict, OwnFile) and stored[verdict.file.id] == ours if made else verdict == NotThere()
            wrong += [] if right else [f"{ours!r}: {verdict}"]
    return wrong


def own_file(verdict: Verdict) -> File:
    assert isinstance(verdict, OwnFile), verdict
    return verdict.file


def main() -> int:
    """The long form."""
    wrong = asyncio.run(rival_tries(1000))
    print(f"1,000 lost requests with a rival each: {len(wrong)} wrong", *wrong, sep="\n")  # noqa: T201 - it is a program
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
