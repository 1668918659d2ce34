"""A streamed edit: partial pictures, completed ones, refusals within, and streams that are cut."""

from __future__ import annotations

import base64
import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import pytest
from attrs import frozen

from asyncsdk.server import Fault
from tests.server.edits import SIZE, content, contents, data_url, edit, edit_form, edit_json, opened, overlay, picture
from tests.server.support import LOST, Caller, Clock, running


@frozen
class Event:
    name: str
    data: dict[str, Any]

    @property
    def picture(self) -> bytes:
        return base64.b64decode(self.data["b64_json"])


def events_of(body: bytes) -> list[Event]:
    *frames, rest = body.decode().split("\n\n")
    assert rest == ""
    found = []
    for frame in frames:
        name, data = frame.split("\n")
        found.append(Event(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def streamed(call: Caller, **fields: Any) -> list[Event]:
    form = edit_form(picture(), stream=True, **fields)
    async with call.session.post("images/edits", data=form) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        return events_of(await response.read())


async def read_into(came: bytearray, asked: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> None:
    async with asked as response:
        async for chunk in response.content.iter_any():
            came += chunk


async def test_partial_pictures_come_before_the_completed_one_which_is_the_plain_answers() -> None:
    async with running(clock=Clock()) as (server, call):
        events = await streamed(call, partial_images=2)
        names = [event.name for event in events]
        assert names == ["image_edit.partial_image", "image_edit.partial_image", "image_edit.completed"]
        assert [event.data["type"] for event in events] == names
        assert [event.data.get("partial_image_index") for event in events] == [0, 1, None]
        assert {opened(event.picture).size for event in events} == {SIZE}
        assert len({event.picture for event in events}) == 3
        assert events[-1].picture == content(await edit(call, picture()))
        completed = {name: value for name, value in events[-1].data.items() if name != "b64_json"}
        assert completed == {
            "type": "image_edit.completed",
            "created_at": 1_795_000_000,
            "size": "64x48",
            "quality": "medium",
            "background": "opaque",
            "output_format": "png",
            "usage": {
                "input_tokens": 202,
                "input_tokens_details": {"image_tokens": 200, "text_tokens": 2},
                "output_tokens": 400,
                "total_tokens": 602,
            },
        }
        assert server.edits.by_prompt == {"a beret": 2}


async def test_without_partial_pictures_there_is_one_event_for_each_of_n() -> None:
    async with running() as (_, call):
        events = await streamed(call, n=3, partial_images=0, safety_identifier="me")
        assert [event.name for event in events] == ["image_edit.completed"] * 3
        assert [event.picture for event in events] == contents(await edit(call, picture(), n=3))
        assert {event.data["safety_identifier"] for event in events} == {"me"}


async def test_json_is_streamed_too() -> None:
    async with running() as (_, call):
        fields = {"images": [{"image_url": data_url(picture())}], "prompt": "a beret", "stream": True}
        async with call.session.post("images/edits", json=fields) as response:
            assert [event.name for event in events_of(await response.read())] == ["image_edit.completed"]


async def test_what_is_refused_before_the_stream_begins_is_refused_as_json() -> None:
    async with running() as (_, call):
        for fields, code in ({"prompt": "forbidden"}, "moderation_blocked"), ({"n": 0}, "invalid_value"):
            answer = await edit(call, picture(), stream=True, **fields)
            assert (answer.status, answer.json["error"]["code"]) == (400, code)


async def test_what_is_refused_once_it_is_painted_is_refused_in_the_stream() -> None:
    async with running() as (server, call):
        form = edit_form(picture(), stream=True, partial_images=1, prompt="forbidden-output")
        async with call.session.post("images/edits", data=form) as response:
            assert response.status == 200
            *before, last = events_of(await response.read())
            request_id = response.headers["X-Request-ID"]
        assert [event.name for event in before] == ["image_edit.partial_image"]
        assert (last.name, last.data["type"]) == ("error", "error")
        error = last.data["error"]
        assert (error["code"], error["type"]) == ("moderation_blocked", "image_generation_user_error")
        assert error["moderation_details"]["moderation_stage"] == "output"
        assert request_id in error["message"]
        assert server.edits.edits == 0


@pytest.mark.parametrize("kind", ["reset", "close"])
async def test_a_stream_can_be_cut_in_the_middle_of_a_frame(kind: Any) -> None:
    async with running(faults=[Fault("edit", kind, "answering")]) as (server, call):
        form = edit_form(picture(), stream=True, partial_images=1)
        came = bytearray()
        with pytest.raises(LOST):
            await read_into(came, call.session.post("images/edits", data=form))
        if kind == "close":  # a reset may lose what had come
            assert came.startswith(b"event: image_edit.partial_image\n")
            assert b"event: image_edit.completed\n" in came
            assert not came.endswith(b"\n\n")
        assert server.edits.edits == 1
        server.assert_all_met()


async def test_a_stream_can_be_lost_before_it_begins() -> None:
    async with running(faults=[Fault("edit", "reset", "done")]) as (server, call):
        with pytest.raises(LOST):
            await streamed(call)
        assert server.edits.edits == 1


async def test_a_stream_that_stalls_goes_on() -> None:
    async with running(faults=[Fault("edit", "stall", "answering", seconds=0.05)]) as (server, call):
        assert [event.name for event in await streamed(call)] == ["image_edit.completed"]
        server.assert_all_met()


async def test_a_fault_may_give_any_stream_such_as_one_that_ends_too_early() -> None:
    early = Fault("edit", "answer", status=200, headers={"Content-Type": "text/event-stream"}, body=": nothing\n\n")
    async with (
        running(faults=[early]) as (_, call),
        call.session.post("images/edits", data=edit_form(picture(), stream=True)) as response,
    ):
        assert (response.content_type, await response.read()) == ("text/event-stream", b": nothing\n\n")


@pytest.mark.parametrize("fields", [{"output_format": "gif"}, {"output_format": "svg"}])
async def test_animations_and_drawings_are_not_streamed(fields: dict[str, Any]) -> None:
    async with running() as (_, call):
        answer = await edit_json(
            call, images=[{"image_url": data_url(picture())}], prompt="a beret", stream=True, **fields
        )
        assert (answer.status, answer.error["param"]) == (400, "stream")


async def test_a_mask_counts_in_a_stream_too() -> None:
    async with running() as (_, call):
        mask = overlay((0, 0, 8, 8))
        [completed] = await streamed(call, mask=mask)
        assert completed.picture == content(await edit(call, picture(), mask=mask))


async def test_who_accepts_events_alone_is_streamed_to_unless_it_said_otherwise() -> None:
    async with running() as (_, call):
        cases: list[tuple[dict[str, Any], str]] = [({}, "text/event-stream"), ({"stream": False}, "application/json")]
        for said, kind in cases:
            form = edit_form(picture(), **said)
            async with call.session.post("images/edits", data=form, headers={"Accept": "text/event-stream"}) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                await answer.read()
