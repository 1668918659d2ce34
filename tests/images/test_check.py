"""An edit that breaks a rule is refused with the file, the rule and the figure, before anything is sent."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from asyncsdk.api import EditParams, ImageFile, ImageRef
from asyncsdk.errors import InvalidEditError
from asyncsdk.images.check import LONGEST_URL, check
from asyncsdk.images.edit import EDIT_FIELDS, ImageEdit


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 64), kind: str = "PNG", name: str = "a.png") -> ImageFile:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind)
    return ImageFile(content=out.getvalue(), filename=name, mime_type=f"image/{kind.lower()}")


def judge(*images: ImageFile | ImageRef, mask: Any = None, markup: Any = None, **fields: Any) -> str:
    """What is wrong, or nothing."""
    given = list(images or [picture()])
    named = {"mask": b"" if mask else None, "markup": b"" if markup else None}
    edit = ImageEdit(image=[b""] * len(given), **{"prompt": "a beret", **named, **fields})
    try:
        check(edit, given, mask, markup)
    except InvalidEditError as error:
        return str(error)
    return ""


MASK = picture("RGBA", name="mask.png")


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"model": "gpt-image-2", "size": "1024x1536"}, {"model": "something-new", "response_format": "url"},
        {"n": 10, "prompt": "x" * 32_000}, {"output_format": "webp", "output_compression": 0},
        {"model": "dall-e-2", "size": "256x256", "response_format": "url"}, {"stream": True, "partial_images": 3},
        {"model": "something-new", "size": "2K"},
    ],
)  # fmt: skip
def test_what_keeps_the_rules_passes(fields: dict[str, Any]) -> None:
    assert judge(**fields) == ""


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "x" * 32_001}, "32001 characters, and 32000 is the most"),
        ({"model": "dall-e-2", "prompt": "x" * 1001}, "1001 characters, and 1000"),
        ({"n": 0}, "n=0 is not"), ({"n": 11}, "n=11"), ({"n": True}, "n=True"), ({"n": "2"}, "n='2'"),
        ({"output_compression": 101}, "output_compression=101"),
        ({"output_compression": 50, "output_format": "png"}, "output_compression is for webp and jpeg"),
        ({"partial_images": 4}, "partial_images=4"),
        ({"partial_images": 2, "stream": False}, "partial images need stream=True"),
        ({"frame_count": 1}, "frame_count=1"),
        ({"model": "gpt-image-2", "response_format": "url"}, "gpt-image-2 does not accept response_format"),
        ({"model": "dall-e-2", "quality": "high"}, "dall-e-2 does not accept quality"),
        ({"model": "dall-e-2", "size": "640x480"}, "size='640x480' is not a size that dall-e-2 takes: 256x256"),
        ({"model": 5}, "model=5 is not text"), ({"quality": True}, "quality=True is not text"),
        ({"size": "big"}, "size='big'"), ({"size": 5}, "size=5"),
        ({"background": "transparent", "output_format": "jpeg"}, "needs output_format png or webp"),
        ({"output_format": "svg", "n": 2}, "makes one picture"), ({"output_format": "gif", "stream": True}, "streamed"),
        ({"output_format": "gif", "mask": MASK}, "a mask does not go"),
        ({"mask": MASK, "markup": MASK}, "don't go together"),
    ],
)  # fmt: skip
def test_a_field_out_of_range_is_named_with_its_value(fields: dict[str, Any], words: str) -> None:
    assert words in judge(**fields)


def test_too_many_pictures_are_counted() -> None:
    assert "17 pictures" in judge(*[picture()] * 17)
    assert "2 pictures, and dall-e-2 takes 1" in judge(picture(), picture(), model="dall-e-2")


def test_pictures_of_other_kinds_are_named() -> None:
    assert "a.gif is a GIF" in judge(picture("P", kind="GIF", name="a.gif"))
    assert "takes a square PNG" in judge(picture(size=(64, 32)), model="dall-e-2")
    assert "takes a square PNG" in judge(picture(kind="JPEG"), model="dall-e-2")
    assert judge(picture("CMYK", kind="JPEG")) == ""
    assert judge(picture("I;16")) == ""
    cut = ImageFile(content=picture().content[:-8], filename="cut.png", mime_type="image/png")
    assert "cut.png can't be used: it is cut off" in judge(cut)
    assert "a.txt is not a picture" in judge(ImageFile(content=b"text", filename="a.txt", mime_type="text/plain"))


def test_a_picture_that_is_too_large_is_weighed() -> None:
    heavy = ImageFile(content=picture().content + b"\0" * 4_000_000, filename="heavy.png", mime_type="image/png")
    assert f"heavy.png has {len(heavy.content)} bytes, and less than 4000000" in judge(heavy, model="dall-e-2")
    assert judge(heavy) == ""
    assert "less than 4000000 are taken" in judge(
        mask=ImageFile(content=MASK.content + b"\0" * 4_000_000, filename="m.png", mime_type="image/png")
    )


@pytest.mark.parametrize("name", ["mask", "markup"])
def test_a_mask_is_a_png_with_alpha_of_the_first_pictures_size(name: str) -> None:
    assert judge(**{name: MASK}) == ""
    assert "has no transparency" in judge(**{name: picture(name="flat.png")})
    assert "is a webp: it must be a PNG" in judge(**{name: picture("RGBA", kind="WEBP")})
    wrong = judge(**{name: picture("RGBA", (32, 16), name="small.png")})
    assert f"the {name} small.png is 32x16, but a.png is 64x64" in wrong
    assert "is not a picture" in judge(**{name: ImageFile(content=b"x", filename="x.png", mime_type="image/png")})


def test_references_are_only_counted() -> None:
    assert judge(ImageRef(file_id="file-1")) == ""
    assert judge(ImageRef(file_id="file-1"), mask=ImageRef(file_id="file-2")) == ""
    long = ImageRef(image_url="data:" + "x" * LONGEST_URL)
    for wrong in (judge(long), judge(mask=long), judge(ImageRef(file_id="file-1"), markup=long)):
        assert f"{LONGEST_URL} is the most" in wrong


def test_all_that_is_wrong_is_told_at_once() -> None:
    told = judge(prompt="", n=0, size="big")
    assert told.count(";") == 2
    assert told.endswith("Nothing was sent.")


def test_the_fields_that_are_sent_are_the_parameters_of_the_call() -> None:
    sent = {name for name, field in EDIT_FIELDS.items() if field.sent}
    assert sent == {"prompt", *EditParams.__annotations__}
