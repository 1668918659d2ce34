"""Stalls, a slow reader and an early expiry on request, as a client meets them on the wire."""

from __future__ import annotations

import asyncio
import time

import pytest

from asyncsdk.server import Fault
from asyncsdk.server.faults import Moment, Route
from tests.faults.leaving import stopwatch
from tests.server.support import (
    connected,
    data_field,
    form_of,
    kept_parts,
    part_request,
    running,
)
from tests.waiting import until

DATA = bytes(range(256)) * 4096


async def test_a_fault_at_answering_lets_the_whole_answer_through_when_it_goes_on() -> None:
    async with running(faults=[Fault("files.content", "stall", "answering", seconds=0.01)]) as (_, call):
        done = await call.uploaded(DATA)
        async with call.session.get(f"files/{done.json['file']['id']}/content") as response:
            assert await response.read() == DATA


@pytest.mark.parametrize("at", ["before", "in", "after", "done", "answering"])
async def test_a_stall_with_an_end_only_takes_its_time(at: Moment) -> None:
    async with running(faults=[Fault("part", "stall", at, seconds=0.1)]) as (server, call):
        upload_id = await call.created(len(DATA))
        began = time.monotonic()
        assert (await call.add_part(upload_id, DATA)).status == 200
        assert time.monotonic() - began >= 0.1
        server.assert_all_met()


@pytest.mark.parametrize("at", ["before", "in", "after", "done", "answering"])
async def test_a_stall_without_end_lasts_until_the_client_hangs_up(at: Moment) -> None:
    async with running(faults=[Fault("part", "stall", at)]) as (server, call):
        upload_id = await call.created(1)
        calling = asyncio.ensure_future(call.add_part(upload_id, b"x"))
        await until(lambda: server.calls.get("part") and not server.parts_in_flight)
        assert len(server.requests) == 1
        calling.cancel()
        await until(lambda: len(server.requests) == 2)
        assert server.requests[-1].status == (200 if at == "answering" else None)
        assert kept_parts(server) == (at in ("done", "answering"))


async def test_a_part_that_stalls_for_ever_is_not_in_flight_any_more() -> None:
    async with running(faults=[Fault("part", "stall", "before")]) as (server, call):
        upload_id = await call.created(2**25)
        async with connected(server) as (_, writer):
            writer.write(part_request(upload_id, form_of(data_field(bytes(2**25)))))
            await until(lambda: server.calls.get("part") and not server.parts_in_flight)
            assert (await call.add_part(upload_id, b"x")).status == 200
            writer.transport.abort()
        assert server.max_parts_in_flight == 1


async def test_a_slow_server_reads_at_its_rate() -> None:
    async with running(faults=[Fault("part", "slow", rate=2 * len(DATA))]) as (server, call):
        upload_id = await call.created(len(DATA))
        began = time.monotonic()
        done = await call.complete(upload_id, (await call.add_part(upload_id, DATA)).json["id"])
        assert time.monotonic() - began >= 0.5
        assert server.stored(done.json["file"]["id"]).read_bytes() == DATA
        server.assert_all_met()


async def test_slow_parts_keep_their_rate_beside_each_other() -> None:
    async with running(faults=[Fault("part", "slow", every=1, rate=8 * len(DATA))]) as (_, call):
        parts, upload_id = 8 * [4 * DATA], await call.created(32 * len(DATA))
        with stopwatch() as watch:
            began = time.monotonic()
            await asyncio.gather(*(call.add_part(upload_id, part) for part in parts))
            assert time.monotonic() - began >= 0.5
            assert watch.seconds < 2


@pytest.mark.parametrize("route", ["part", "complete", "cancel"])
@pytest.mark.parametrize("at", ["before", "after"])
async def test_an_upload_can_expire_at_once(route: Route, at: Moment) -> None:
    async with running(faults=[Fault(route, "expire", at)]) as (server, call):
        upload_id = await call.created(len(DATA))
        answers = [await call.add_part(upload_id, DATA)]
        answers += [await call.complete(upload_id), await call.cancel(upload_id)]
        expired = {"part": 0, "complete": 1, "cancel": 2}[route]
        assert "is expired" in answers[expired].error["message"]
        assert answers[expired].status == 400
        server.assert_all_met()
        await call.create()
        assert kept_parts(server) == 0


async def test_a_completed_upload_does_not_expire() -> None:
    async with running(faults=[Fault("cancel", "expire")]) as (server, call):
        done = await call.uploaded(DATA)
        assert "is completed" in (await call.cancel(done.json["id"])).error["message"]
        assert [upload.to_json() for upload in server.uploads] == [done.json]
        server.assert_all_met()


async def test_expiring_what_is_not_there_does_nothing() -> None:
    async with running(faults=[Fault("*", "expire", every=1)]) as (_, call):
        assert (await call("GET", "files")).status == 200
        assert (await call.cancel("upload_1")).status == 404
