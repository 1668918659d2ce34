"""What answers is not the API: nothing is called paid or refused that the same call can still do."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk import APIStatusError, ChargeUnknownError, EditError, ImageEditor, NotTheAPIError, QuotaExceededError
from tests.raw_server import answering, client_of, reply
from tests.stories.edits import MODEL, PICTURE, again, all_of, done, jobs, until

PAGE = "<!doctype html><title>Welcome</title>"
TOO_LARGE = "<html>413 Request Entity Too Large</html>"
OWN_REFUSAL = {"error": {"message": "no", "type": "invalid_request_error"}}


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (reply(200, PAGE), NotTheAPIError, "Is its path right"),
        (reply(200, "OK"), NotTheAPIError, "Is its path right"),
        (reply(404, PAGE), APIStatusError, "Does the base URL lack a path"),
        (reply(404, {"detail": "Not Found"}), APIStatusError, "Does the base URL lack a path"),
        (reply(404, {"error": {"message": "Invalid URL", "type": "x"}}), APIStatusError, "Does the base URL lack"),
        (reply(405, PAGE), APIStatusError, "405"),
        (reply(403, PAGE), APIStatusError, "403"),
        (reply(402, PAGE), APIStatusError, "402"),
        (reply(200, {"error": {"message": "out of credits", "code": 402}}), APIStatusError, "402"),
        (reply(200, {"error": {"message": "no", "code": "insufficient_quota"}}), QuotaExceededError, "quota"),
        (reply(200, {"error": {"message": "no", "type": "authentication_error"}}), APIStatusError, "401"),
    ],
)
async def test_what_every_edit_would_meet_ends_the_run_unpaid(
    tmp_path: Path, answer: bytes, error: type[Exception], words: str
) -> None:
    async with answering(answer) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(6), out=tmp_path, concurrency=1) as outcomes:
            [unpaid] = await until(outcomes, error, words)
        assert unpaid.status == "failed"
        assert len(server.requests) == 1
    assert await again(tmp_path) == {"done": 6}


@pytest.mark.parametrize(
    "answer",
    [
        reply(413, TOO_LARGE),
        reply(400, PAGE),
        reply(415, ""),
        reply(422, {"message": "a gateway's words"}),
        reply(200, {"error": {"message": "too large", "code": 413}}),
    ],
)
async def test_what_something_before_the_api_refuses_is_sent_by_the_next_call(tmp_path: Path, answer: bytes) -> None:
    async with answering(answer) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(6), out=tmp_path) as outcomes:
            await all_of(outcomes)
        assert outcomes.counts == {"failed": 6}
    assert await again(tmp_path) == {"done": 6}


@pytest.mark.parametrize("answer", [reply(400, OWN_REFUSAL), reply(200, OWN_REFUSAL)], ids=["400", "200"])
async def test_what_the_api_refuses_in_its_own_words_stays_refused(tmp_path: Path, answer: bytes) -> None:
    async with answering(answer) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(6), out=tmp_path) as outcomes:
            await all_of(outcomes)
        assert outcomes.counts == {"refused": 6}
    assert await again(tmp_path) == {"refused": 6}


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, {"error": {"message": "upstream failed"}}),
        reply(200, {"error": "upstream failed"}),
        reply(200, {"error": {"message": "x", "code": "9" * 9999}}),
        reply(200, {"error": {"message": "x", "code": 504}}),
        reply(502, PAGE),
    ],
    ids=["no code", "text", "odd code", "504", "502"],
)
async def test_what_does_not_say_that_it_was_turned_away_may_be_paid(tmp_path: Path, answer: bytes) -> None:
    async with answering(answer) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(2), out=tmp_path) as outcomes:
            await all_of(outcomes)
        assert outcomes.counts == {"uncertain": 2}
        assert len(server.requests) == 2
    assert await again(tmp_path) == {"uncertain": 2, "done": 4}


async def test_nothing_at_all_may_be_paid_and_ends_a_run_in_which_nothing_else_comes(tmp_path: Path) -> None:
    async with answering(reply(200, "")) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(6), out=tmp_path, concurrency=1) as outcomes:
            with pytest.raises(EditError, match="3 responses in a row") as caught:
                await all_of(outcomes)
        assert "raw" not in str(caught.value)  # for nothing came
        assert "Is the base URL the API's" in str(caught.value)
        assert outcomes.counts == {"uncertain": 3}
        assert len(server.requests) == 3
    assert await again(tmp_path) == {"uncertain": 3, "done": 3}


async def test_an_error_that_turns_an_edit_away_within_a_200_is_tried_again(tmp_path: Path) -> None:
    busy = reply(200, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, {"retry-after-ms": "1"})
    async with (
        answering(busy, busy, done()) as server,
        client_of(server) as client,
        ImageEditor(client).edit_many(jobs(1), out=tmp_path) as outcomes,
    ):
        await all_of(outcomes)
        assert outcomes.counts == {"done": 1}


async def test_a_page_after_a_good_answer_may_hide_a_paid_edit(tmp_path: Path) -> None:
    async with answering(done(), reply(200, PAGE), done()) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(6), out=tmp_path, concurrency=1) as outcomes:
            await all_of(outcomes)
        assert outcomes.counts == {"done": 5, "uncertain": 1}


async def test_a_missing_route_after_a_good_answer_does_not_end_the_run(tmp_path: Path) -> None:
    async with answering(done(), reply(404, PAGE), done()) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(6), out=tmp_path, concurrency=1) as outcomes:
            await all_of(outcomes)
        assert outcomes.counts == {"done": 5, "failed": 1}


async def test_one_edit_is_unpaid_at_a_wrong_address_and_perhaps_paid_once_the_api_has_answered() -> None:
    async with answering(reply(200, PAGE), done(), reply(200, PAGE)) as server, client_of(server) as client:
        editor = ImageEditor(client)
        with pytest.raises(NotTheAPIError, match="nothing was done"):
            await editor.edit(PICTURE, "a beret", model=MODEL)
        await editor.edit(PICTURE, "a beret", model=MODEL)
        with pytest.raises(ChargeUnknownError):
            await editor.edit(PICTURE, "a beret", model=MODEL)
        assert len(server.requests) == 3


async def test_a_stream_from_a_wrong_address_is_unpaid_too_until_the_api_has_answered() -> None:
    async def stream(editor: ImageEditor) -> None:
        async with editor.stream(PICTURE, "a beret", model=MODEL) as events:
            async for _ in events:
                pass

    async with answering(reply(200, PAGE), done(), reply(200, PAGE)) as server, client_of(server) as client:
        editor = ImageEditor(client)
        with pytest.raises(NotTheAPIError, match="nothing was done"):
            await stream(editor)
        await stream(editor)
        with pytest.raises(ChargeUnknownError):
            await stream(editor)
        assert len(server.requests) == 3
