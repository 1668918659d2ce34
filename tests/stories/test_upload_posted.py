"""A file that is sent by one request is there once, is reused by both methods, and is what was read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from asyncsdk import (
    APIStatusError,
    AsyncUploader,
    BadRequestError,
    Client,
    ConfigurationError,
    FileJournal,
    RateLimitError,
    SourceChangedError,
    UploadJob,
)
from asyncsdk.events import Progress, RequestEvent
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from asyncsdk.uploads.method import LARGEST_POST, UploadMethod
from asyncsdk.uploads.resuming.resume import Stage, replay
from asyncsdk.uploads.whole.file_run import FileRun
from tests.stories.support import MIB, MakeFile, interrupted, md5_of
from tests.waiting import until

BLOCK = MIB // 2


@pytest.mark.parametrize("size", [1, 100_000, BLOCK, BLOCK + 1, 8 * MIB, 20 * MIB])
async def test_a_file_of_any_size_is_what_was_read_and_has_no_upload(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile, size: int
) -> None:
    path = make_file(size)
    result = await uploader.upload(path, purpose="batch", method="files")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert (result.upload, result.md5, result.reused) == (None, md5_of(path), False)
    assert (result.bytes_sent, result.bytes_resumed) == (size, 0)
    assert (result.duplicate_possible, result.duplicates) == (False, ())
    assert (server.calls["files.create"], server.calls.get("create", 0)) == (1, 0)


async def test_all_fields_go_along(server: LocalServer, uploader: AsyncUploader, make_file: MakeFile) -> None:
    result = await uploader.upload(
        make_file(100),
        purpose="user_data",
        filename="ä.txt",
        mime_type="text/x-own",
        expires_after=7200,
        method="files",
    )
    assert (result.file.filename, result.file.purpose) == ("ä.txt", "user_data")
    assert result.file.expires_at == (result.file.created_at or 0) + 7200


@pytest.mark.parametrize("first", ["files", "uploads"])
@pytest.mark.parametrize("then", ["files", "uploads", "auto", None])
async def test_a_file_that_is_there_is_reused_whichever_method_sent_it(  # noqa: PLR0917 - fixtures and two columns
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, first: str, then: str | None
) -> None:
    path = make_file(10_000)
    sent = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method=first)  # type: ignore[arg-type]
    again = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method=then)  # type: ignore[arg-type]
    assert (again.reused, again.file.id, again.bytes_sent) == (True, sent.file.id, 0)
    assert (again.upload is None) is (first == "files")
    assert len(server.files) == 1


async def test_content_that_has_changed_is_sent_and_asked_for_again_it_is_sent_again(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    first = await uploader.upload(make_file(1000), purpose="batch", method="files")
    changed = make_file(1000, seed=2)
    second = await uploader.upload(changed, purpose="batch", method="files")
    third = await uploader.upload(changed, purpose="batch", method="files", if_uploaded="again")
    assert len({first.file.id, second.file.id, third.file.id}) == 3
    assert server.stored(second.file.id).read_bytes() == changed.read_bytes()


async def test_an_upload_that_is_open_goes_on_in_parts_whatever_the_method(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file(8 * MIB)
    held = await interrupted(server, client, journal, path)
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method="files")
    assert (result.bytes_resumed, server.calls.get("files.create", 0)) == (held, 0)
    assert result.upload is not None


async def test_a_file_too_large_for_one_request_is_refused_before_anything_is_sent(
    server: LocalServer, uploader: AsyncUploader, tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    path.touch()
    os.truncate(path, LARGEST_POST + 1)
    with pytest.raises(ConfigurationError, match="at most 512 MiB"):
        await uploader.upload(path, purpose="batch", method="files")
    with pytest.raises(ConfigurationError, match="at most 512 MiB"):
        await uploader.check(UploadJob(path, "batch", method="files"))
    with pytest.raises(ConfigurationError, match="method must be"):
        await uploader.upload(path, purpose="batch", method="post")  # type: ignore[arg-type]
    assert not server.calls


@pytest.mark.parametrize("size", [1000, 2 * MIB])
async def test_a_source_that_changes_between_hashing_and_sending_makes_no_file_of_both(  # noqa: PLR0917 - fixtures
    server: LocalServer,
    client: Client,
    journal: Path,
    make_file: MakeFile,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    """It changes after it was hashed, before its first byte goes. One block is sent from the memory that was hashed."""
    path, begin = make_file(size), FileRun._begin  # noqa: SLF001 - a moment that no fault of the server can choose

    async def changing(self: FileRun) -> None:
        make_file(size, seed=2)
        monkeypatch.setattr(FileRun, "_begin", begin)
        await begin(self)

    monkeypatch.setattr(FileRun, "_begin", changing)
    uploader = AsyncUploader(client, journal=journal)
    if size < BLOCK:
        result = await uploader.upload(path, purpose="batch", method="files")
        assert result.file.bytes == size
        assert server.stored(result.file.id).read_bytes() != path.read_bytes()
        assert md5_of(server.stored(result.file.id)) == result.md5
        return
    with pytest.raises(SourceChangedError, match="No file was made"):
        await uploader.upload(path, purpose="batch", method="files")
    assert server.files == []
    assert await stages(journal) == [Stage.FAILED]
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method="files")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert not result.duplicate_possible


async def stages(journal: Path) -> list[Stage]:
    states = [replay(entry.records) for entry in await FileJournal(journal).entries()]
    return [state.stage for state in states if state is not None]


async def test_a_refusal_made_nothing_and_the_next_call_looks_for_no_file(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path, uploader = make_file(5000), AsyncUploader(client, journal=journal)
    server.inject(Fault("files.create", "answer", "done", status=400))
    with pytest.raises(BadRequestError) as refused:
        await uploader.upload(path, purpose="batch", method="files")
    assert refused.value.bytes_done == 0
    assert await stages(journal) == [Stage.FAILED]
    listings = server.calls["files.list"]
    result = await uploader.upload(path, purpose="batch", method="files")
    assert (result.duplicate_possible, server.calls["files.list"]) == (False, listings)


async def test_a_429_is_waited_out_and_without_an_end_it_is_raised(
    server: LocalServer, client: Client, make_file: MakeFile
) -> None:
    server.inject(Fault("files.create", "answer", "before", status=429, times=3))
    result = await AsyncUploader(client, journal="memory", max_retries=2).upload(
        make_file(1000), purpose="batch", method="files"
    )
    assert (server.calls["files.create"], len(server.files)) == (4, 1)
    assert not result.duplicate_possible
    server.inject(Fault("files.create", "answer", "before", status=429))
    with pytest.raises(RateLimitError):
        await AsyncUploader(client, journal="memory", max_retries=0).upload(
            make_file(1000, seed=2), purpose="batch", method="files"
        )


async def test_under_auto_a_429_sends_the_file_through_the_uploads_api(
    server: LocalServer, client: Client, make_file: MakeFile
) -> None:
    server.inject(Fault("files.create", "answer", "before", status=429, retry_after=60))
    uploader = AsyncUploader(client, journal="memory")
    paths = [make_file(1000, name=f"{number}.txt", seed=number) for number in range(2)]
    results = [await uploader.upload(path, purpose="batch", method="auto") for path in paths]
    assert [result.upload is None for result in results] == [False, False]
    assert (server.calls["files.create"], server.calls["create"], len(server.files)) == (1, 2, 2)


@pytest.mark.parametrize("status", [404, 405, 413])
async def test_under_auto_a_file_that_a_gateway_or_server_takes_in_parts_alone_goes_in_parts(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, status: int
) -> None:
    server.inject(Fault("files.create", "answer", "after", every=1, status=status))
    path, uploader = make_file(3 * MIB), AsyncUploader(client, journal=journal)
    result = await uploader.upload(path, purpose="batch", method="auto")
    assert (result.upload is None, result.duplicate_possible) == (False, False)
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    with pytest.raises(APIStatusError):
        await uploader.upload(path, purpose="batch", method="files", if_uploaded="again")


@pytest.mark.parametrize(
    ("size", "options", "by_one"),
    [
        (MIB, {}, True),
        (8 * MIB, {}, True),
        (8 * MIB + 1, {}, False),
        (MIB, {"md5": "hex"}, False),
        (MIB, {"md5": "base64"}, False),
        (MIB, {"md5": None}, True),
        (MIB, {"single_request_up_to": MIB - 1}, False),
        (9 * MIB, {"single_request_up_to": 9 * MIB}, True),
        (1, {"single_request_up_to": 0}, False),
    ],
)
async def test_auto_sends_small_files_by_one_request_unless_a_digest_is_to_be_checked(
    client: Client, make_file: MakeFile, size: int, options: dict[str, object], *, by_one: bool
) -> None:
    uploader = AsyncUploader(client, journal="memory", **options)  # type: ignore[arg-type]
    result = await uploader.upload(make_file(size), purpose="batch", method="auto")
    assert (result.upload is None) is by_one


async def test_upload_many_chooses_by_itself_and_upload_does_not(
    client: Client, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    small, large = make_file(1000, name="a"), make_file(9 * MIB, name="b")
    jobs = [UploadJob(small, "batch"), UploadJob(large, "batch"), UploadJob(small, "vision", method="uploads")]
    async with uploader.upload_many(jobs) as outcomes:
        results = {outcome.job: outcome.result async for outcome in outcomes}
    assert [results[job] is not None and results[job].upload is None for job in jobs] == [True, False, False]  # type: ignore[union-attr]
    assert (await uploader.upload(make_file(1000, name="c"), purpose="batch")).upload is not None


async def test_a_rate_limit_counts_bytes_of_one_request_too(client: Client, make_file: MakeFile) -> None:
    uploader = AsyncUploader(client, journal="memory", limit_rate=MIB)
    result = await uploader.upload(make_file(MIB), purpose="batch", method="files")
    assert 0.8 < result.sending_seconds < 5


async def test_a_server_that_stops_reading_ends_the_attempt(
    server: LocalServer, client: Client, make_file: MakeFile
) -> None:
    server.inject(Fault("files.create", "stall", "before"))
    uploader = AsyncUploader(client, journal="memory", stall_timeout=0.5)
    result = await uploader.upload(make_file(20 * MIB), purpose="batch", method="files")
    assert (result.duplicate_possible, server.calls["files.create"], len(server.files)) == (False, 2, 1)


async def test_progress_counts_the_bytes_and_ends_completed(client: Client, make_file: MakeFile) -> None:
    seen: list[Progress] = []
    uploader = AsyncUploader(client, journal="memory", limit_rate=20e6)
    await uploader.upload(make_file(8 * MIB), purpose="batch", method="files", on_progress=seen.append)
    assert [seen[-1].bytes_done, seen[-1].state] == [8 * MIB, "completed"]
    assert max(snapshot.parts_in_flight for snapshot in seen) == 1


async def test_cancelled_before_its_last_byte_it_is_sent_by_the_next_call_with_no_look(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path, uploader = make_file(20 * MIB), AsyncUploader(client, journal=journal)
    server.inject(Fault("files.create", "stall", "before"))
    call = asyncio.ensure_future(uploader.upload(path, purpose="batch", method="files"))
    while server.unmet_faults():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await stages(journal) == [Stage.FAILED]
    result = await uploader.upload(path, purpose="batch", method="files")
    assert not result.duplicate_possible
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


async def test_cancelled_while_a_429_is_waited_out_it_is_sent_by_the_next_call_with_no_look(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path, uploader = make_file(1000), AsyncUploader(client, journal=journal)
    server.inject(Fault("files.create", "answer", "after", status=429, retry_after=60))
    failed = list[RequestEvent]()
    client._repeater.on_event = lambda event: failed.append(event) if event.error else None  # noqa: SLF001 - the client of the fixture has none
    call = asyncio.ensure_future(uploader.upload(path, purpose="batch", method="files"))
    await until(lambda: failed)
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await stages(journal) == [Stage.FAILED]
    listings = server.calls["files.list"]
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method="files")
    assert (result.duplicate_possible, server.calls["files.list"]) == (False, listings)


async def test_a_source_that_grows_while_it_is_sent_makes_no_file_of_its_beginning(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, begin = make_file(2 * MIB), FileRun._begin  # noqa: SLF001 - a moment that no fault of the server can choose

    async def growing(self: FileRun) -> None:
        with path.open("ab") as file:
            file.write(b"more")
        monkeypatch.setattr(FileRun, "_begin", begin)
        await begin(self)

    monkeypatch.setattr(FileRun, "_begin", growing)
    with pytest.raises(SourceChangedError, match="No file was made"):
        await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method="files")
    assert server.files == []
    assert await stages(journal) == [Stage.FAILED]


@pytest.mark.parametrize(
    ("method", "lost"),
    [("files", Fault("files.create", "reset", "done", nth=2)), ("uploads", Fault("complete", "reset", "done", nth=2))],
)
async def test_what_became_of_a_lost_response_is_found_without_reading_the_whole_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: UploadMethod, lost: Fault
) -> None:
    def read_all(_: FileJournal) -> None:
        pytest.fail("the whole journal was read")

    for name in ("entries", "stream"):
        monkeypatch.setattr(FileJournal, name, read_all)
    paths = [tmp_path / folder / "same.bin" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"{}\n")
    async with (
        LocalServer(tmp_path / "server", faults=[lost], repeated_complete=404) as server,
        Client("k", base_url=server.url, timing=Timing(file_search=0.5, file_search_interval=0.05)) as client,
    ):
        uploader = AsyncUploader(client, journal=tmp_path / "journal")
        ids = {(await uploader.upload(path, purpose="batch", method=method)).file.id for path in paths}
        assert ids == {file.id for file in server.files}
        assert len(ids) == 2
        server.assert_all_met()


async def test_a_large_file_that_was_moved_since_it_was_sent_is_reused_by_the_next_program(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file(8 * MIB + 1)
    sent = await AsyncUploader(client, journal=journal).upload(path, purpose="batch", method="files")
    moved = path.rename(path.with_name("moved.bin"))
    found = await AsyncUploader(client, journal=journal).upload(moved, purpose="batch", method="files")
    assert (found.reused, found.file.id, len(server.files)) == (True, sent.file.id, 1)
