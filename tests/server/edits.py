"""Helpers for edits: generated pictures, the form that contains them, and the pictures of a response."""

from __future__ import annotations

import base64
import io
import json
import random
from typing import Any

import aiohttp
from PIL import Image

from tests.server.support import Answer, Caller

Box = tuple[int, int, int, int]
SIZE = (64, 48)


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def noise(mode: str = "RGB", size: tuple[int, int] = SIZE, seed: int = 1) -> Image.Image:
    """Any change of any pixel shows."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, random.Random(seed).randbytes(size[0] * size[1] * bands))


def picture(size: tuple[int, int] = SIZE, seed: int = 1) -> bytes:
    return saved(noise("RGB", size, seed))


def overlay(hole: Box, size: tuple[int, int] = SIZE, *, inside: int = 0, outside: int = 255) -> bytes:
    """A mask: of alpha `inside` the hole, and of alpha `outside` it."""
    made = Image.new("RGBA", size, (0, 0, 0, outside))
    made.paste((0, 0, 0, inside), hole)
    return saved(made)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def edit_form(
    *images: bytes, prompt: str | None = "a beret", content_type: str | None = "image/png", **fields: Any
) -> aiohttp.FormData:
    """The form of an edit; fields of bytes go as files, and `image[]` where there are several pictures."""
    form = aiohttp.FormData()
    for name, value in {"prompt": prompt, **fields}.items():
        if isinstance(value, bytes):
            form.add_field(name, io.BytesIO(value), filename=f"{name}.png", content_type="image/png")
        elif value is not None:
            form.add_field(name, str(value).lower() if isinstance(value, bool) else str(value))
    for image in images:
        form.add_field(
            "image" if len(images) == 1 else "image[]", io.BytesIO(image), filename="a.png", content_type=content_type
        )
    return form


async def edit(call: Caller, *images: bytes, **fields: Any) -> Answer:
    return await call("POST", "images/edits", data=edit_form(*images, **fields))


async def edit_json(call: Caller, **fields: Any) -> Answer:
    body = io.BytesIO(json.dumps(fields).encode())
    return await call("POST", "images/edits", data=body, headers={"Content-Type": "application/json"})


def contents(answer: Answer) -> list[bytes]:
    assert answer.status == 200, answer.json
    return [base64.b64decode(each["b64_json"]) for each in answer.json["data"]]


def content(answer: Answer) -> bytes:
    [only] = contents(answer)
    return only


def data_url(image: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
