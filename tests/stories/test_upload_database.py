"""Uploads whose journal is a database: another machine goes on with them, and none is made twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, InternalServerError, JournalError, PostgresJournal, UploadJob
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.server import LocalServer
from asyncsdk.uploads.journal import Part
from tests.postgres.proxy import When, proxy_to
from tests.postgres.server import PostgresServer
from tests.stories.support import MIB, REFUSE_THE_REST, MakeFile, md5_of


def uploader(client: Client, journal: object, **settings: int) -> AsyncUploader:
    return AsyncUploader(client, journal=journal, part_size=MIB, concurrency=2, **settings)  # type: ignore[arg-type] # a URL, or a journal


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def calls(server: LocalServer, route: str) -> int:
    return sum(request.route == route for request in server.requests)


async def test_another_container_goes_on_with_what_one_began_and_needs_nothing_local(
    server: LocalServer, client: Client, make_file: MakeFile, tmp_path: Path, database_url: str
) -> None:
    first, second = make_file(10 * MIB, name="first.bin"), tmp_path / "elsewhere" / "second.bin"
    server.inject(REFUSE_THE_REST)
    with pytest.raises(InternalServerError) as failure:
        await uploader(client, database_url, max_retries=0).upload(
            first, purpose="batch", key="night/1", filename="night.bin"
        )
    server.clear_faults()
    [entry] = await PostgresJournal(database_url).entries()
    held = sum(record.length for record in entry.records if isinstance(record, Part))
    assert held >= failure.value.bytes_done >= 3 * MIB
    second.parent.mkdir()
    first.rename(second)
    result = await uploader(client, database_url).upload(second, purpose="batch", key="night/1", filename="night.bin")
    assert (result.bytes_resumed, result.bytes_sent) == (held, 10 * MIB - held)
    assert result.md5 == md5_of(second)
    assert len(server.files) == 1
    again = await uploader(client, database_url).upload(second, purpose="batch", key="night/1", filename="night.bin")
    assert again.reused


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "name", ["holder_renew", "upload_claim", "upload_read", "upload_beginnings", "upload_compact", "upload_release"]
)
async def test_an_answer_that_is_lost_at_any_other_statement_makes_no_second_upload(
    server: LocalServer, client: Client, make_file: MakeFile, database_url: str, *, name: str, when: When
) -> None:
    path = make_file(10 * MIB)
    async with PostgresJournal(database_url).claim("warm"), proxy_to(_port(database_url)) as proxy:
        url = proxy.through(database_url)
        server.inject(REFUSE_THE_REST)
        if name in {"holder_renew", "upload_beginnings"}:  # which the second call has no need of
            proxy.cut(name, when)
        with pytest.raises(InternalServerError):
            await uploader(client, url, max_retries=0).upload(path, purpose="batch")
        server.clear_faults()
        if not proxy.seen:
            proxy.cut(name, when)
        result = await uploader(client, url).upload(path, purpose="batch")
        assert proxy.cuts_left == 0
    assert result.bytes_resumed + result.bytes_sent == 10 * MIB
    assert (len(server.uploads), len(server.files), result.md5) == (1, 1, md5_of(path))


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_database_that_is_cut_off_at_each_record_makes_no_second_upload(
    server: LocalServer, client: Client, make_file: MakeFile, database_url: str, when: When
) -> None:
    path = make_file(4 * MIB)
    async with proxy_to(_port(database_url)) as proxy:
        proxy.cut("upload_append", when, times=20)
        url = proxy.through(database_url)
        result = await uploader(client, url).upload(path, purpose="batch")
        assert proxy.cuts_left <= 17
    assert (result.md5, result.bytes_sent) == (md5_of(path), 4 * MIB)
    assert len(server.files) == 1
    [entry] = await PostgresJournal(database_url).entries()
    assert [type(record).__name__ for record in entry.records][-1] == "Completed"


async def test_a_second_process_waits_for_the_first_and_returns_its_result(
    server: LocalServer, client: Client, make_file: MakeFile, database_url: str
) -> None:
    path = make_file(6 * MIB)
    both = await asyncio.gather(*(uploader(client, database_url).upload(path, purpose="batch") for _ in range(2)))
    assert sorted(result.reused for result in both) == [False, True]
    assert len(server.files) == 1


async def test_many_small_files_go_through_two_connections(
    server: LocalServer, client: Client, make_file: MakeFile, postgres_server: PostgresServer, database_url: str
) -> None:
    jobs = [UploadJob(make_file(1000 + number, name=f"{number}.bin"), "batch") for number in range(20)]
    async with proxy_to(postgres_server.port) as proxy:
        url = proxy.through(database_url)
        most = 0
        async with uploader(client, url).upload_many(jobs) as outcomes:
            async for outcome in outcomes:
                assert outcome.error is None
                most = max(most, proxy.connections)
        assert most <= 2
    assert len(server.files) == 20
    assert {entry.owner for entry in await PostgresJournal(database_url).entries()} == {None}


async def test_an_upload_that_another_process_has_taken_over_and_completed_says_so(
    server: LocalServer, client: Client, make_file: MakeFile, postgres_server: PostgresServer, database: str
) -> None:
    path, url = make_file(6 * MIB), postgres_server.url(database)
    slow = AsyncUploader(client, journal=url, part_size=MIB, concurrency=1, limit_rate=2 * MIB)
    late = asyncio.ensure_future(slow.upload(path, purpose="batch"))
    while calls(server, "part") < 2:
        await asyncio.sleep(0.02)
    postgres_server.sql("update asyncsdk.holder set until = clock_timestamp() - interval '1 hour'", database=database)
    other = PostgresJournal(url, terms=LeaseTerms(lease=0.4, renew_every=0.1))
    result = await uploader(client, other).upload(path, purpose="batch")
    with pytest.raises(JournalError, match="another process has taken over this upload") as caught:
        await late
    assert caught.value.resumable
    assert (len(server.files), len(server.uploads)) == (1, 1)
    assert result.md5 == md5_of(path)
    again = await slow.upload(path, purpose="batch")
    assert (again.reused, again.file.id) == (True, result.file.id)
