"""The embedded server's edits, driven by the official client and by hand."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import aiohttp
import openai
import pytest
from PIL import Image

from asyncsdk.server import LocalServer
from tests.stories.pictures import mask, photo, png

MODEL = "gpt-image-2"


@pytest.fixture
def server() -> Any:
    with LocalServer() as running:
        yield running


@pytest.fixture
def client(server: LocalServer) -> Any:
    with openai.OpenAI(api_key="sk-1", base_url=server.url, max_retries=0) as found:
        yield found


def opened(encoded: str | None) -> Image.Image:
    assert encoded is not None
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def test_the_official_client_edits_with_a_mask(client: openai.OpenAI, tmp_path: Path) -> None:
    otter, hole = photo(tmp_path / "otter.png"), mask(tmp_path / "mask.png", (64, 64, 128, 128))
    answer = client.images.edit(image=otter, mask=hole, prompt="a beret", model=MODEL, n=2, output_format="jpeg")
    assert answer.data is not None
    assert [opened(each.b64_json).format for each in answer.data] == ["JPEG", "JPEG"]
    assert answer.usage is not None
    assert (answer.output_format, answer.size) == ("jpeg", "256x256")


def test_the_official_client_sends_several_pictures(client: openai.OpenAI, server: LocalServer) -> None:
    pictures = [("a.png", png(1)), ("b.png", png(2))]
    answer = client.images.edit(image=pictures, prompt="together", model=MODEL)
    assert answer.data is not None
    assert len(answer.data) == 1
    assert server.edits.by_prompt == {"together": 1}


def test_the_official_client_gets_urls_from_the_older_model(client: openai.OpenAI) -> None:
    answer = client.images.edit(image=("a.png", png()), prompt="x", model="dall-e-2", size="256x256")
    assert answer.data is not None
    url = answer.data[0].url
    assert url is not None
    with urlopen(url) as told:
        assert Image.open(io.BytesIO(told.read())).size == (256, 256)
    with pytest.raises(HTTPError, match="404"):
        urlopen(url + "x")


def test_the_official_client_streams(client: openai.OpenAI) -> None:
    events = list(client.images.edit(image=("a.png", png()), prompt="x", model=MODEL, stream=True, partial_images=2))
    assert [event.type for event in events] == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": "x" * 32_001}, "prompt", "string_above_max_length"),
        ({"n": 11}, "n", "invalid_value"), ({"size": "17x16"}, "size", "invalid_value"),
        ({"size": "4096x16"}, "size", "invalid_value"), ({"size": "3840x3840"}, "size", "invalid_value"),
        ({"size": "big"}, "size", "invalid_value"), ({"size": "16x0"}, "size", "invalid_value"),
        ({"quality": "best"}, "quality", "invalid_value"),
        ({"response_format": "url"}, "response_format", "unknown_parameter"),
        ({"extra_body": {"colour": "red"}}, "colour", "unknown_parameter"),
        ({"image": png()}, "image", "unsupported_file_mimetype"),
        ({"image": ("a.png", b"no picture")}, "image", "invalid_image_file"),
        ({"image": ("a.png", png()[:-40])}, "image", "invalid_image_file"),
        ({"mask": ("m.png", png())}, "mask", "invalid_image_file"),
        ({"model": "dall-e-2", "quality": "high"}, "quality", "unknown_parameter"),
        ({"model": "dall-e-2", "size": "16x16"}, "size", "invalid_value"),
        ({"model": "dall-e-2", "image": ("a.png", png(size=(16, 32)))}, "image", "invalid_image_file"),
        ({"image": [("a.png", png())] * 17}, "image", "array_above_max_length"),
    ],
    ids=str,
)  # fmt: skip
def test_what_breaks_a_rule_is_refused(client: openai.OpenAI, fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(**{"image": ("a.png", png()), "prompt": "x", "model": MODEL, **fields})
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_mask_of_another_size_is_refused(client: openai.OpenAI, tmp_path: Path) -> None:
    hole = mask(tmp_path / "m.png", (0, 0, 4, 4), (8, 8))
    with pytest.raises(openai.BadRequestError, match="8x8 and the image is 16x16"):
        client.images.edit(image=("a.png", png()), mask=hole, prompt="x", model=MODEL)


@pytest.mark.parametrize("prompt", ["forbidden", "forbidden-output"])
def test_the_safety_system_says_at_which_stage(client: openai.OpenAI, prompt: str, server: LocalServer) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.edit(image=("a.png", png()), prompt=prompt, model=MODEL)
    assert caught.value.code == "moderation_blocked"
    with pytest.raises(openai.APIError):
        list(client.images.edit(image=("a.png", png()), prompt=prompt, model=MODEL, stream=True))
    assert server.edits.edits == 0


def test_too_fast_is_a_429_that_says_when_to_come_again() -> None:
    with (
        LocalServer(images_per_minute=60) as server,
        openai.OpenAI(api_key="sk-1", base_url=server.url, max_retries=0) as client,
    ):
        client.images.edit(image=("a.png", png()), prompt="x", model=MODEL)
        with pytest.raises(openai.RateLimitError, match=r"Limit 60, Used 1, Requested 1\. Please try again in"):
            client.images.edit(image=("a.png", png()), prompt="x", model=MODEL)
        with pytest.raises(openai.RateLimitError, match=r"Limit 60, Used 1, Requested 160\. Visit"):
            client.images.edit(image=[("a.png", png())] * 16, prompt="x", model=MODEL, n=10)


@pytest.mark.parametrize("kind", ["webp", "gif", "svg", "png"])
def test_every_format_is_written(client: openai.OpenAI, kind: Any) -> None:
    answer = client.images.edit(
        image=("a.png", png()), prompt="x", model=MODEL, output_format=kind, background="transparent"
    )
    assert answer.data is not None
    content = base64.b64decode(answer.data[0].b64_json or "")
    assert (b"<svg" in content) if kind == "svg" else Image.open(io.BytesIO(content)).format == kind.upper()


async def test_pictures_may_be_referred_to(server: LocalServer) -> None:
    data = "data:image/png;base64," + base64.b64encode(png()).decode()
    headers = {"Authorization": "Bearer sk-1"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def ask(**fields: Any) -> tuple[int, Any]:
            async with session.post(
                f"{server.url}/images/edits", json={"prompt": "x", "model": MODEL, **fields}
            ) as told:
                return told.status, await told.json()

        assert (await ask(images=[{"image_url": data}]))[0] == 200
        wrongs: list[dict[str, Any]] = [
            {}, {"images": 5}, {"images": []}, {"images": [5]}, {"images": [{}]}, {"images": [{"file_id": "file-x"}]},
            {"images": [{"image_url": "https://x"}]}, {"images": [{"image_url": "data:image/png;base64,?"}]},
            {"images": [{"image_url": data}], "n": "x"}, {"images": [{"image_url": data}], "stream": "perhaps"},
            {"images": [{"image_url": data}], "prompt": 5},
            {"images": [{"image_url": data}], "prompt": ""}, {"images": [{"image_url": data}], "model": 5},
        ]  # fmt: skip
        for wrong in wrongs:
            status, told = await ask(**wrong)
            assert status in {400, 404}, wrong
            assert told["error"]["message"]


async def test_forms_that_others_write_wrongly_are_refused_in_the_real_words(server: LocalServer) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-1"}) as session:
        for names, words in {
            ("image", "image"): "use the array syntax instead e.g. 'image[]=<value>'",
            ("image", "mask", "markup"): "does not go together",
            ("image", "picture"): "Unknown parameter: 'picture'",
            (): "Missing required parameter: 'image'",
        }.items():
            form = aiohttp.FormData(default_to_multipart=True)
            form.add_field("prompt", "x")
            for name in names:
                form.add_field(name, png(), filename="a.png", content_type="image/png")
            async with session.post(f"{server.url}/images/edits", data=form) as told:
                assert words in (await told.json())["error"]["message"]
        text = aiohttp.FormData({"prompt": "x", "image": "text"}, default_to_multipart=True)
        async with session.post(f"{server.url}/images/edits", data=text) as told:
            assert "got a string instead" in (await told.json())["error"]["message"]
        async with session.get(f"{server.url.removesuffix('/v1')}/_control/edits") as told:
            assert (await told.json())["edits"] == 0
