"""Complete is asked once and believed only when it is sure, whatever happens to its answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import (
    APIConnectionError,
    AsyncUploader,
    AuthenticationError,
    BadRequestError,
    Client,
    CompletionUnknownError,
    UploadExpiredError,
    api,
)
from asyncsdk.clock import boot_time
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.raw_server import PART, UPLOAD, answering, client_of, reply
from tests.stories.support import MIB, MakeFile, refused_at_complete

BRIEF_SEARCH = Timing(file_search=0.5, file_search_interval=0.05)
LOST = Fault("complete", "reset", "done")
LOST_FOR_GOOD = Fault("complete", "reset", "done", every=1)


@pytest.fixture
def timing() -> Timing:
    return BRIEF_SEARCH


async def files_on(client: Client) -> int:
    return len([file async for file in client.pages(api.list_files())])


async def test_a_lost_answer_is_asked_for_again(
    server: LocalServer, client: Client, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    server.inject(LOST)
    path = make_file()
    result = await uploader.upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert await files_on(client) == 1
    server.assert_all_met()


@pytest.mark.parametrize("status", [400, 404, 409])
async def test_a_lost_answer_then_refused_is_found_in_the_listing(
    tmp_path: Path, journal: Path, make_file: MakeFile, status: int
) -> None:
    async with (
        LocalServer(tmp_path / "server", faults=[LOST], repeated_complete=status) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        path = make_file(3 * MIB)
        result = await AsyncUploader(client, journal=journal, max_retries=1).upload(path, purpose="batch")
        assert server.stored(result.file.id).read_bytes() == path.read_bytes()
        assert await files_on(client) == 1


async def test_a_lost_answer_is_resolved_by_the_next_run(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    server.inject(LOST_FOR_GOOD)
    with pytest.raises(CompletionUnknownError) as failure:
        await AsyncUploader(client, journal=journal, max_retries=0).upload(path, purpose="batch")
    assert failure.value.resumable
    assert isinstance(failure.value.__cause__, APIConnectionError)
    server.clear_faults()
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert await files_on(client) == 1
    assert server.calls["create"] == 1


async def test_a_lost_answer_of_content_that_has_changed_since_is_not_taken_for_the_new(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    server.inject(LOST_FOR_GOOD)
    with pytest.raises(CompletionUnknownError):
        await AsyncUploader(client, journal=journal, max_retries=0).upload(path, purpose="batch")
    server.clear_faults()
    make_file(seed=2)
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert await files_on(client) == 2


async def test_what_cannot_be_known_is_said_and_nothing_is_sent_twice(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    server.inject(
        Fault("complete", "reset", "after"), Fault("complete", "answer", "before", nth=2, every=1, status=400)
    )
    uploader = AsyncUploader(client, journal=journal)
    for _ in range(2):
        with pytest.raises(CompletionUnknownError) as unknown:
            await uploader.upload(path, purpose="batch")
        assert "Nothing is sent twice" in unknown.value.advice
    assert server.calls["create"] == 1
    assert await files_on(client) == 0


async def test_two_files_that_look_alike_are_not_guessed_between(
    tmp_path: Path, journal: Path, make_file: MakeFile
) -> None:
    now = int(time.time())
    async with (
        LocalServer(tmp_path / "server", clock=lambda: now, repeated_complete=400) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        path = make_file()
        await AsyncUploader(client, journal="memory").upload(path, purpose="batch")
        server.inject(LOST)
        with pytest.raises(CompletionUnknownError):
            await AsyncUploader(client, journal=journal).upload(path, purpose="batch")


async def test_long_after_its_hour_an_unlisted_file_was_surely_not_made(
    tmp_path: Path, journal: Path, make_file: MakeFile
) -> None:
    clock = {"now": time.time()}
    path = make_file()
    async with (
        LocalServer(tmp_path / "server", clock=lambda: clock["now"]) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        server.inject(Fault("complete", "reset", "after", every=1))
        uploader = AsyncUploader(client, journal=journal, max_retries=0)
        with pytest.raises(CompletionUnknownError):
            await uploader.upload(path, purpose="batch")
        server.clear_faults()
        clock["now"] += 3600 + 301
        client.clock.elapsed = lambda: boot_time() + 3600 + 301
        result = await uploader.upload(path, purpose="batch")
        assert server.stored(result.file.id).read_bytes() == path.read_bytes()
        assert server.calls["create"] == 2


async def test_a_first_complete_that_is_refused_is_an_error_and_the_parts_stay(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    server.inject(Fault("complete", "answer", "before", status=400))
    uploader = AsyncUploader(client, journal=journal)
    with pytest.raises(BadRequestError) as failure:
        await uploader.upload(path, purpose="batch")
    assert any("md5 as hex" in note for note in failure.value.__notes__)
    result = await uploader.upload(path, purpose="batch")
    assert result.bytes_resumed == path.stat().st_size
    assert server.calls["create"] == 1


async def test_an_answer_of_401_at_complete_leaves_it_for_a_better_key(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    server.inject(Fault("complete", "answer", "before", status=401))
    with pytest.raises(AuthenticationError):
        await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert server.calls["create"] == 1


async def test_a_completed_answer_without_its_file_is_looked_up(
    tmp_path: Path, journal: Path, make_file: MakeFile
) -> None:
    path, now = make_file(), int(time.time())
    async with (
        LocalServer(tmp_path / "server", clock=lambda: now) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        uploader = AsyncUploader(client, journal=journal)
        upload_id = await refused_at_complete(server, uploader, path)
        upload = {"id": upload_id, "object": "upload", "status": "completed"}
        server.inject(Fault("complete", "answer", "done", status=200, body=upload))
        result = await uploader.upload(path, purpose="batch")
        assert [file.id for file in server.files] == [result.file.id]
        assert server.calls["complete"] == 2


@pytest.mark.parametrize("status", [400, 404, 409, 422])
@pytest.mark.parametrize("before", [None, 429, 401])
async def test_a_gateway_that_asks_twice_by_itself_hides_no_file(  # noqa: PLR0917 - fixtures and two columns
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, status: int, before: int | None
) -> None:
    """All that is seen of a complete that was done is the refusal of a second one, which the gateway made."""
    uploader, path = AsyncUploader(client, journal=journal, max_retries=1), make_file(2 * MIB)
    done_before: dict[str, Any] = {"status": status, "body": {"error": {"message": "It is completed already."}}}
    first = Fault("complete", "answer", "done", **({"status": before} if before else done_before))
    server.inject(first, Fault("complete", "answer", "before", nth=2, every=1, **done_before))
    if before == 401:
        with pytest.raises(AuthenticationError):
            await uploader.upload(path, purpose="batch")
    result = await uploader.upload(path, purpose="batch")
    assert [file.id for file in server.files] == [result.file.id]
    assert server.calls["create"] == 1


@pytest.mark.parametrize(("message", "looks"), [("It is completed already.", 1), ("Refused.", 0)])
async def test_a_plain_refusal_of_complete_costs_one_look_where_it_may_mean_completed(
    server: LocalServer, client: Client, make_file: MakeFile, message: str, looks: int
) -> None:
    server.inject(Fault("complete", "answer", "before", status=400, body={"error": {"message": message}}))
    with pytest.raises(BadRequestError):
        await AsyncUploader(client, journal="memory").upload(make_file(MIB), purpose="batch")
    assert (server.calls.get("files.list", 0), server.files) == (looks, [])


async def test_what_says_completed_or_cancelled_is_not_taken_for_gone_while_the_list_is_late(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    uploader, path = AsyncUploader(client, journal=journal), make_file(MIB)
    said = {"error": {"message": "Upload x has already been completed or cancelled."}}
    nothing = {"object": "list", "data": [], "has_more": False}
    server.inject(
        Fault("complete", "answer", "done", status=400, body=said),
        Fault("complete", "answer", "before", nth=2, every=1, status=400, body=said),
        Fault("files.list", "answer", "before", times=2, status=200, body=nothing),
    )
    for _ in range(2):
        with pytest.raises(BadRequestError):
            await uploader.upload(path, purpose="batch")
    result = await uploader.upload(path, purpose="batch")
    assert [file.id for file in server.files] == [result.file.id]


@pytest.mark.parametrize("listing", [403, 200])
async def test_what_says_expired_is_believed_of_complete_where_the_list_has_no_file(
    server: LocalServer, client: Client, make_file: MakeFile, listing: int
) -> None:
    said = {"error": {"message": "The upload has expired."}}
    server.inject(Fault("complete", "answer", "before", status=400, body=said))
    if listing != 200:
        server.inject(Fault("files.list", "answer", "before", every=1, status=listing))
    with pytest.raises(UploadExpiredError if listing == 200 else BadRequestError):
        await AsyncUploader(client, journal="memory").upload(make_file(MIB), purpose="batch")


async def test_a_plain_refusal_stays_what_it_is_where_files_cannot_be_listed(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    done_before = {"error": {"message": "It is completed already."}}
    server.inject(
        Fault("files.list", "answer", "before", every=1, status=403),
        Fault("complete", "answer", "before", status=400, body=done_before),
    )
    with pytest.raises(BadRequestError):
        await AsyncUploader(client, journal=journal).upload(make_file(MIB), purpose="batch")


async def test_a_file_of_a_colleague_is_not_believed_where_the_bytes_were_refused(
    tmp_path: Path, journal: Path, make_file: MakeFile
) -> None:
    path, now = make_file(MIB), int(time.time())
    async with (
        LocalServer(tmp_path / "server", clock=lambda: now) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        colleague = AsyncUploader(client, journal="memory")
        await colleague.upload(bytes(MIB), purpose="batch", filename=path.name)
        wrong = {"error": {"message": "The md5 does not match what was already received."}}
        server.inject(Fault("complete", "answer", "before", status=400, body=wrong))
        with pytest.raises(BadRequestError, match="md5 does not match"):
            await AsyncUploader(client, journal=journal).upload(path, purpose="batch")


@pytest.mark.parametrize("number", ["Infinity", "-1e999", "NaN"])
async def test_a_number_that_json_does_not_have_loses_no_finished_upload(
    journal: Path, make_file: MakeFile, number: str
) -> None:
    path = make_file(2, name="a.bin")
    file = f'{{"id": "file-1", "bytes": 2, "filename": "a.bin", "score": {number}, "expires_at": {number}}}'
    completed = f'{{"id": "upload_1", "status": "completed", "score": {number}, "file": {file}}}'
    async with (
        answering(reply(200, UPLOAD), reply(200, PART), reply(200, completed), reply(200, file)) as server,
        client_of(server, timing=BRIEF_SEARCH) as client,
    ):
        uploader = AsyncUploader(client, journal=journal)
        for reused in (False, True):
            result = await uploader.upload(path, purpose="batch")
            assert (result.file.id, result.file.expires_at, result.reused) == ("file-1", None, reused)
        assert [request.method for request in server.requests] == ["POST", "POST", "POST", "GET"]
