"""The pictures of an edit: files of a form, or references in JSON; which are accepted, and the errors for others."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.server.edits import (
    content,
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
from tests.server.support import FORM_HEADERS, Caller, form_of, running

HOLE = (16, 8, 48, 24)


async def uploaded(call: Caller, data: bytes, purpose: str = "vision") -> str:
    """A file of the server's; return its id."""
    form = aiohttp.FormData({"purpose": purpose})
    form.add_field("file", data, filename="a.png")
    file_id: str = (await call("POST", "files", data=form)).json["id"]
    return file_id


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
