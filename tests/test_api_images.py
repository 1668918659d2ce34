"""Image edits as values: both shapes, every field, byte for byte, and no picture copied on its way."""

from __future__ import annotations

import json
from typing import Any, cast, get_args, get_type_hints

import pytest
from aiohttp.abc import AbstractStreamWriter
from attrs import fields_dict, frozen

from asyncsdk import Client, ConfigurationError, ImageEdit, api
from asyncsdk.api import EditParams, ImageFile, ImageRef, Request
from asyncsdk.http.body import Body
from asyncsdk.http.request import encoded_body
from asyncsdk.models import EditedImage, Usage
from tests.raw_server import KEY, answering, client_of, reply

OTTER = ImageFile(content=b"\x89PNG\r\n--otter--", filename='ein "é".png', mime_type="image/png")
MASK = ImageFile(content=b"\x89PNG mask", filename="mask.png", mime_type="image/webp")
REF, URL = ImageRef(file_id="file-1"), ImageRef(image_url="https://pictures.example/otter.png")
OPTIONS: dict[str, Any] = {
    "model": "gpt-image-2",
    "n": 2,
    "size": "1024x1024",
    "quality": "high",
    "background": "opaque",
    "output_format": "webp",
    "output_compression": 0,
    "input_fidelity": "low",
    "complexity": "high",
    "moderation": "low",
    "response_format": "b64_json",
    "user": "u",
    "safety_identifier": "s",
    "stream": False,
    "partial_images": 0,
    "frame_count": 9,
    "frame_duration_ms": 200,
    "svg": {"model": "m", "reasoning": {"effort": "low"}},
}
ANSWER = {
    "created": 1,
    "data": [{"b64_json": "eHl6"}, {"url": "https://x.example/1", "revised_prompt": "p"}],
    "usage": {"total_tokens": 7},
    "svg_usage": {"model": "m"},
    "new": 1,
}


@frozen
class Field:
    """A field of a form: the lines above it, and its content."""

    head: str
    content: bytes


class Wire:
    """Takes a body in as a connection does, and knows where the bytes lay."""

    transport = None

    def __init__(self) -> None:
        self.sent = b""
        self.owners: list[object] = []

    async def write(self, chunk: memoryview) -> None:
        self.sent += chunk
        self.owners.append(chunk.obj)

    async def drain(self) -> None:
        pass


async def written(request: Request[Any]) -> tuple[str, Wire]:
    """The Content-Type of its body, and the body on the wire."""
    body, wire = encoded_body(request), Wire()
    assert isinstance(body, Body)
    await body.write(cast("AbstractStreamWriter", wire))
    assert body.size == len(wire.sent)
    return body.content_type, wire


async def form_of(request: Request[Any]) -> list[Field]:
    kind, wire = await written(request)
    boundary = kind.partition("boundary=")[2].encode()
    first, *middle, last = wire.sent.split(b"--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    cut = [field.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n") for field in middle]
    return [Field(head.decode().removeprefix("Content-Disposition: form-data; "), content) for head, _, content in cut]


async def test_an_edit_is_a_form_of_texts_and_then_files() -> None:
    request = api.edit_image(image=OTTER, prompt="a é beret\r\n", mask=MASK, n=1, user=None)
    assert await form_of(request) == [
        Field('name="prompt"', "a é beret\r\n".encode()),
        Field('name="n"', b"1"),
        Field('name="image"; filename="ein %22é%22.png"\r\nContent-Type: image/png', OTTER.content),
        Field('name="mask"; filename="mask.png"\r\nContent-Type: image/webp', MASK.content),
    ]


async def test_several_pictures_are_an_array_and_one_is_none() -> None:
    several = await form_of(api.edit_image(image=[OTTER, MASK], prompt="x", markup=MASK))
    names = [field.head.partition(";")[0] for field in several]
    assert names == ['name="prompt"', 'name="image[]"', 'name="image[]"', 'name="markup"']
    (_, one) = await form_of(api.edit_image(image=(OTTER,), prompt="x"))
    assert one.head.startswith('name="image";')


def test_an_edit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"at least one picture\. Nothing was sent"):
        api.edit_image(image=[], prompt="x")


async def test_every_field_of_the_api_goes_into_a_form_by_its_own_name() -> None:
    request = api.edit_image(image=OTTER, prompt="x", **OPTIONS, extra={"new": [1, 2]})
    _, *texts, _ = await form_of(request)
    assert [(field.head, field.content.decode()) for field in texts] == [
        *((f'name="{name}"', str(value).lower()) for name, value in OPTIONS.items() if name != "svg"),
        ('name="svg[model]"', "m"),
        ('name="svg[reasoning][effort]"', "low"),
        ('name="new[]"', "1"),
        ('name="new[]"', "2"),
    ]


def test_every_field_of_the_api_goes_into_json_as_it_is() -> None:
    request = api.edit_image_by_reference(images=[REF, URL], prompt="x", mask=REF, **OPTIONS, extra={"new": None})
    assert (request.body, request.files, request.fields) == (None, (), {})
    assert request.json == {
        "images": [{"file_id": "file-1"}, {"image_url": "https://pictures.example/otter.png"}],
        "mask": {"file_id": "file-1"},
        "prompt": "x",
        **OPTIONS,
        "new": None,
    }
    bare = api.edit_image_by_reference(images=[REF], prompt="x", n=None)
    assert bare.json == {"images": [{"file_id": "file-1"}], "prompt": "x"}


def test_a_reference_is_a_file_or_a_url() -> None:
    for wrong in ({}, {"file_id": "file-1", "image_url": "https://x.example"}):
        with pytest.raises(ConfigurationError, match="exactly one"):
            ImageRef(**wrong)
    assert "otter.png" not in repr(URL)  # a signed one is a secret, a data URL a picture


def test_the_fields_of_an_edit_are_the_same_wherever_they_are_named() -> None:
    options = get_type_hints(EditParams)
    assert set(options) == set(OPTIONS)
    edit = get_type_hints(ImageEdit)
    assert {name: edit[name] for name in options} == options
    assert all(fields_dict(ImageEdit)[name].default is None for name in options)
    known = {value for part in get_args(options["output_format"]) for value in get_args(part)}
    assert known == {"png", "jpeg", "webp", "gif", "svg"}


async def test_each_attempt_has_a_body_of_its_own_and_no_picture_is_copied() -> None:
    large = ImageFile(content=bytes(2_000_000), filename="a.png", mime_type="image/png")
    request = api.edit_image(image=[large, large], prompt="x")
    (kind, first), (other, second) = await written(request), await written(request)
    assert kind != other
    assert len(first.sent) == len(second.sent) > 4_000_000
    assert sum(owner is large.content for owner in first.owners) == 2 * 4  # in slices of half a MiB
    assert len(first.owners) == 2 * 4 + 3


def test_a_streamed_edit_asks_for_events() -> None:
    for stream, accept in ((True, "text/event-stream"), (False, "application/json"), (None, "application/json")):
        assert api.edit_image(image=OTTER, prompt="x", stream=stream).accept == accept
        assert api.edit_image_by_reference(images=[REF], prompt="x", stream=stream).accept == accept


async def test_an_answer_holds_the_bytes_and_the_name_of_its_request() -> None:
    async with (
        answering(reply(200, ANSWER, {"X-Request-ID": "req_1"})) as server,
        client_of(server) as client,
    ):
        answer = await client.send(api.edit_image(image=OTTER, prompt="x"))
    assert answer.data == (
        EditedImage(content=b"xyz"),
        EditedImage(url="https://x.example/1", revised_prompt="p"),
    )
    assert (answer.request_id, answer.usage, answer.created) == ("req_1", Usage(total_tokens=7), 1)
    assert (answer.svg_usage, answer.extra) == ({"model": "m"}, {"new": 1})
    (request,) = server.requests
    assert int(request.headers["content-length"]) == len(request.body)
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert OTTER.content in request.body


async def test_references_go_as_json() -> None:
    async with answering(reply(200, ANSWER)) as server, client_of(server) as client:
        await client.send(api.edit_image_by_reference(images=[REF], prompt="ü"))
    (request,) = server.requests
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"images": [{"file_id": "file-1"}], "prompt": "ü"}


@pytest.mark.parametrize(
    ("base", "version", "target"),
    [
        ("/openai", "2025-04-01", "/openai/deployments/my%20model%2F1/images/edits?api-version=2025-04-01"),
        ("/openai/v1", None, "/openai/v1/images/edits"),
        ("/openai/v1", "preview", "/openai/v1/images/edits?api-version=preview"),
    ],
)
async def test_classic_azure_alone_keeps_edits_below_their_deployment(
    base: str, version: str | None, target: str
) -> None:
    async with answering(reply(200, ANSWER)) as server:
        endpoint = server.url.removesuffix("/v1") + base
        async with Client.azure(endpoint, api_version=version, api_key=KEY) as client:
            await client.send(api.edit_image(image=OTTER, prompt="x", model="my model/1"))
    assert server.requests[0].target == target
    assert server.requests[0].headers["api-key"] == KEY


async def test_classic_azure_keeps_all_else_where_it_was() -> None:
    async with answering(reply(200, {"id": "f"})) as server:
        endpoint = server.url.removesuffix("/v1")
        async with Client.azure(endpoint, api_version="2025-04-01", api_key=KEY) as client:
            await client.send(api.retrieve_file("f"))
    assert server.requests[0].target == "/openai/files/f?api-version=2025-04-01"
