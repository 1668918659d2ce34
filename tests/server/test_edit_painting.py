"""Pictures are really edited: what may be is painted in the prompt's own colours, and nothing else changes."""

from __future__ import annotations

import resource
import subprocess
import sys
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from asyncsdk.server.edits.decoding import GivenPicture
from asyncsdk.server.edits.fields import EditRequest
from asyncsdk.server.edits.painting import PaintedEdit, paint
from asyncsdk.server.edits.pictures import GivenPictures
from asyncsdk.server.errors import ApiError
from tests.server.edits import SIZE, noise, opened, overlay, picture, saved

HOLE = (16, 8, 48, 24)


def painted(*images: bytes, mask: bytes | None = None, markup: bytes | None = None, **fields: Any) -> PaintedEdit:
    lies_above = [GivenPicture(name, data) for name, data in (("mask", mask), ("markup", markup)) if data is not None]
    pictures = GivenPictures(tuple(GivenPicture("image", image) for image in images or [picture()]), *lies_above)
    said = {"prompt": "a beret", "model": "gpt-image-2", "size": None, "as_url": False, "stream": False, **fields}
    return paint(pictures, EditRequest(pictures=len(pictures.images), **said))


def only(*images: bytes, **options: Any) -> Image.Image:
    [content] = painted(*images, **options).pictures
    return opened(content)


def refused(*images: bytes, **options: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        painted(*images, **options)
    assert (caught.value.status, caught.value.type) == (400, "image_generation_user_error")
    assert caught.value.code == "invalid_image_file"
    return caught.value


def changed(before: Image.Image, after: Image.Image) -> tuple[int, int, int, int] | None:
    """The smallest box that holds every pixel which differs."""
    return ImageChops.difference(before.convert("RGB"), after.convert("RGB")).getbbox()


@given(left=st.integers(0, 63), top=st.integers(0, 47), width=st.integers(1, 64), height=st.integers(1, 48))
@settings(max_examples=30)
def test_only_what_is_transparent_in_the_mask_changes(left: int, top: int, width: int, height: int) -> None:
    hole = (left, top, min(64, left + width), min(48, top + height))
    after = only(mask=overlay(hole))
    assert changed(noise(), after) == hole
    assert len(after.crop(hole).getcolors() or ()) == 1


def test_what_is_nearly_transparent_in_the_mask_stays() -> None:
    assert changed(noise(), only(mask=overlay(HOLE, inside=1))) is None


def test_what_a_markup_shows_changes() -> None:
    assert changed(noise(), only(markup=overlay(HOLE, inside=1, outside=0))) == HOLE


def test_without_a_mask_all_of_it_changes() -> None:
    assert changed(Image.new("RGB", SIZE), only(saved(Image.new("RGB", SIZE)))) == (0, 0, *SIZE)


def test_other_prompts_and_each_of_n_have_another_colour_and_the_same_prompt_has_the_same() -> None:
    mask = overlay(HOLE)
    made = [each for prompt in ("a beret", "a scarf") for each in painted(mask=mask, prompt=prompt, n=3).pictures]
    assert len(set(made)) == 6
    assert painted(mask=mask, n=3).pictures == tuple(made[:3])


def test_references_are_put_into_a_corner() -> None:
    red = saved(Image.new("RGB", (100, 100), (255, 0, 0)))
    alone, together = only(), only(picture(), red, red)
    assert changed(alone, together) == (0, 0, 12, 6)
    assert together.getpixel((3, 3)) == (255, 0, 0)


def test_many_references_beside_a_tiny_picture_find_their_place() -> None:
    assert only(picture((1, 2)), *[picture()] * 15).size == (1, 2)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif"])
def test_a_picture_has_the_size_and_the_format_that_were_asked(kind: str) -> None:
    made = painted(size=(128, 80), output_format=kind)
    after = opened(made.pictures[0])
    assert (after.format, after.size, made.size) == (kind.upper(), (128, 80), (128, 80))


def test_a_mask_follows_its_picture_into_another_size() -> None:
    black = Image.new("RGB", SIZE)
    after = only(saved(black), mask=overlay(HOLE), size=(SIZE[0] * 2, SIZE[1] * 2))
    assert after.getpixel((HOLE[0] * 2 + 8, HOLE[1] * 2 + 8)) != (0, 0, 0)
    assert after.getpixel((2, 2)) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_more_compression_makes_it_smaller(kind: str) -> None:
    sizes = [len(painted(output_format=kind, output_compression=each).pictures[0]) for each in (None, 100, 80, 30, 0)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 3 * sizes[-1]


def test_a_webp_of_full_quality_loses_nothing() -> None:
    assert changed(only(), only(output_format="webp")) is None


def test_an_animation_has_the_frames_and_the_pace_that_were_asked() -> None:
    after: Any = only(output_format="gif", frame_count=3, frame_duration_ms=55)
    assert (after.n_frames, after.info["duration"], after.info["loop"]) == (3, 50, 0)
    after = only(output_format="gif")
    assert (after.n_frames, after.info["duration"]) == (9, 200)


def test_a_drawing_is_svg_of_the_size_that_was_asked() -> None:
    [content] = painted(output_format="svg", size=(128, 80)).pictures
    assert content.startswith(b'<svg xmlns="http://www.w3.org/2000/svg" width="128" height="80"><rect ')


def test_partial_pictures_become_finer_until_they_are_the_picture() -> None:
    made = painted(partial_images=3)
    done = opened(made.pictures[0])
    views = [opened(content) for content in made.partials]
    assert [view.size for view in views] == [SIZE] * 3
    colours = [len(view.getcolors(SIZE[0] * SIZE[1]) or ()) for view in (*views, done)]
    assert colours == sorted(set(colours))


class TestBackground:
    def test_a_transparent_one_has_transparent_corners(self) -> None:
        for kind in ("png", "webp"):
            made = painted(background="transparent", output_format=kind)
            alpha = opened(made.pictures[0]).getchannel("A")
            assert made.transparent
            assert (alpha.getpixel((0, 0)), alpha.getpixel((SIZE[0] // 2, SIZE[1] // 2))) == (0, 255)

    def test_an_opaque_one_is_white_where_the_picture_was_transparent(self) -> None:
        glass = saved(Image.new("RGBA", SIZE, (9, 9, 9, 0)))
        made = painted(glass, background="opaque")
        assert not made.transparent
        assert opened(made.pictures[0]).getpixel((0, 0)) == (255, 255, 255)
        assert opened(painted(glass, output_format="jpeg").pictures[0]).getpixel((0, 0)) == (255, 255, 255)

    def test_left_alone_it_stays_as_the_picture_has_it(self) -> None:
        glass = saved(noise("RGBA"))
        after = only(glass, mask=overlay(HOLE))
        assert after.mode == "RGBA"
        outside = Image.new("L", SIZE, 255)
        outside.paste(0, HOLE)
        difference = ImageChops.difference(noise("RGBA"), after)
        assert Image.composite(difference, Image.new("RGBA", SIZE), outside).getbbox(alpha_only=False) is None
        assert only().mode == "RGB"


class TestKinds:
    """What cameras and painting programs write is taken, whatever its inside."""

    def test_16_bits_lose_their_lower_half(self) -> None:
        grey = Image.frombytes("I;16", SIZE, b"\x00\x40" * (SIZE[0] * SIZE[1]))
        after = only(saved(grey), mask=overlay(HOLE))
        assert after.getpixel((0, 0)) == (64, 64, 64)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "RGBA"])
    def test_any_mode_is_taken(self, mode: str) -> None:
        kind = "JPEG" if mode == "CMYK" else "PNG"
        assert only(saved(Image.new(mode, SIZE), kind)).size == SIZE

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_an_animation_is_its_first_frame(self, kind: str) -> None:
        frames = [Image.new("RGB", SIZE, colour) for colour in ((9, 9, 9), (200, 0, 0))]
        moving = saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert only(moving, mask=overlay(HOLE)).getpixel((0, 0)) == (9, 9, 9)

    def test_a_turned_photo_is_seen_upright_and_so_is_its_mask(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = saved(Image.new("RGB", (48, 64)), "JPEG", exif=exif)
        assert only(turned, mask=overlay(HOLE)).size == SIZE
        refused(turned, mask=overlay(HOLE, (48, 64)))

    def test_a_transparent_colour_is_alpha_enough_for_a_mask(self) -> None:
        flat = Image.new("L", SIZE, 255)
        flat.paste(0, HOLE)
        assert changed(noise(), only(mask=saved(flat, transparency=0))) == HOLE


class TestRefusals:
    @pytest.mark.parametrize("content", [b"", b"no picture", picture()[:-100], picture()[:40], saved(noise(), "GIF")])
    def test_what_is_no_picture_is_refused_wherever_it_stands(self, content: bytes) -> None:
        assert "'image'" in refused(content).message
        assert "'image'" in refused(picture(), content).message
        assert "'mask'" in refused(mask=content).message

    def test_a_mask_without_alpha_is_refused(self) -> None:
        error = refused(mask=picture())
        assert (error.param, error.message) == (
            "mask",
            "Invalid image file or mode for 'mask': it has no alpha channel.",
        )

    def test_a_mask_of_another_size_is_refused_with_both(self) -> None:
        assert "64x32" in (message := refused(mask=overlay(HOLE, (64, 32))).message)
        assert "64x48" in message

    def test_a_mask_that_is_no_png_or_too_large_is_refused(self) -> None:
        assert "PNG" in refused(mask=saved(noise("RGBA"), "WEBP")).message
        huge = saved(noise("RGBA", (1024, 1024)), compress_level=0)
        assert "4 MB" in refused(picture((1024, 1024)), mask=huge).message

    @pytest.mark.parametrize("image", [picture((64, 48)), saved(noise("RGB", (64, 64)), "JPEG"), picture((1200, 1200))])
    def test_the_older_model_takes_one_square_png_below_4_mb(self, image: bytes) -> None:
        old = {"model": "dall-e-2", "size": (256, 256)}
        assert "square PNG" in refused(image, **old).message
        assert only(picture((64, 64)), **old).size == (256, 256)

    @pytest.mark.parametrize("side", [8_193, 12_000, 30_000, 2**31 - 1])
    def test_a_picture_that_claims_to_be_huge_costs_no_memory(self, side: int) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refused(claiming(side))
        refused(mask=claiming(side))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def claiming(side: int) -> bytes:
    """A small PNG whose header contains the size `side` by `side`."""
    content = bytearray(picture())
    content[16:24] = side.to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    return bytes(content)


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {kind: saved(noise(size=(16, 12)), kind, exif=exif) for kind in ("PNG", "JPEG", "WEBP")}


@given(kind=st.sampled_from(["PNG", "JPEG", "WEBP"]), data=st.data())
@settings(max_examples=200)
def test_a_damaged_picture_is_painted_or_refused_and_nothing_else(
    whole: dict[str, bytes], kind: str, data: st.DataObject
) -> None:
    content = bytearray(whole[kind])
    places = st.one_of(st.integers(0, 99), st.integers(0, len(content) - 1))
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        content[place] = value
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    with suppress(ApiError):
        assert painted(bytes(content[:end])).pictures


def test_pillow_is_loaded_by_the_first_edit_and_not_before() -> None:
    program = "import sys, asyncsdk.server; print('PIL' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
