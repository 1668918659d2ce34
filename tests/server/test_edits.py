"""An edit on the wire: both request shapes, what is refused and in which words, what is counted, what goes wrong."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.edits.fields import Wanted
from asyncsdk.server.edits.painting import Painted, paint
from asyncsdk.server.edits.pictures import Pictures
from asyncsdk.server.faults import Moment
from tests.server.edits import (
    SIZE,
    content,
    contents,
    data_url,
    edit,
    edit_form,
    edit_json,
    noise,
    opened,
    overlay,
    picture,
    saved,
)
from tests.server.support import FORM_HEADERS, Caller, Clock, calling, form_of, running, until

HOLE = (16, 8, 48, 24)
LOST = (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError)


async def uploaded(call: Caller, data: bytes, purpose: str = "vision") -> str:
    """A file of the server's; return its id."""
    form = aiohttp.FormData({"purpose": purpose})
    form.add_field("file", data, filename="a.png")
    file_id: str = (await call("POST", "files", data=form)).json["id"]
    return file_id


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


async def test_json_may_refer_to_files_of_the_server_and_to_data_urls() -> None:
    async with running() as (_, call):
        file_id, mask_id = await uploaded(call, picture()), await uploaded(call, overlay(HOLE), "user_data")
        by_form = content(await edit(call, picture(), mask=overlay(HOLE)))
        for image in ({"file_id": file_id}, {"image_url": data_url(picture())}):
            answer = await edit_json(call, images=[image], mask={"file_id": mask_id}, prompt="a beret")
            assert content(answer) == by_form
        several = await edit_json(call, images=[{"file_id": file_id}] * 16, prompt="a beret", stream=None)
        assert several.json["usage"]["input_tokens_details"]["image_tokens"] == 16 * 200


async def test_a_picture_of_many_megabytes_fits_into_a_data_url() -> None:
    async with running() as (_, call):
        large = saved(noise("RGB", (2000, 2000)), compress_level=0)
        answer = await edit_json(call, images=[{"image_url": data_url(large)}], prompt="a beret", size="1024x1024")
        assert opened(content(answer)).size == (1024, 1024)


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({}, 400, "images", "missing_required_parameter"),
        ({"images": []}, 400, "images", "missing_required_parameter"),
        ({"images": {}}, 400, "images", "invalid_type"),
        ({"images": [{"file_id": "f"}] * 17}, 400, "images", "array_above_max_length"),
        ({"images": ["f"]}, 400, "images[0]", "invalid_type"),
        ({"images": [{}]}, 400, "images[0]", "invalid_value"),
        ({"images": [{"file_id": "f", "image_url": "data:"}]}, 400, "images[0]", "invalid_value"),
        ({"images": [{"file_id": 5}]}, 400, "images[0].file_id", "invalid_type"),
        ({"images": [{"file_id": "file-unknown"}]}, 404, "id", None),
        ({"images": [{"image_url": "https://example.com/a.png"}]}, 400, "images[0].image_url", "invalid_value"),
        ({"images": [{"image_url": "data:image/png;base64,é"}]}, 400, "images[0].image_url", "invalid_value"),
        ({"images": [{"image_url": "data:image/png;base64,abc"}]}, 400, "images[0].image_url", "invalid_value"),
        ({"images": [{"image_url": data_url(b"no picture")}]}, 400, "images[0]", "invalid_image_file"),
        ({"images": [{"image_url": data_url(picture())}], "mask": "m"}, 400, "mask", "invalid_type"),
        ({"images": [{"image_url": data_url(picture())}], "mask": {}}, 400, "mask", "invalid_value"),
        ({"images": [{"image_url": data_url(picture())}], "model": "dall-e-2"}, 400, "model", "invalid_value"),
        ({"images": [{"image_url": data_url(picture())}], "image": "a"}, 400, "image", "unknown_parameter"),
    ],
)
async def test_a_reference_that_leads_nowhere_is_refused_by_its_place(
    fields: dict[str, Any], status: int, param: str, code: str | None
) -> None:
    async with running() as (server, call):
        answer = await edit_json(call, prompt="a beret", **fields)
        assert (answer.status, answer.error["param"], answer.error["code"]) == (status, param, code)
        assert server.edits.edits == 0


async def test_a_reference_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.edits.pictures.URL_LIMIT", 100)
    monkeypatch.setattr("asyncsdk.server.edits.endpoint.PICTURE_LIMIT", 1000)
    async with running() as (_, call):
        answer = await edit_json(call, images=[{"image_url": data_url(bytes(101))}], prompt="a beret")
        assert (answer.error["param"], answer.error["code"]) == ("images[0].image_url", "string_above_max_length")
        answer = await edit_json(call, images=[{"file_id": await uploaded(call, bytes(1000))}], prompt="a beret")
        assert (answer.error["param"], answer.error["code"]) == ("images[0].file_id", "invalid_value")


class TestForm:
    """The files of a form, each with its name, its type and its place."""

    async def refused(self, *fields: bytes) -> tuple[str | None, str | None, str]:
        async with running() as (server, call):
            prompt = b'Content-Disposition: form-data; name="prompt"\r\n\r\na beret'
            answer = await call("POST", "images/edits", data=form_of(prompt, *fields), headers=FORM_HEADERS)
            assert answer.status == 400
            assert server.edits.edits == 0
            return answer.error["param"], answer.error["code"], answer.error["message"]

    async def test_one_that_says_it_is_octets_is_refused_whatever_its_name(self) -> None:
        field = b'Content-Type: application/octet-stream\r\nContent-Disposition: form-data; name="%b"; filename="a.png"'
        message = (
            "Invalid file '{}': unsupported mimetype ('application/octet-stream'). "
            "Supported file formats are 'image/jpeg', 'image/png', and 'image/webp'."
        )
        for name, shown in ((b"image", "image"), (b"image[]", "image[0]")):
            told = await self.refused(field % name + b"\r\n\r\n" + picture())
            assert told == (shown, "unsupported_file_mimetype", message.format(shown))

    async def test_one_that_does_not_say_goes_by_its_name(self) -> None:
        async with running() as (_, call):
            for name, status in ((b"a.PNG", 200), (b"a.jpg", 200), (b"a.gif", 400), (b"upload", 400)):
                form = form_of(
                    b'Content-Disposition: form-data; name="image"; filename="%b"\r\n\r\n' % name + picture(),
                    b'Content-Disposition: form-data; name="prompt"\r\n\r\na beret',
                )
                assert (await call("POST", "images/edits", data=form, headers=FORM_HEADERS)).status == status

    async def test_a_mask_may_say_that_it_is_octets(self) -> None:
        async with running() as (_, call):
            form = edit_form(picture())
            form.add_field("mask", overlay(HOLE), filename="mask", content_type="application/octet-stream")
            assert (await call("POST", "images/edits", data=form)).status == 200

    @pytest.mark.parametrize(
        ("name", "param", "message"),
        [
            (b"image", "image", "expected one of an array of files or file, but got a string instead."),
            (b"image[]", "image[0]", "expected a file, but got a string instead."),
            (b"mask", "mask", "expected a file, but got a string instead."),
        ],
    )
    async def test_text_in_the_place_of_a_file_is_refused(self, name: bytes, param: str, message: str) -> None:
        field = b'Content-Type: image/png\r\nContent-Disposition: form-data; name="%b"\r\n\r\n' % name
        for text in (b"a.png", picture()):
            assert await self.refused(field + text) == (
                param,
                "invalid_type",
                f"Invalid type for '{param}': {message}",
            )

    async def test_repeating_image_is_refused_with_the_way_out(self) -> None:
        field = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + picture()
        param, code, message = await self.refused(field, field)
        assert (param, code) == ("image", "duplicate_parameter")
        assert message.startswith("Duplicate parameter: 'image'.")
        assert message.endswith("use the array syntax instead e.g. 'image[]=<value>'.")

    async def test_16_pictures_are_taken_and_no_more(self) -> None:
        field = b'Content-Disposition: form-data; name="image[]"; filename="a.png"\r\n\r\n' + picture()
        expected = "Expected an array with maximum length 16"
        assert (await self.refused(*[field] * 18))[1:] == (
            "array_above_max_length",
            f"Invalid 'image': array too long. {expected}, but got an array with length 18 instead.",
        )
        async with running() as (_, call):
            assert (await edit(call, *[picture()] * 16)).status == 200

    async def test_files_that_nobody_wants_are_refused(self) -> None:
        image = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + picture()
        other = b'Content-Disposition: form-data; name="%b"; filename="a.png"\r\n\r\n' + overlay(HOLE)
        assert (await self.refused(image, other % b"picture"))[:2] == ("picture", "unknown_parameter")
        assert (await self.refused(image, other % b"mask", other % b"markup"))[:2] == ("markup", "invalid_value")
        assert (await self.refused())[:2] == ("image", "missing_required_parameter")

    async def test_one_above_the_limit_is_refused_while_it_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("asyncsdk.server.edits.pictures.PICTURE_LIMIT", 1000)
        async with running() as (_, call):
            answer = await edit(call, bytes(1000))
            assert (answer.status, answer.error["code"]) == (413, "payload_too_large")


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
        assert (answer.status, answer.error["type"]) == (501, "server_error")
        assert "pip install 'asyncsdk[server]'" in answer.error["message"]


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

    def paint_here(pictures: Pictures, wanted: Wanted) -> Painted:
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
