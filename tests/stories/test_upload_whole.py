"""A file goes up whole, in parallel parts, and arrives byte for byte."""

from __future__ import annotations

import io
import itertools
import logging
from pathlib import Path
from typing import Literal

import pytest

from asyncsdk import AsyncUploader, Client, Progress, UploadJob, UploadPhase
from asyncsdk.server import Fault, LocalServer
from tests.stories.support import MIB, MakeFile, md5_of


async def test_a_file_arrives_byte_for_byte(server: LocalServer, uploader: AsyncUploader, make_file: MakeFile) -> None:
    path = make_file()
    result = await uploader.upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert result.md5 == md5_of(path)
    assert (result.bytes_sent, result.bytes_resumed, result.reused) == (path.stat().st_size, 0, False)
    assert result.upload is not None
    assert (result.upload.status, result.file.filename, result.file.purpose) == ("completed", "data.bin", "batch")


async def test_parts_go_at_the_same_time_but_never_more_than_allowed(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "stall", "after", every=1, times=4, seconds=0.2))
    await uploader.upload(make_file(), purpose="batch")
    assert 1 < server.max_parts_in_flight <= 4


async def test_the_bound_holds_over_all_uploads_of_an_uploader(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "stall", "after", every=1, times=8, seconds=0.1))
    jobs = [UploadJob(make_file(3 * MIB, f"{n}.bin", seed=n), "assistants") for n in range(5)]
    async with uploader.upload_many(jobs) as outcomes:
        done = [outcome async for outcome in outcomes]
    assert len(done) == 5
    assert all(outcome.result for outcome in done)
    assert server.max_parts_in_flight <= 4


@pytest.mark.parametrize("size", [1, 524287, 524288, 524289, MIB, MIB + 1, 3 * MIB])
async def test_sizes_around_the_edges_of_blocks_and_parts(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile, size: int
) -> None:
    path = make_file(size)
    result = await uploader.upload(path, purpose="user_data")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


async def test_bytes_and_file_objects_go_up_too(server: LocalServer, uploader: AsyncUploader) -> None:
    content = b"0123456789" * 200_000
    from_bytes = await uploader.upload(content, purpose="user_data", filename="a.bin")
    file = io.BytesIO(content)
    file.seek(17)
    from_file = await uploader.upload(file, purpose="user_data", filename="b.bin")
    assert server.stored(from_bytes.file.id).read_bytes() == content
    assert server.stored(from_file.file.id).read_bytes() == content
    assert not file.closed


async def test_the_api_is_told_what_the_caller_said_and_nothing_else(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    uploader = AsyncUploader(client, journal=journal, md5=None)
    result = await uploader.upload(
        make_file(10), purpose="vision", filename="photo.webp", mime_type="image/x-own", expires_after=3600
    )
    assert result.file.filename == "photo.webp"
    assert result.file.expires_at == (result.file.created_at or 0) + 3600


@pytest.mark.parametrize("form", ["hex", "base64"])
async def test_the_md5_goes_along_as_hex_or_base64_and_is_verified(
    client: Client, journal: Path, make_file: MakeFile, form: str
) -> None:
    uploader = AsyncUploader(client, journal=journal, md5=form)  # type: ignore[arg-type]  # parametrized text
    path = make_file()
    assert (await uploader.upload(path, purpose="batch")).md5 == md5_of(path)


async def test_progress_is_told_from_checking_to_completed(uploader: AsyncUploader, make_file: MakeFile) -> None:
    seen: list[Progress] = []
    path = make_file()
    await uploader.upload(path, purpose="batch", on_progress=seen.append)
    states = list(dict.fromkeys(progress.state for progress in seen))
    assert states == [UploadPhase.SENDING, UploadPhase.COMPLETING, UploadPhase.COMPLETED]
    assert seen[-1].bytes_done == seen[-1].bytes_total == path.stat().st_size
    assert seen[-1].bytes_in_flight == seen[-1].parts_in_flight == 0
    assert seen[-1].upload_id is not None
    assert all(first.bytes_done <= later.bytes_done for first, later in itertools.pairwise(seen))


async def test_a_progress_callback_that_raises_is_logged_once_and_the_upload_goes_on(
    uploader: AsyncUploader, make_file: MakeFile, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Progress) -> None:
        raise ZeroDivisionError("bar")

    result = await uploader.upload(make_file(), purpose="batch", on_progress=broken)
    assert result.file.id
    assert [record.levelno for record in caplog.records if "on_progress" in record.message] == [logging.ERROR]


async def test_many_jobs_end_one_by_one_and_a_bad_one_stops_no_other(
    uploader: AsyncUploader, make_file: MakeFile, tmp_path: Path
) -> None:
    good = [UploadJob(make_file(100, f"{n}.txt", seed=n), "assistants") for n in range(6)]
    jobs = [*good[:3], UploadJob(tmp_path / "missing.txt", "assistants"), *good[3:]]
    async with uploader.upload_many(jobs) as outcomes:
        done = [outcome async for outcome in outcomes]
    assert {str(outcome.job.source) for outcome in done if outcome.result} == {str(job.source) for job in good}
    (failed,) = [outcome for outcome in done if outcome.error]
    assert "missing.txt" in str(failed.error)


async def test_the_md5_can_be_left_out(server: LocalServer, client: Client, journal: Path, make_file: MakeFile) -> None:
    path = make_file()
    result = await AsyncUploader(client, journal=journal, md5=None).upload(path, purpose="batch")
    assert result.md5 is None
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("first", ["hex", None])
@pytest.mark.parametrize("then", ["hex", None])
async def test_content_is_known_again_with_and_without_md5(
    client: Client, journal: Path, make_file: MakeFile, first: Literal["hex"] | None, then: Literal["hex"] | None
) -> None:
    path = make_file()
    done = await AsyncUploader(client, journal=journal, md5=first).upload(path, purpose="batch")
    again = await AsyncUploader(client, journal=journal, md5=then).upload(path, purpose="batch")
    assert (again.file.id, again.reused) == (done.file.id, True)
    assert again.md5 == (md5_of(path) if then else None)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    other = await AsyncUploader(client, journal=journal, md5=then).upload(path, purpose="batch")
    assert (other.file.id != done.file.id, other.reused) == (True, False)
