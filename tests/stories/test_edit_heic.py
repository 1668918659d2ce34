"""HEIC pictures: converted on the way where Pillow-heif is installed, and otherwise refused with a hint."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from asyncsdk import ImageEdit, ImageEditor, InvalidEditError
from asyncsdk.images import heic as conversion
from asyncsdk.images.pictures import converted, loaded
from asyncsdk.server import LocalServer
from tests.raw_server import Received, answering, client_of
from tests.stories.edits import MODEL, all_of, done
from tests.stories.pictures import heic, mask, photo

RED, BLUE = (254, 0, 0), (0, 0, 254)


def received(request: Received) -> dict[str, tuple[str, Image.Image]]:
    """The pictures of a form by field, each with its name."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    pictures = dict[str, tuple[str, Image.Image]]()
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, _, body = part.partition(b"\r\n\r\n")
        if b"filename" in head:
            field, name = head.decode().split('"')[1], head.decode().split('"')[3]
            pictures[field] = name, Image.open(io.BytesIO(body.removesuffix(b"\r\n")))
    return pictures


async def sent(edit: ImageEdit) -> dict[str, tuple[str, Image.Image]]:
    async with answering(done()) as server, client_of(server) as client:
        await ImageEditor(client).edit(edit)
        [request] = server.requests
    return received(request)


def is_near(pixel: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(one - other) < 12 for one, other in zip(pixel, colour, strict=False))


def as_bytes(path: Path) -> bytes:
    return path.read_bytes()


def as_file(path: Path) -> object:
    file = io.BytesIO(path.read_bytes())
    file.name = str(path)
    return file


@pytest.mark.parametrize(("given", "name"), [(Path, "otter.jpg"), (as_bytes, "image.jpg"), (as_file, "otter.jpg")])
async def test_it_is_sent_as_an_upright_jpeg_without_chroma_subsampling(
    tmp_path: Path, given: Callable[[Path], object], name: str
) -> None:
    turned = heic(tmp_path / "otter.HEIC", orientation=6)  # its left is shown at the top
    pictures = await sent(ImageEdit(image=given(turned), prompt="x", model=MODEL))
    [(filename, picture)] = pictures.values()
    assert (filename, picture.format, picture.size) == (name, "JPEG", (48, 64))
    assert is_near(picture.getpixel((24, 8)), RED)
    assert is_near(picture.getpixel((24, 56)), BLUE)
    assert "exif" not in picture.info
    assert picture.getexif().get(0x0112, 1) == 1
    assert isinstance(picture, JpegImageFile)
    assert {layer[1:3] for layer in picture.layer} == {(1, 1)}


async def test_with_alpha_it_is_sent_as_a_png(tmp_path: Path) -> None:
    [(filename, picture)] = (
        await sent(ImageEdit(image=heic(tmp_path / "a.heic", mode="RGBA"), prompt="x", model=MODEL))
    ).values()
    assert (filename, picture.format, picture.mode) == ("a.png", "PNG", "RGBA")


async def test_a_mask_becomes_a_png_and_so_does_what_an_older_model_edits(tmp_path: Path) -> None:
    hole = heic(tmp_path / "mask.heic", (48, 48), mode="RGBA")
    edit = ImageEdit(image=heic(tmp_path / "a.heic", (48, 48)), mask=hole, prompt="x", model="dall-e-2")
    pictures = await sent(edit)
    assert {field: (name, picture.format) for field, (name, picture) in pictures.items()} == {
        "image": ("a.png", "PNG"),
        "mask": ("mask.png", "PNG"),
    }


async def test_a_run_saves_it_under_its_own_name_and_pays_once(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = [ImageEdit(image=heic(tmp_path / "IMG_1.HEIC"), prompt="x", model=MODEL, name="IMG_1")]
    plan = await editor.plan(edits, out=tmp_path / "out")
    assert (plan.to_send, plan.problems) == (1, ())
    async with editor.edit_many(edits, out=tmp_path / "out") as outcomes:
        [outcome] = await all_of(outcomes)
    assert outcome.files == (tmp_path / "out" / "IMG_1.png",)
    monkeypatch.setattr(conversion, "QUALITY", 50)  # another version of the encoder makes other bytes
    monkeypatch.setattr(conversion, "_convert", None)  # and what is done is not converted again
    async with editor.edit_many(edits, out=tmp_path / "out") as outcomes:
        assert [again.status for again in await all_of(outcomes)] == ["skipped"]
    assert server.edits.edits == 1


async def test_what_is_done_is_known_where_pillow_heif_is_missing_and_nothing_else_is_sent(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = [ImageEdit(image=heic(tmp_path / "IMG_1.HEIC"), prompt="x", model=MODEL, name="IMG_1")]
    async with editor.edit_many(edits, out=tmp_path / "out") as outcomes:
        assert [outcome.status for outcome in await all_of(outcomes)] == ["done"]
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    edits += [ImageEdit(image=tmp_path / "IMG_1.HEIC", prompt="y", model=MODEL, name="IMG_2")]
    plan = await editor.plan(edits, out=tmp_path / "out")
    assert (plan.to_send, plan.done, [outcome.id for outcome in plan.problems]) == (0, 1, ["IMG_2"])
    async with editor.edit_many(edits, out=tmp_path / "out") as outcomes:
        ended = {outcome.id: outcome for outcome in await all_of(outcomes)}
    assert (ended["IMG_1"].status, ended["IMG_2"].status) == ("skipped", "refused")
    assert "IMG_1.HEIC is HEIC inside: pip install pillow-heif" in str(ended["IMG_2"].error)
    async with editor.edit_many(edits, out=tmp_path / "out", redo=["IMG_1"]) as outcomes:
        assert {outcome.status for outcome in await all_of(outcomes)} == {"refused"}
    async with editor.edit_many(edits) as outcomes:
        assert {outcome.status for outcome in await all_of(outcomes)} == {"refused"}
    assert server.edits.edits == 1


async def test_an_edit_is_known_by_the_bytes_of_the_original(tmp_path: Path) -> None:
    edit = ImageEdit(image=heic(tmp_path / "a.heic"), prompt="x")
    before = await loaded(edit)
    after = await converted(before)
    assert before.digest() == after.digest()
    assert after.images[0].original == hashlib.sha256((tmp_path / "a.heic").read_bytes()).hexdigest()  # type: ignore[union-attr]
    assert not after.has_heic


async def test_it_is_converted_in_one_thread_and_nothing_is_registered_with_pillow(
    editor: ImageEditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, convert = list[threading.Thread](), conversion._convert  # noqa: SLF001 - to see where it runs

    def noted(content: bytes, as_png: bool) -> bytes:  # noqa: FBT001 - as the function that it calls
        threads.append(threading.current_thread())
        return convert(content, as_png)

    monkeypatch.setattr(conversion, "_convert", noted)
    edits = [ImageEdit(image=heic(tmp_path / "a.heic"), prompt=f"{number}", model=MODEL) for number in range(4)]
    async with editor.edit_many(edits) as outcomes:
        assert {outcome.status for outcome in await all_of(outcomes)} == {"done"}
    assert len(threads) == 4
    assert {thread.name for thread in threads} == {"asyncsdk-converting"}
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(tmp_path / "a.heic")


async def test_without_pillow_heif_it_is_refused_with_what_to_install(
    editor: ImageEditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = heic(tmp_path / "a.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InvalidEditError) as raised:
        await editor.edit(picture, "x", model=MODEL)
    assert str(raised.value) == (
        "image: a.heic is HEIC inside: pip install pillow-heif, or convert it to PNG, JPEG or WebP. Nothing was sent."
    )
    assert raised.value.reason == "HEIC"


@pytest.mark.parametrize("kept", [20, 100, 0.5, -1])
async def test_one_that_is_cut_off_is_refused_in_words_by_a_plan_too(
    editor: ImageEditor, tmp_path: Path, kept: float
) -> None:
    whole = heic(tmp_path / "a.heic").read_bytes()
    (tmp_path / "a.heic").write_bytes(whole[: int(len(whole) * kept) if kept == 0.5 else int(kept)])
    plan = await editor.plan([ImageEdit(image=tmp_path / "a.heic", prompt="x")])
    [outcome] = plan.problems
    assert outcome.problem is not None
    assert outcome.problem.message.startswith("image: a.heic can't be used: the HEIC is cut off or damaged (")
    assert outcome.problem.message.endswith("). Nothing was sent.")


async def test_one_that_is_cut_off_in_its_pixels_is_refused_by_a_plan_too(editor: ImageEditor, tmp_path: Path) -> None:
    whole = heic(tmp_path / "a.heic", (900, 900), noise=True).read_bytes()
    (tmp_path / "a.heic").write_bytes(whole[: len(whole) - 100_000])
    plan = await editor.plan([ImageEdit(image=tmp_path / "a.heic", prompt="x")])
    [outcome] = plan.problems
    assert outcome.problem is not None
    assert "the HEIC is cut off or damaged (a box of it ends after the file does)" in outcome.problem.message


async def test_a_decompression_bomb_is_refused_by_its_header(
    editor: ImageEditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(heic(tmp_path / "a.heic").read_bytes())
    start = content.index(b"ispe") + 8
    content[start : start + 8] = struct.pack(">II", 20_000, 10_000)  # where it is cropped, it is decoded before that
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InvalidEditError, match="HEIC of 200,000,000 pixels, and at most 100,000,000") as raised:
        await editor.edit(bytes(content), "x", model=MODEL, check=False)
    assert raised.value.reason == "too large"


async def test_what_fails_while_it_is_converted_is_refused_and_the_others_go_on(
    editor: ImageEditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bytes:
        raise RuntimeError("Decoder plugin generated an error:\n Unspecified")

    monkeypatch.setattr(conversion, "_convert", fails)
    edits = [
        ImageEdit(image=heic(tmp_path / "a.heic"), prompt="x", id="a"),
        ImageEdit(image=photo(tmp_path / "b.png", (16, 16)), prompt="x", id="b"),
    ]
    async with editor.edit_many(edits, out=tmp_path / "out") as outcomes:
        ended = {outcome.id: outcome for outcome in await all_of(outcomes)}
    assert {name: outcome.status for name, outcome in ended.items()} == {"a": "refused", "b": "done"}
    assert ended["a"].problem is not None
    assert "(Decoder plugin generated an error: Unspecified)" in ended["a"].problem.message


async def test_too_little_memory_is_no_fault_of_the_picture(
    editor: ImageEditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(conversion, "_convert", fails)
    async with editor.edit_many([ImageEdit(image=heic(tmp_path / "a.heic"), prompt="x")]) as outcomes:
        assert [outcome.status for outcome in await all_of(outcomes)] == ["failed"]


async def test_a_mask_must_fit_what_is_shown(editor: ImageEditor, tmp_path: Path) -> None:
    turned = heic(tmp_path / "a.heic", orientation=6)
    with pytest.raises(InvalidEditError, match=r"the mask mask\.png is 64x48, but a\.heic is 48x64") as raised:
        await editor.edit(turned, "x", mask=mask(tmp_path / "mask.png", (0, 0, 8, 8), (64, 48)), model=MODEL)
    assert raised.value.reason == "wrong mask"
