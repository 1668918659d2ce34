"""An edit on the wire: what it answers, what is refused and in which words, what is counted, what goes wrong."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from asyncsdk import APIStatusError, Client, ImageEditor
from asyncsdk.images.billing import status_of
from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.edits.fields import EditRequest
from asyncsdk.server.edits.painting import PaintedEdit, paint
from asyncsdk.server.edits.pictures import GivenPictures
from asyncsdk.server.faults import Moment
from tests.server.edits import (
    SIZE,
    content,
    contents,
    edit,
    opened,
    overlay,
    picture,
)
from tests.server.support import LOST, Caller, Clock, calling, running
from tests.waiting import until

HOLE = (16, 8, 48, 24)


async def test_an_edit_answers_with_its_pictures_and_the_settings_that_were_used() -> None:
    async with running(clock=Clock()) as (server, call):
        answer = await edit(call, picture(), mask=overlay(HOLE), n=2, quality="high", prompt="four", background="auto")
        assert {opened(each).size for each in contents(answer)} == {SIZE}
        del answer.json["data"]
        assert answer.json == {
            "created": 1_795_000_000,
            "background": "opaque",
            "output_format": "png",
            "quality": "high",
            "size": "64x48",
            "usage": {
                "input_tokens": 404,
                "input_tokens_details": {"image_tokens": 400, "text_tokens": 4},
                "output_tokens": 2000,
                "output_tokens_details": {"image_tokens": 2000, "text_tokens": 0},
                "total_tokens": 2404,
            },
        }
        assert server.edits.to_json() == {"edits": 1, "images": 2, "by_prompt": {"four": 1}}


async def test_a_drawing_tells_its_own_usage_and_an_identifier_comes_back() -> None:
    async with running() as (_, call):
        fields = {"output_format": "svg", "svg[model]": "gpt-svg", "safety_identifier": "me"}
        answer = await edit(call, picture(), **fields)
        assert content(answer).startswith(b"<svg")
        assert (answer.json["svg_usage"]["model"], answer.json["safety_identifier"]) == ("gpt-svg", "me")


@pytest.mark.parametrize(
    ("fields", "param", "code", "kind"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter", "invalid_request_error"),
        ({"response_format": "b64_json"}, "response_format", "unknown_parameter", "invalid_request_error"),
        ({"size": "1000x1000"}, "size", "invalid_value", "image_generation_user_error"),
        ({"mask": picture()}, "mask", "invalid_image_file", "image_generation_user_error"),
        ({"mask": overlay(HOLE), "output_format": "gif"}, "mask", "invalid_value", "invalid_request_error"),
        ({"model": "dall-e-2", "quality": "low"}, "quality", "unknown_parameter", "invalid_request_error"),
    ],
)
async def test_a_refused_edit_names_its_field_and_is_not_counted(
    fields: dict[str, Any], param: str, code: str, kind: str
) -> None:
    async with running() as (server, call):
        answer = await edit(call, picture(), **fields)
        assert answer.status == 400
        assert (answer.error["param"], answer.error["code"], answer.error["type"]) == (param, code, kind)
        assert server.edits.edits == 0


@pytest.mark.parametrize(("word", "stage"), [("forbidden", "input"), ("forbidden-output", "output")])
async def test_the_safety_system_names_the_stage_and_the_request(word: str, stage: str) -> None:
    async with running() as (server, call):
        answer = await edit(call, picture(), prompt=f"a {word} beret")
        error = answer.json["error"]
        request_id = answer.headers["X-Request-ID"]
        assert (answer.status, error["type"], error["code"]) == (
            400,
            "image_generation_user_error",
            "moderation_blocked",
        )
        assert error["message"] == (
            "Your request was rejected by the safety system. If you believe this is an error, contact us at "
            f"help.openai.com and include the request ID {request_id}. safety_violations=[violence]."
        )
        assert error["moderation_details"] == {"moderation_stage": stage, "categories": ["violence"]}
        assert server.edits.edits == 0


async def test_without_pillow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture()
    monkeypatch.setitem(sys.modules, "PIL", None)
    async with running() as (_, call):
        answer = await edit(call, image)
        assert (answer.status, answer.error["code"]) == (424, "missing_dependency")
        assert answer.error["message"] == "Image edits need Pillow: pip install pillow (the extra `server`)"


async def test_an_edit_that_needs_pillow_is_not_taken_for_paid_or_refused_for_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(picture((900, 900)))
    monkeypatch.setitem(sys.modules, "PIL", None)
    async with LocalServer() as server, Client(base_url=server.url, api_key="k") as client:
        with pytest.raises(APIStatusError, match="need Pillow: pip install pillow") as caught:
            await ImageEditor(client).edit(tmp_path / "a.png", "a beret", model="gpt-image-2")
        assert status_of(caught.value) == "failed"  # not "uncertain", and not "refused"
        [record] = server.requests  # it was not repeated
        assert record.bytes > 2_000_000


class TestUrls:
    """The older model's pictures are pointed to, for an hour."""

    async def urls(self, call: Caller, n: int = 1) -> list[str]:
        answer = await edit(call, picture((64, 64)), model="dall-e-2", size="256x256", n=n)
        assert set(answer.json) == {"created", "data"}
        return [each["url"] for each in answer.json["data"]]

    async def test_whoever_has_the_url_gets_the_picture(self) -> None:
        async with running() as (server, call):
            urls = await self.urls(call, 2)
            assert all(url.startswith(server.url.removesuffix("v1") + "_pictures/img-") for url in urls)
            assert len(set(urls)) == 2
            async with aiohttp.ClientSession() as anybody, anybody.get(urls[0]) as response:
                assert (response.status, response.content_type) == (200, "image/png")
                assert opened(await response.read()).size == (256, 256)
            missing = await call("GET", urls[0].replace("img-", "img-x"))
            assert missing.status == 404

    async def test_its_picture_can_come_as_base64_without_usage(self) -> None:
        async with running() as (_, call):
            answer = await edit(call, picture((64, 64)), model="dall-e-2", response_format="b64_json")
            assert opened(content(answer)).size == (1024, 1024)
            assert set(answer.json) == {"created", "data"}

    async def test_a_picture_is_gone_after_an_hour_and_frees_its_room(self) -> None:
        clock = Clock()
        async with running(clock=clock) as (server, call):
            [url] = await self.urls(call)
            clock.now += 3599
            assert (await call("GET", url)).status == 200
            clock.now += 1
            assert (await call("GET", url)).status == 404
            await self.urls(call)
            assert len(list(server.directory_in_use.glob("pictures/*"))) == 1

    async def test_a_server_started_again_serves_what_it_had_answered(self, tmp_path: Path) -> None:
        clock = Clock()
        async with running(tmp_path, clock=clock) as (_, call):
            [url] = await self.urls(call)
        async with LocalServer(tmp_path, clock=clock) as server, calling(server) as call:
            name = url.rpartition("/")[2]
            assert (await call("GET", f"/_pictures/{name}")).status == 200
            clock.now += 3600
            assert (await call("GET", f"/_pictures/{name}")).status == 404


class TestFaults:
    """What a client meets when its edit's answer is lost, and whether that edit was done."""

    @pytest.mark.parametrize(("at", "done"), [("before", 0), ("in", 0), ("after", 0), ("done", 1), ("answering", 1)])
    @pytest.mark.parametrize("kind", ["reset", "close"])
    async def test_an_edit_whose_answer_is_lost_was_done_or_not(self, kind: Any, at: Moment, done: int) -> None:
        async with running(faults=[Fault("edit", kind, at)]) as (server, call):
            with pytest.raises(LOST):
                await edit(call, picture())
            await until(lambda: server.requests)
            assert server.edits.edits == done
            server.assert_all_met()
            assert (await edit(call, picture())).status == 200

    async def test_every_twentieth_answer_can_be_lost_after_it_was_paid(self) -> None:
        async with running(faults=[Fault("edit", "reset", "done", every=20)]) as (server, call):
            lost = 0
            for _ in range(40):
                try:
                    await edit(call, picture((16, 16)))
                except LOST:
                    lost += 1
            assert (lost, server.edits.by_prompt) == (2, {"a beret": 40})

    async def test_an_answer_of_another_kind_can_come_after_the_edit_was_done(self) -> None:
        async with running(faults=[Fault("edit", "answer", "done", status=502, body="<html>")]) as (server, call):
            assert (await edit(call, picture())).status == 502
            assert server.edits.edits == 1

    async def test_a_stall_takes_its_time(self) -> None:
        async with running(faults=[Fault("edit", "stall", "done", seconds=0.1)]) as (_, call):
            began = time.monotonic()
            assert (await edit(call, picture())).status == 200
            assert time.monotonic() - began >= 0.1


async def test_edits_take_as_long_as_they_are_told_to_side_by_side() -> None:
    async with running(edit_seconds=0.2) as (_, call):
        began = time.monotonic()
        answers = await asyncio.gather(*(edit(call, picture()) for _ in range(8)))
        assert {answer.status for answer in answers} == {200}
        assert time.monotonic() - began >= 0.2
        stats = (await call("GET", "/_control/stats")).json
        assert stats["max_in_flight"]["edit"] == 8


async def test_an_edit_whose_client_went_away_is_done_all_the_same() -> None:
    async with running(edit_seconds=0.1) as (server, call):
        editing = asyncio.ensure_future(edit(call, picture()))
        await until(lambda: server.calls.get("edit"))
        editing.cancel()
        await call.session.close()
        await until(lambda: server.edits.edits == 1)


async def test_pictures_are_painted_in_threads_so_that_the_loop_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    painting: list[threading.Thread] = []

    def paint_here(pictures: GivenPictures, wanted: EditRequest) -> PaintedEdit:
        painting.append(threading.current_thread())
        return paint(pictures, wanted)

    monkeypatch.setattr("asyncsdk.server.edits.endpoint.paint", paint_here)
    async with running() as (_, call):
        assert (await edit(call, picture())).status == 200
    assert painting
    assert threading.current_thread() not in painting


async def test_another_process_can_ask_what_was_edited() -> None:
    async with running() as (server, call):
        for prompt, n in (("a", 1), ("b", 2), ("a", 3)):
            await edit(call, picture(), prompt=prompt, n=n)
        told = (await call("GET", "/_control/edits")).json
        assert told == {"edits": 3, "images": 6, "by_prompt": {"a": 2, "b": 1}}
        assert server.edits.to_json() == told
