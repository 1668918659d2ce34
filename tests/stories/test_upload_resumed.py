"""The same call goes on where one stopped: what the journal holds and the content confirms is not sent again."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from pathlib import Path

import pytest

from asyncsdk import (
    AsyncSDKError,
    AsyncUploader,
    BadRequestError,
    Client,
    JournalVersionError,
    Progress,
    RateLimitError,
    RequestEvent,
    SourceChangedError,
    UploadNotFoundError,
    api,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from asyncsdk.uploads.pacing.connections import PartPlace
from tests.faults.leaving import connections_of
from tests.stories.support import MIB, MakeFile, interrupted


async def test_only_what_is_missing_goes(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    held = await interrupted(server, client, journal, path)
    parts = server.calls["part"]
    result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert (result.bytes_resumed, result.bytes_sent) == (held, path.stat().st_size - held)
    assert server.calls["part"] - parts == -(-result.bytes_sent // MIB)
    assert server.calls["create"] == 1


async def test_another_part_size_keeps_what_was_sent(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    held = await interrupted(server, client, journal, path)
    result = await AsyncUploader(client, journal=journal, part_size=3 * MIB).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert result.bytes_resumed == held


async def test_touching_the_file_costs_nothing(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    held = await interrupted(server, client, journal, path)
    os.utime(path, (1, 1))
    result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="batch")
    assert result.bytes_resumed == held


async def test_one_byte_changed_in_what_was_sent_costs_one_part(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    held = await interrupted(server, client, journal, path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\x00CHANGED")
    result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert result.bytes_resumed == held - MIB


async def test_a_key_stands_for_the_path(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, tmp_path: Path
) -> None:
    path = make_file()
    held = await interrupted(server, client, journal, path, key="train-v7")
    elsewhere = tmp_path / "pod-2" / path.name
    elsewhere.parent.mkdir()
    shutil.move(path, elsewhere)
    uploader = AsyncUploader(client, journal=journal, part_size=MIB)
    result = await uploader.upload(elsewhere, purpose="batch", key="train-v7")
    assert result.bytes_resumed == held
    again = await uploader.upload(elsewhere.read_bytes(), purpose="batch", key="train-v7", filename=path.name)
    assert again.reused


async def test_what_is_there_already_is_answered_without_sending(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    path = make_file()
    first = await uploader.upload(path, purpose="batch")
    calls = dict(server.calls)
    second = await uploader.upload(path, purpose="batch")
    assert (second.file, second.md5, second.reused, second.bytes_sent) == (first.file, first.md5, True, 0)
    assert {**calls, "files.get": 1} == server.calls


async def test_asked_for_again_it_goes_up_again(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    path = make_file()
    first = await uploader.upload(path, purpose="batch")
    second = await uploader.upload(path, purpose="batch", if_uploaded="again")
    assert second.file.id != first.file.id
    assert not second.reused


async def test_a_file_deleted_on_the_server_goes_up_again(
    server: LocalServer, client: Client, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    path = make_file()
    first = await uploader.upload(path, purpose="batch")
    await client.send(api.delete_file(first.file.id))
    second = await uploader.upload(path, purpose="batch")
    assert server.stored(second.file.id).read_bytes() == path.read_bytes()


async def test_a_file_changed_since_goes_up_anew_even_with_its_old_mtime(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    path = make_file()
    stamp = path.stat()
    await uploader.upload(path, purpose="batch")
    make_file(seed=2)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    second = await uploader.upload(path, purpose="batch")
    assert not second.reused
    assert server.stored(second.file.id).read_bytes() == path.read_bytes()


async def test_without_resume_it_begins_afresh(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    await interrupted(server, client, journal, path)
    result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="batch", resume=False)
    assert result.bytes_resumed == 0
    assert server.calls["create"] == 2


async def test_an_upload_that_the_server_forgot_begins_afresh_and_says_so(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_file()
    await interrupted(server, client, journal, path)
    server.inject(Fault("part", "answer", "before", status=404))
    with caplog.at_level(logging.WARNING, "asyncsdk"):
        result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert result.bytes_resumed == 0
    assert "gone or expired" in caplog.text
    assert "another project" in caplog.text


async def test_an_upload_past_its_hour_begins_afresh(tmp_path: Path, journal: Path, make_file: MakeFile) -> None:
    path, now = make_file(), time.time()
    clock = {"now": now}
    async with LocalServer(tmp_path / "server", clock=lambda: clock["now"]) as server:
        async with Client("k", base_url=server.url) as client:
            await interrupted(server, client, journal, path)
            clock["now"] = now + 4000
            notes: list[str] = []
            result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(
                path, purpose="batch", on_progress=lambda progress: notes.append(progress.note)
            )
        assert result.bytes_resumed == 0
        assert any("starting again" in note for note in notes)


async def test_an_upload_lost_in_its_own_run_is_an_error_not_a_second_upload(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "answer", "before", nth=3, every=1, status=404))
    with pytest.raises(UploadNotFoundError, match="accepted in this run"):
        await uploader.upload(make_file(), purpose="batch")
    assert server.calls["create"] == 1


async def test_a_journal_of_a_newer_version_sends_nothing(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile, journal: Path
) -> None:
    path = make_file()
    await uploader.upload(path, purpose="batch")
    (segment,) = journal.glob("uploads/*/*.jsonl")
    import zlib

    head = b'{"t":"segment","v":2'
    segment.write_bytes(head + b',"c":"%08x"}\n' % zlib.crc32(head))
    calls = dict(server.calls)
    with pytest.raises(JournalVersionError):
        await uploader.upload(path, purpose="batch")
    assert server.calls == calls


async def test_a_file_that_shrinks_while_it_goes_up_is_not_completed(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1, limit_rate=8 * MIB)

    def shrink(progress: Progress) -> None:
        if progress.bytes_done >= MIB:
            os.truncate(path, 2 * MIB)

    with pytest.raises(SourceChangedError) as failure:
        await uploader.upload(path, purpose="batch", on_progress=shrink)
    assert failure.value.resumable
    assert "complete" not in server.calls


async def test_a_file_that_changes_while_it_goes_up_is_not_completed(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    size = path.stat().st_size
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1, limit_rate=8 * MIB)

    def change(progress: Progress) -> None:
        if progress.bytes_hashed == size and progress.bytes_done < 7 * MIB:
            with path.open("r+b") as file:
                file.seek(size - 10)
                file.write(b"X" * 5)

    with pytest.raises(SourceChangedError):
        await uploader.upload(path, purpose="batch", on_progress=change)
    assert "complete" not in server.calls
    result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


async def test_a_file_that_grew_is_not_completed(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    grown = False

    def grow(progress: Progress) -> None:
        nonlocal grown
        if progress.bytes_done and not grown:
            grown = True
            with path.open("ab") as file:
                file.write(b"more")

    uploader = AsyncUploader(client, journal=journal, part_size=MIB, limit_rate=20 * MIB)
    with pytest.raises(
        SourceChangedError,
        match=r"changed while it was sent \([\d,]+ bytes, now [\d,]+\)\. No file was made\. The same call sends .* now",
    ):
        await uploader.upload(path, purpose="batch", on_progress=grow)
    assert "complete" not in server.calls


@pytest.mark.parametrize("size", [1000, 3 * MIB], ids=["one block", "parts"])
async def test_what_is_all_sent_waits_for_no_connection(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, size: int
) -> None:
    """A part of somebody else's, which takes long, gets each connection as soon as it is free."""
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1)
    parts_left, queued = -(-size // MIB), list[asyncio.Future[PartPlace]]()

    def another_queues(event: RequestEvent) -> None:
        nonlocal parts_left
        parts_left -= event.route == "/uploads/{upload_id}/parts"
        if not parts_left and not queued:
            queued.append(asyncio.ensure_future(connections_of(uploader).enter()))

    client._repeater.on_event = another_queues  # noqa: SLF001 - the client of the fixture has none
    async with asyncio.timeout(10):
        assert (await uploader.upload(make_file(size), purpose="batch")).file.bytes == size
        await queued[0]


async def test_a_small_file_that_was_sent_before_waits_for_no_connection(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file(1000)
    server.inject(Fault("complete", "answer", status=400))
    with pytest.raises(BadRequestError):
        await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    uploader = AsyncUploader(client, journal=journal, concurrency=1)
    await connections_of(uploader).enter()
    async with asyncio.timeout(10):
        assert (await uploader.upload(path, purpose="batch")).bytes_resumed == 1000


async def test_an_upload_in_memory_resumes_in_this_process_and_its_advice_says_so(
    server: LocalServer, client: Client, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASYNCSDK_JOURNAL", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/state")
    uploader = AsyncUploader(client, part_size=MIB, concurrency=1)
    server.inject(Fault("part", "answer", status=400, nth=3))
    path = make_file()
    with pytest.raises(BadRequestError) as failure:
        await uploader.upload(path, purpose="batch")
    assert "it resumes, but in this process only: the journal is in memory. 2,097,152 of" in failure.value.advice
    another = AsyncUploader(client, part_size=MIB)
    assert (await another.upload(path, purpose="batch")).bytes_resumed == 2 * MIB


@pytest.mark.parametrize("fault", [Fault("create", "answer", "before", status=429), Fault("part", "reset", "in")])
async def test_bytes_without_a_key_are_sent_again_by_a_caller_who_repeats_what_is_resumable(
    server: LocalServer, client: Client, journal: Path, fault: Fault
) -> None:
    content = os.urandom(2 * MIB)
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, max_retries=0)
    server.inject(fault)
    with pytest.raises(AsyncSDKError) as failed:
        await uploader.upload(("a.bin", content), purpose="batch")
    assert (failed.value.resumable, failed.value.bytes_done, failed.value.expires_in) == (True, 0, None)
    assert "epeat the call" in failed.value.advice
    result = await uploader.upload(("a.bin", content), purpose="batch")
    assert server.stored(result.file.id).read_bytes() == content
    assert len(server.files) == 1


async def test_bytes_without_a_key_are_not_resumable_where_one_request_may_have_made_a_file(
    server: LocalServer, journal: Path
) -> None:
    server.inject(Fault("files.create", "reset", "done"), Fault("files.list", "answer", "before", every=1, status=500))
    timing = Timing(file_search=0.1, file_search_interval=0.05)
    async with Client("k", base_url=server.url, max_retries=0, timing=timing) as client:
        uploader = AsyncUploader(client, journal=journal, max_retries=0)
        with pytest.raises(AsyncSDKError) as failed:
            await uploader.upload(("a.bin", b"content"), purpose="batch", method="files")
    assert not failed.value.resumable
    assert "Look for that file in GET /files first" in failed.value.advice
    assert len(server.files) == 1


async def test_bytes_without_a_key_are_not_resumable_where_a_complete_was_lost_before_it_was_refused(
    server: LocalServer, client: Client, journal: Path
) -> None:
    server.inject(Fault("complete", "reset", "done"), Fault("complete", "answer", "before", nth=2, status=429))
    uploader = AsyncUploader(client, journal=journal, max_retries=1)
    with pytest.raises(RateLimitError) as failed:
        await uploader.upload(("a.bin", os.urandom(MIB)), purpose="batch")
    assert len(server.files) == 1
    assert not failed.value.resumable
    assert "Look for that file in GET /files first" in failed.value.advice
