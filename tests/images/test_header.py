"""What a picture is can be told from its header, whatever it claims and however it is damaged."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from asyncsdk.images.header import BadPicture, Header, kind_of, look


def saved(mode: str, kind: str, size: tuple[int, int] = (33, 17), **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind", "has_alpha"),
    [
        ("1", "PNG", False), ("L", "PNG", False), ("LA", "PNG", True), ("P", "PNG", False), ("RGB", "PNG", False),
        ("RGBA", "PNG", True), ("I;16", "PNG", False), ("L", "JPEG", False), ("RGB", "JPEG", False),
        ("CMYK", "JPEG", False), ("RGB", "WEBP", False), ("RGBA", "WEBP", True), ("P", "GIF", True),
    ],
)  # fmt: skip
def test_kind_size_and_alpha_are_as_pillow_wrote_them(mode: str, kind: str, *, has_alpha: bool) -> None:
    assert look(saved(mode, kind)) == Header(kind.lower(), 33, 17, has_alpha)  # type: ignore[arg-type]  # one of them


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_lossless_webp_is_read_too(mode: str) -> None:
    assert look(saved(mode, "WEBP", lossless=True)) == Header("webp", 33, 17, mode == "RGBA")


def test_a_transparent_colour_counts_as_alpha() -> None:
    header = look(saved("P", "PNG", transparency=0))
    assert header is not None
    assert header.has_alpha


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_says_so(kind: str) -> None:
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    header = look(out.getvalue())
    assert header is not None
    assert header.animated


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_picture_that_is_turned_shows_its_other_side(kind: str, order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x0112] = 6
    header = look(saved("RGB", kind, exif=exif))
    assert header is not None
    assert (header.orientation, header.size) == (6, (17, 33))


def test_a_large_profile_before_the_frame_does_not_hide_it() -> None:
    header = look(saved("RGB", "JPEG", icc_profile=b"x" * 500_000))
    assert header is not None
    assert header.size == (33, 17)


def test_huge_dimensions_cost_nothing() -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    size = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    header = look(bomb)
    assert header is not None
    assert header.width == 2**31 - 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_picture_that_is_cut_off_says_so(kind: str) -> None:
    whole = saved("RGB", kind)
    for size in (len(whole) - 10, len(whole) // 2):
        with pytest.raises(BadPicture, match="cut off"):
            look(whole[:size])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_half_a_jpeg_is_not_taken_for_a_whole_one_by_the_end_of_its_thumbnail(options: dict[str, Any]) -> None:
    noise = Image.effect_noise((300, 200), 80)
    out = io.BytesIO()
    noise.save(out, "JPEG", exif=b"Exif\0\0" + saved("L", "JPEG"), **options)
    whole = out.getvalue()
    assert whole.count(b"\xff\xd9") == 2
    header = Header("jpeg", 300, 200)
    assert look(whole) == look(whole + b"what a phone appends" * 9) == header
    for size in (len(whole) - 1, len(whole) // 2, whole.rindex(b"\xff\xda") + 20):
        with pytest.raises(BadPicture, match="end-of-image"):
            look(whole[:size])


def test_a_jpeg_of_several_frames_or_with_bytes_between_its_segments_is_whole() -> None:
    frames, out = [Image.effect_noise((33, 17), 80).convert("RGB") for _ in range(2)], io.BytesIO()
    frames[0].save(out, "MPO", save_all=True, append_images=frames[1:])
    plain = saved("RGB", "JPEG")
    scan = plain.index(b"\xff\xda")
    for whole in (out.getvalue(), plain[:scan] + b"odd" + plain[scan:]):
        assert look(whole) == Header("jpeg", 33, 17)


def test_half_a_png_is_not_taken_for_a_whole_one_by_the_end_of_another_within_it() -> None:
    private = PngInfo()
    private.add(b"prVt", saved("L", "PNG"))
    out = io.BytesIO()
    Image.effect_noise((300, 200), 80).save(out, "PNG", pnginfo=private)
    whole = out.getvalue()
    assert whole.count(b"IEND") == 2
    assert look(whole) is not None
    with pytest.raises(BadPicture, match="cut off"):
        look(whole[: len(whole) // 2])


@pytest.mark.parametrize("data", [b"", b"no picture", b"%PDF-1.7", b"<svg/>", b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_picture_is_none(data: bytes) -> None:
    assert look(data) is None
    assert kind_of(data) is None


WHOLE = [saved("RGBA", "PNG"), saved("RGB", "JPEG"), saved("RGBA", "WEBP"), saved("P", "GIF")]


@given(st.sampled_from(WHOLE), st.data())
def test_damage_is_a_bad_picture_or_another_one_and_nothing_else(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadPicture):
        look(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))


@given(
    st.binary(max_size=200), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x10\0\0\0WEBP", b"GIF89a"])
)
def test_any_bytes_behind_a_beginning_are_borne(rest: bytes, beginning: bytes) -> None:
    with suppress(BadPicture):
        look(beginning + rest)


HOSTILE = {
    "png": b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 1, 1, 8, 6, 0, 0, 0)
    + b"\0" * 4 + b"".join(b"\0\0\0\0" + struct.pack(">I", number) + b"\0" * 4 for number in range(20_000)),
    "jpeg of markers": b"\xff\xd8" + b"\xff\xd0" * 20_000,
    "jpeg of segments": b"\xff\xd8" + b"\xff\xe0\0\x02" * 20_000,
    "webp": b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0\x08\0\0\0" + b"\0" * 6 + b"ABCD\0\0\0\0" * 20_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_of_countless_sections_is_not_looked_through(name: str) -> None:
    with pytest.raises(BadPicture, match="more than 10000 sections"):
        look(HOSTILE[name])


def test_fill_bytes_are_passed_over_at_once() -> None:
    whole = saved("RGB", "JPEG")
    assert look(whole[:2] + b"\xff" * 10_000_000 + whole[2:]) == look(whole)
    with pytest.raises(BadPicture, match="cut off"):
        look(b"\xff\xd8" + b"\xff" * 10_000_000)
