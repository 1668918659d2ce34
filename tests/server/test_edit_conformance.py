"""The official client, sync and async, edits images as it does at OpenAI's, and raises what it raises there."""

from __future__ import annotations

import base64
from typing import Any
from urllib.request import urlopen

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import ImagesResponse

from asyncsdk.server import LocalServer
from tests.server.edits import noise, opened, overlay, picture, saved

MODEL = "gpt-image-2"
OTTER = ("otter.png", picture())


def contents(answer: ImagesResponse) -> list[bytes]:
    assert answer.data is not None
    return [base64.b64decode(each.b64_json or "") for each in answer.data]


def test_several_pictures_of_one_edit_with_a_mask(client: OpenAI) -> None:
    mask = ("mask.png", overlay((16, 8, 48, 24)))
    answer = client.images.edit(image=OTTER, mask=mask, prompt="a beret", model=MODEL, n=2, output_format="jpeg")
    assert [opened(content).format for content in contents(answer)] == ["JPEG", "JPEG"]
    assert (answer.output_format, answer.size, answer.quality, answer.background) == (
        "jpeg",
        "64x48",
        "medium",
        "opaque",
    )
    assert answer.usage is not None
    assert answer.usage.output_tokens_details is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


async def test_an_edit_in_a_loop(async_client: AsyncOpenAI) -> None:
    answer = await async_client.images.edit(image=OTTER, prompt="a beret", model=MODEL, size="1024x1024")
    assert [opened(content).size for content in contents(answer)] == [(1024, 1024)]


@pytest.mark.parametrize("count", [1, 3])
def test_a_list_of_pictures(client: OpenAI, server: LocalServer, count: int) -> None:
    answer = client.images.edit(image=[OTTER] * count, prompt="together", model=MODEL)
    assert len(contents(answer)) == 1
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.image_tokens == 200 * count
    assert server.edits.by_prompt == {"together": 1}


def test_urls_of_the_older_model(client: OpenAI) -> None:
    square = ("a.png", picture((64, 64)))
    answer = client.images.edit(image=square, prompt="x", model="dall-e-2", size="256x256", n=2)
    assert answer.data is not None
    for each in answer.data:
        assert each.url is not None
        with urlopen(each.url) as told:
            assert opened(told.read()).size == (256, 256)
    inline = client.images.edit(image=square, prompt="x", model="dall-e-2", response_format="b64_json")
    assert opened(contents(inline)[0]).size == (1024, 1024)


def test_a_stream_with_partial_pictures(client: OpenAI) -> None:
    with client.images.edit(image=OTTER, prompt="x", model=MODEL, stream=True, partial_images=2) as events:
        found = list(events)
    assert [event.type for event in found] == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]
    assert opened(base64.b64decode(found[-1].b64_json)).size == (64, 48)


async def test_a_stream_in_a_loop(async_client: AsyncOpenAI) -> None:
    events = await async_client.images.edit(image=OTTER, prompt="x", model=MODEL, stream=True)
    async with events:
        [completed] = [event async for event in events]
    assert completed.type == "image_edit.completed"
    assert completed.usage.total_tokens


@pytest.mark.parametrize("kind", ["webp", "gif", "svg", "png"])
def test_every_format(client: OpenAI, kind: Any) -> None:
    [content] = contents(client.images.edit(image=OTTER, prompt="x", model=MODEL, output_format=kind))
    assert (b"<svg" in content) if kind == "svg" else opened(content).format == kind.upper()


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": "x" * 32_001}, "prompt", "string_above_max_length"),
        ({"n": 11}, "n", "invalid_value"),
        ({"size": "17x16"}, "size", "invalid_value"),
        ({"quality": "best"}, "quality", "invalid_value"),
        ({"response_format": "url"}, "response_format", "unknown_parameter"),
        ({"extra_body": {"colour": "red"}}, "colour", "unknown_parameter"),
        ({"image": picture()}, "image", "unsupported_file_mimetype"),
        ({"image": [picture()]}, "image[0]", "unsupported_file_mimetype"),
        ({"image": ("a.png", b"no picture")}, "image", "invalid_image_file"),
        ({"image": ("a.png", picture()[:-40])}, "image", "invalid_image_file"),
        ({"mask": ("m.png", picture())}, "mask", "invalid_image_file"),
        ({"mask": ("m.png", overlay((0, 0, 4, 4), (8, 8)))}, "mask", "invalid_image_file"),
        ({"model": "dall-e-2", "quality": "high"}, "quality", "unknown_parameter"),
        ({"model": "dall-e-2", "size": "640x480"}, "size", "invalid_value"),
        ({"model": "dall-e-2"}, "image", "invalid_image_file"),
        ({"model": "dall-e-2", "image": [OTTER, OTTER]}, "image", "invalid_type"),
        ({"image": [OTTER] * 17}, "image", "array_above_max_length"),
        ({"prompt": "forbidden"}, None, "moderation_blocked"),
    ],
)
def test_what_breaks_a_rule_is_a_bad_request(
    client: OpenAI, server: LocalServer, fields: dict[str, Any], param: str | None, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(**{"image": OTTER, "prompt": "x", "model": MODEL, **fields})
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.request_id is not None
    assert server.edits.edits == 0


def test_a_refusal_in_the_stream_is_an_api_error(client: OpenAI) -> None:
    with (
        client.images.edit(image=OTTER, prompt="forbidden-output", model=MODEL, stream=True) as events,
        pytest.raises(openai.APIError, match="rejected by the safety system") as caught,
    ):
        list(events)
    assert caught.value.code == "moderation_blocked"


def test_too_many_pictures_a_minute_is_a_rate_limit_error() -> None:
    with (
        LocalServer(images_per_minute=6) as server,
        OpenAI(api_key="any key", base_url=server.url, max_retries=0) as client,
    ):
        client.images.edit(image=OTTER, prompt="x", model=MODEL)
        with pytest.raises(openai.RateLimitError, match=r"Limit 6, Used 6, Requested 1\. Please try again in"):
            client.images.edit(image=OTTER, prompt="x", model=MODEL)
        with pytest.raises(openai.RateLimitError, match=r"Limit 6, Requested 160\. Visit"):
            client.images.edit(image=[OTTER] * 16, prompt="x", model=MODEL, n=10)


def test_a_wrong_key_is_an_authentication_error() -> None:
    with (
        LocalServer(api_key="right") as server,
        OpenAI(api_key="wrong", base_url=server.url, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.images.edit(image=OTTER, prompt="x", model=MODEL)


def test_a_large_photo(client: OpenAI) -> None:
    photo = ("photo.jpg", saved(noise("RGB", (3000, 2000)), "JPEG"))
    [content] = contents(client.images.edit(image=photo, prompt="x", model=MODEL, size="1536x1024"))
    assert opened(content).size == (1536, 1024)
