"""Several processes share a list of files: what another sends is passed over, and its File is the result."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from asyncsdk import (
    AsyncUploader,
    Client,
    InternalServerError,
    JournalError,
    PostgresJournal,
    Progress,
    UploadJob,
    UploadOutcome,
    UploadOutcomes,
)
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.repository import Repository
from asyncsdk.timing import DEFAULT_TIMING
from tests.stories.support import MIB, MakeFile, md5_of
from tests.waiting import until


def old(path: Path, content: bytes | None = None) -> Path:
    """The file, changed long ago; with other content as if nothing had changed."""
    if content is not None:
        path.write_bytes(content)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


@asynccontextmanager
async def held_up(server: LocalServer) -> AsyncIterator[tuple[Client, asyncio.Event]]:
    """A client that creates an upload, and sends nothing more until the event is set."""
    goes_on = asyncio.Event()

    async def key() -> str:
        if server.uploads:
            await goes_on.wait()
        return "sk-test"

    async with Client(key, base_url=server.url) as client:
        yield client, goes_on


async def all_of(outcomes: UploadOutcomes) -> list[UploadOutcome]:
    return [outcome async for outcome in outcomes]


@pytest.fixture(params=["files", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each uploader that gets it has it as another process would."""
    return str(tmp_path / "journal") if request.param == "files" else request.getfixturevalue("database_url")


async def test_what_another_sends_is_passed_over_and_comes_again_once_it_is_there(
    server: LocalServer, client: Client, make_file: MakeFile, journal: str
) -> None:
    large, small = old(make_file(4 * MIB, name="large.bin")), old(make_file(1000, name="small.bin"))
    jobs = [UploadJob(path, "batch") for path in (large, small)]
    seen = []
    async with held_up(server) as (slow, goes_on):
        other = asyncio.ensure_future(
            AsyncUploader(slow, journal=journal, part_size=MIB).upload(large, purpose="batch")
        )
        await until(lambda: bool(server.uploads))
        async with AsyncUploader(client, journal=journal, part_size=MIB).upload_many(jobs) as outcomes:
            async for outcome in outcomes:
                assert outcome.result is not None
                seen.append((outcome.job, outcome.status, outcome.result.by_others))
                if outcome.job is jobs[1]:
                    await until(lambda: outcomes.waiting == 1)
                    goes_on.set()
            assert outcomes.waiting == 0
        assert seen == [(jobs[1], "done", False), (jobs[0], "reused", True)]
        assert (len(server.files), (await other).by_others) == (2, False)


async def test_what_is_to_be_sent_again_is_not_sent_twice_at_a_time(
    server: LocalServer, client: Client, make_file: MakeFile, journal: str
) -> None:
    path = old(make_file(4 * MIB, name="large.bin"))
    jobs, seen = [UploadJob(path, "batch", if_uploaded="again")], list[Progress]()
    async with held_up(server) as (slow, goes_on):
        uploading = AsyncUploader(slow, journal=journal, part_size=MIB).upload(
            path, purpose="batch", if_uploaded="again"
        )
        other = asyncio.ensure_future(uploading)
        await until(lambda: bool(server.uploads))
        async with AsyncUploader(client, journal=journal, part_size=MIB).upload_many(
            jobs, on_progress=seen.append
        ) as outcomes:
            ended = asyncio.ensure_future(all_of(outcomes))
            await until(lambda: any(progress.state == "waiting" for progress in seen))
            goes_on.set()
            [outcome] = await ended
        assert outcome.result is not None
        assert (outcome.status, outcome.result.file.id) == ("reused", (await other).file.id)
    assert len(server.files) == 1


@pytest.mark.parametrize("way", ["stopped", "left"])
async def test_what_failed_and_was_to_come_again_has_an_outcome_where_the_run_ends_before(
    server: LocalServer, client: Client, make_file: MakeFile, journal: str, way: str
) -> None:
    large, small = old(make_file(4 * MIB, name="large.bin")), make_file(1000, name="small.bin")
    jobs = [UploadJob(large, "batch"), UploadJob(small, "batch", method="uploads")]
    uploader, ended = AsyncUploader(client, journal=journal, concurrency=1, max_retries=0), list[UploadOutcome]()
    async with held_up(server) as (slow, _):
        other = asyncio.ensure_future(
            AsyncUploader(slow, journal=journal, part_size=MIB).upload(large, purpose="batch")
        )
        await until(lambda: bool(server.uploads))
        server.inject(Fault("create", "answer", status=500))
        async with uploader.upload_many(jobs) as outcomes:
            following = asyncio.ensure_future(all_of(outcomes))
            await until(lambda: outcomes.abandoned)  # the failure of the small one, which was to come again
            if way == "stopped":
                outcomes.stop()
                ended += await following
            else:
                following.cancel()
                await asyncio.wait([following])
        ended += outcomes.abandoned
        assert [(outcome.job, type(outcome.error)) for outcome in ended] == [(jobs[1], InternalServerError)]
        assert outcomes.counts == ({"failed": 1} if way == "stopped" else {})
        other.cancel()
        await asyncio.wait([other])


async def test_a_stream_that_another_sends_is_waited_for_since_it_can_be_read_only_once(
    server: LocalServer, client: Client, tmp_path: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCSDK_SPOOL", str(tmp_path))
    content = os.urandom(2 * MIB)

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    slow = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1, limit_rate=2 * MIB)
    other = asyncio.ensure_future(slow.upload(content, purpose="batch", filename="a.bin", key="a"))
    await until(lambda: bool(server.uploads))
    jobs = [UploadJob(pieces(), "batch", filename="a.bin", key="a")]
    async with AsyncUploader(client, journal=journal).upload_many(jobs) as outcomes:
        [outcome] = [outcome async for outcome in outcomes]
    assert outcome.result is not None
    assert (outcome.status, outcome.result.file.id) == ("reused", (await other).file.id)


async def test_what_another_has_just_sent_is_known_by_size_and_time_of_change_and_what_was_there_before_is_read(
    server: LocalServer, client: Client, make_file: MakeFile, journal: str
) -> None:
    path, began = old(make_file(3000, name="a.bin")), time.monotonic()
    first = await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    old(path, b"x" * 3000)
    meanwhile = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", since=began)
    assert (meanwhile.file.id, meanwhile.reused, meanwhile.by_others) == (first.file.id, True, True)
    assert meanwhile.md5 == first.md5
    later = await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    assert (later.reused, later.by_others, later.md5) == (False, False, md5_of(path))
    again = await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    assert (again.reused, again.by_others, again.file.id) == (True, False, later.file.id)


async def test_what_has_another_time_of_change_than_when_it_was_sent_is_read(
    server: LocalServer, client: Client, make_file: MakeFile, journal: str
) -> None:
    path, began = old(make_file(3000, name="a.bin")), time.monotonic()
    await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    path.write_bytes(b"x" * 3000)
    os.utime(path, (1_700_000_001, 1_700_000_001))
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", since=began)
    assert (result.reused, result.md5) == (False, md5_of(path))


async def test_another_file_of_the_same_time_in_whole_seconds_is_read(
    server: LocalServer, client: Client, make_file: MakeFile, journal: str
) -> None:
    path, began = old(make_file(3000, name="a.bin")), time.monotonic()
    await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    path.rename(path.with_name("kept"))  # so that its inode is in use
    old(path, b"x" * 3000)
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", since=began)
    assert (result.reused, result.md5) == (False, md5_of(path))


@pytest.fixture
async def brief(server: LocalServer) -> AsyncIterator[Client]:
    timing = evolve(DEFAULT_TIMING, first_delay=0.01, file_answer=0.3, file_search=0.3, file_search_interval=0.05)
    async with Client("sk-test", base_url=server.url, timing=timing) as client:
        yield client


@contextmanager
def first_file_waits() -> Iterator[asyncio.Event]:
    """Until it is set, a server of this process is at work on the first file that comes by one request."""
    add_file, is_set, is_first = Repository.add_file, asyncio.Event(), iter([True])

    async def add(repository: Repository, *arguments: Any) -> None:
        if next(is_first, False):
            await is_set.wait()
        await add_file(repository, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Repository, "add_file", add)
        yield is_set


async def test_a_file_that_goes_by_one_request_while_its_lease_lapses_may_be_there_twice_which_is_said(
    server: LocalServer, client: Client, brief: Client, make_file: MakeFile, database_url: str
) -> None:
    path = make_file(3000)
    late = AsyncUploader(client, journal=database_url)
    with first_file_waits() as goes_on:
        sending = asyncio.ensure_future(late.upload(path, purpose="batch", method="files"))
        await until(lambda: server.calls.get("files.create") == 1)
        await let_leases_lapse(database_url)
        terms = LeaseTerms(lease=0.3, renew_every=0.1)
        other = AsyncUploader(brief, journal=PostgresJournal(database_url, terms=terms))
        result = await other.upload(path, purpose="batch", method="files")
        assert result.duplicate_possible
        goes_on.set()
        with pytest.raises(JournalError, match="another process has taken over this upload"):
            await sending
    second = next(file.id for file in server.files if file.id != result.file.id)
    again = await late.upload(path, purpose="batch", method="files")
    assert (again.file.id, again.reused, again.duplicates) == (result.file.id, True, (second,))
    assert (await late.upload(path, purpose="batch", method="files")).duplicates == ()


async def let_leases_lapse(url: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute("update asyncsdk.holder set until = clock_timestamp() - interval '1 hour'")
    await connection.close()
