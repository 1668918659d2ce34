"""What came as a picture is one, or it is said what is wrong with it."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from asyncsdk.images.header import picture_problem
from asyncsdk.images.names import suffix_of

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>'


def drawn(kind: str) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((32, 32), 90).convert("RGB").save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "ICO"])
def test_a_picture_that_was_drawn_can_be_used(kind: str) -> None:
    assert picture_problem(drawn(kind)) is None


@pytest.mark.parametrize("brand", [b"avif", b"heic"])
def test_pictures_of_newer_kinds_can_be_used_too(brand: bytes) -> None:
    assert picture_problem(b"\0\0\0\x20ftyp" + brand + bytes(50)) is None


@pytest.mark.parametrize(
    "content",
    [
        SVG,
        b"<svg/>",
        b"\xef\xbb\xbf \n" + SVG,
        b'<?xml version="1.0"?>\n<!-- drawn by a machine -->\n' + SVG + b"\n",
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">' + SVG,
        b'<!DOCTYPE svg [\n<!ENTITY ns "http://www.w3.org/2000/svg">\n]>' + SVG,
        b'<svg:svg xmlns:svg="http://www.w3.org/2000/svg"></svg:svg>',
    ],
)
def test_an_svg_is_known_whatever_comes_before_it(content: bytes) -> None:
    assert picture_problem(content) is None
    assert suffix_of(content) == ".svg"


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html>" + SVG + b"</html>",
        b"<html><body>" + SVG,
        b"<!-- a page --><p>" + SVG,
        b"the docs say: " + SVG,
        b"<svgs/>",
        b"<!--" * 10_000,
    ],
)
def test_a_page_with_an_svg_in_it_is_not_a_picture(content: bytes) -> None:
    assert picture_problem(content) is not None
    assert suffix_of(content) == ".bin"


@pytest.mark.parametrize("content", [b"hello", b"{}", b"%PDF-1.7\n", b"PK\3\4", bytes(100), b"\0\0\0\x20ftypmp42"])
def test_anything_else_is_not_a_picture(content: bytes) -> None:
    assert picture_problem(content) == "it is not a picture of a known kind"


def test_nothing_is_not_a_picture() -> None:
    assert picture_problem(b"") == "it is empty"


@pytest.mark.parametrize("content", [drawn("PNG")[:-12], drawn("WEBP")[:-5], SVG[:30]])
def test_a_picture_that_is_cut_off_can_not_be_used(content: bytes) -> None:
    assert "cut off" in (picture_problem(content) or "")
