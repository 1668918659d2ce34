"""The bytes of an edit on the wire, and OpenAI's document on them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import Client, ImageEditor, ImageRef
from asyncsdk.server import LocalServer
from tests.raw_server import Received, answering, client_of
from tests.stories.edits import done
from tests.stories.openapi import DOCUMENT, Document, Recorder
from tests.stories.pictures import mask, photo, png

ANSWER = done()


async def sent(*arguments: Any, **fields: Any) -> Received:
    async with answering(ANSWER) as server, client_of(server) as client:
        await ImageEditor(client).edit(*arguments, **fields)
        [request] = server.requests
    return request


def fields_of(request: Received) -> list[tuple[str, str]]:
    """Each part's headers, as they came, with its content where that is text."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    *parts, end = request.body.split(b"--" + boundary)[1:]
    assert end == b"--\r\n"
    heads = [part.removeprefix(b"\r\n").partition(b"\r\n\r\n") for part in parts]
    return [
        (head.decode(), "" if b"filename" in head else body.removesuffix(b"\r\n").decode()) for head, _, body in heads
    ]


async def test_one_picture_goes_as_image_with_its_true_type_and_name(tmp_path: Path) -> None:
    otter = photo(tmp_path / "my é otter.jpg", (16, 16)).rename(tmp_path / "my é otter.png")
    hole = mask(tmp_path / "mask.png", (0, 0, 4, 4), (16, 16))
    request = await sent(otter, "a beret", mask=hole, model="gpt-image-2", n=2, stream=False)
    assert int(request.headers["content-length"]) == len(request.body)
    assert "transfer-encoding" not in request.headers
    assert fields_of(request) == [
        ('Content-Disposition: form-data; name="prompt"', "a beret"),
        ('Content-Disposition: form-data; name="model"', "gpt-image-2"),
        ('Content-Disposition: form-data; name="n"', "2"),
        ('Content-Disposition: form-data; name="stream"', "false"),
        ('Content-Disposition: form-data; name="image"; filename="my é otter.png"\r\nContent-Type: image/jpeg', ""),
        ('Content-Disposition: form-data; name="mask"; filename="mask.png"\r\nContent-Type: image/png', ""),
    ]


async def test_several_pictures_go_as_an_array_and_nothing_unset_goes() -> None:
    request = await sent(
        [png(1), png(2)], "x", svg={"model": "m", "reasoning": {"effort": "low"}}, extra={"new": ["a"]}
    )
    names = re.findall(rb' name="([^"]+)"', request.body)
    assert names == [b"prompt", b"svg[model]", b"svg[reasoning][effort]", b"new[]", b"image[]", b"image[]"]
    assert request.body.count(b'filename="image.png"\r\nContent-Type: image/png') == 2
    assert png(1) in request.body


async def test_references_go_as_json() -> None:
    request = await sent(ImageRef(file_id="file-1"), "x", model="gpt-image-2")
    assert request.headers["content-type"] == "application/json"
    assert request.body == b'{"images":[{"file_id":"file-1"}],"prompt":"x","model":"gpt-image-2"}'


async def test_classic_azure_keeps_edits_below_their_deployment() -> None:
    async with answering(ANSWER) as server:
        endpoint = server.url.removesuffix("/v1")
        async with Client.azure(endpoint, api_key="k-azure", api_version="2025-04-01-preview") as client:
            await ImageEditor(client).edit(png(), "x", model="my model")
        [request] = server.requests
    assert request.target == "/openai/deployments/my%20model/images/edits?api-version=2025-04-01-preview"


@pytest.mark.skipif(not DOCUMENT.exists(), reason="OpenAI's document is not beside the project")
async def test_requests_and_answers_keep_to_the_document(server: LocalServer, tmp_path: Path) -> None:
    recorder, otter = Recorder(), photo(tmp_path / "otter.png")
    hole = mask(tmp_path / "mask.png", (0, 0, 64, 64))
    async with recorder.session() as session, Client("sk-test", base_url=server.url, session=session) as client:
        editor = ImageEditor(client)
        await editor.edit(otter, "x", mask=hole, model="gpt-image-1.5", n=2, size="1024x1024", quality="low")
        await editor.edit([otter, otter], "x", model="gpt-image-1.5", output_format="webp", output_compression=5)
    document = Document()
    assert len(recorder.exchanges) == 2
    for exchange in recorder.exchanges:
        found = [finding for finding in document.judge(exchange) if "'256x256'" not in finding]
        assert found == []
