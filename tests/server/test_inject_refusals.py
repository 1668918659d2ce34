"""Retry-After, limits, a wrong md5 and probability, as a client meets them on the wire."""

from __future__ import annotations

import hashlib
import time
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from asyncsdk.server import Fault
from asyncsdk.server.faults import RetryForm
from tests.server.edits import edit, picture
from tests.server.support import NOW, Clock, kept_parts, running
from tests.waiting import until

DATA = bytes(range(256)) * 4096
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.mark.parametrize(
    ("form", "name", "value"),
    [("seconds", "Retry-After", "1.5"), ("milliseconds", "retry-after-ms", "1500")],
)
async def test_an_answer_asks_for_patience_in_seconds_or_milliseconds(form: RetryForm, name: str, value: str) -> None:
    async with running(faults=[Fault("create", "answer", status=429, retry_after=1.5, retry_as=form)]) as (_, call):
        answer = await call.create()
        assert (answer.status, answer.headers[name]) == (429, value)


async def test_an_answer_asks_for_patience_until_a_date_of_the_servers_clock() -> None:
    fault = Fault("create", "answer", status=503, retry_after=30, retry_as="date")
    async with running(faults=[fault], clock=Clock()) as (_, call):
        answer = await call.create()
        assert parsedate_to_datetime(answer.headers["Retry-After"]).timestamp() == NOW + 30


async def test_a_limit_on_parts_refuses_what_comes_too_early_and_says_when_to_come() -> None:
    async with running(faults=[Fault("part", "limit", per_minute=6)]) as (server, call):
        upload_id = await call.created(20)
        assert (await call.add_part(upload_id, b"x" * 10)).status == 200
        with pytest.raises(AssertionError, match="per_minute=6"):
            server.assert_all_met()
        refused = await call.add_part(upload_id, b"x" * 10)
        assert (refused.status, refused.error["type"], refused.error["code"]) == (
            429,
            "requests",
            "rate_limit_exceeded",
        )
        assert (
            "on requests per min (RPM): Limit 6, Used 6, Requested 1. Please try again in" in (refused.error["message"])
        )
        assert kept_parts(server) == 1
        assert server.requests[-1].fault == Fault("part", "limit", per_minute=6)
        server.assert_all_met()


async def test_a_limit_refuses_no_more_often_than_it_is_told() -> None:
    async with running(faults=[Fault("*", "limit", "before", per_minute=1, times=2)]) as (server, call):
        statuses = [(await call("GET", "files")).status for _ in range(5)]
        assert statuses == [200, 429, 429, 200, 200]
        server.assert_all_met()


async def test_a_limit_on_input_images_counts_pictures_times_n() -> None:
    async with running(faults=[Fault("edit", "limit", per_minute=6, unit="input-images")]) as (server, call):
        assert (await edit(call, picture(), picture(), n=3)).status == 200
        refused = await edit(call, picture())
        assert (refused.status, refused.error["type"]) == (429, "input-images")
        assert "on input-images per min: Limit 6, Used 6, Requested 1. Please try again in" in refused.error["message"]
        assert server.edits.edits == 1
        server.assert_all_met()


async def test_a_right_md5_can_be_found_wrong() -> None:
    async with running(faults=[Fault("complete", "md5")]) as (server, call):
        upload_id = await call.created(len(DATA))
        part_id = (await call.add_part(upload_id, DATA)).json["id"]
        refused = await call.complete(upload_id, part_id, md5=MD5)
        assert (refused.status, refused.error["param"]) == (400, "md5")
        server.assert_all_met()
        assert (await call.complete(upload_id, part_id, md5=MD5)).status == 200


async def test_a_complete_without_an_md5_does_not_meet_a_wrong_one() -> None:
    async with running(faults=[Fault("complete", "md5")]) as (server, call):
        await call.uploaded(DATA)
        assert server.unmet_faults() == [Fault("complete", "md5")]


async def test_chance_meets_the_calls_that_its_seed_chooses() -> None:
    fault = Fault("files.list", "answer", status=503, probability=0.5, seed=3)
    async with running(faults=[fault]) as (_, call):
        statuses = [(await call("GET", "files")).status for _ in range(20)]
    assert [status == 503 for status in statuses] == [fault.hits(number) for number in range(1, 21)]
    assert {200, 503} == set(statuses)


async def test_an_answer_can_be_slow() -> None:
    fault = Fault("files.content", "slow", "answering", rate=2 * len(DATA))
    async with running(faults=[fault]) as (server, call):
        file_id = (await call.uploaded(DATA)).json["file"]["id"]
        began = time.monotonic()
        async with call.session.get(f"files/{file_id}/content") as response:
            assert await response.read() == DATA
        assert time.monotonic() - began >= 0.4
        server.assert_all_met()
        await until(lambda: server.requests[-1].bytes_sent == len(DATA))


async def test_what_a_client_lost_before_its_fault_came_is_not_met() -> None:
    async with running(faults=[Fault("part", "reset", "after")]) as (server, call):
        upload_id = await call.created(2 * len(DATA))

        async def gives_up() -> object:
            yield DATA[:10]
            raise OSError

        with pytest.raises(aiohttp.ClientError):
            await call("POST", f"uploads/{upload_id}/parts", data=gives_up(), headers={"Content-Type": "text/plain"})
        assert server.unmet_faults() == [Fault("part", "reset", "after")]
