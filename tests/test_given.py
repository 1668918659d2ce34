"""What other libraries hand over is taken as it is, or refused with what to write; the type checker agrees."""

from __future__ import annotations

import asyncio
import io
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from attrs import evolve
from PIL import Image

from asyncsdk import (
    AsyncUploader,
    Client,
    File,
    ImageEdit,
    ImageEditor,
    ImageRef,
    InvalidEditError,
    SourceError,
    UploadError,
    UploadJob,
)
from asyncsdk.images.edit import Picture, described
from asyncsdk.images.pictures import loaded, read_picture
from asyncsdk.server import LocalServer
from asyncsdk.uploads.sources.source import Given
from tests.jsonl import json_lines
from tests.waiting import until

CONTENT = json_lines(900)


class UploadFile:
    """As FastAPI and Starlette have it: the methods are async, and `file` is a SpooledTemporaryFile."""

    def __init__(self, content: bytes, filename: str | None, *, spooled: bool = True) -> None:
        self.file: BinaryIO = tempfile.SpooledTemporaryFile(max_size=2**20 if spooled else 1)  # type: ignore[assignment]  # noqa: SIM115 - as it is declared there
        self.file.write(content)
        self.file.seek(0)
        self.filename = filename
        self.content_type = "application/octet-stream"

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    async def seek(self, offset: int) -> None:
        self.file.seek(offset)

    async def close(self) -> None:
        self.file.close()


class AsyncOnly:
    """As aiofiles has it."""

    name = "/data/train.jsonl"

    async def read(self, _: int = -1) -> bytes:
        return CONTENT


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


async def uploaded(server: LocalServer, source: Given, **options: Any) -> File:
    async with Client("sk-test", base_url=server.url) as client:
        result = await AsyncUploader(client, journal="memory").upload(source, purpose="batch", **options)
    assert server.stored(result.file.id).read_bytes() == CONTENT
    return result.file


@pytest.mark.parametrize("spooled", [True, False], ids=["in memory", "on disk"])
async def test_an_upload_file_of_a_web_framework_is_taken_with_its_name(server: LocalServer, *, spooled: bool) -> None:
    given = UploadFile(CONTENT, "train.jsonl", spooled=spooled)
    assert (await uploaded(server, given)).filename == "train.jsonl"
    assert (await uploaded(server, given, filename="b.jsonl")).filename == "b.jsonl"  # from its first byte again
    assert UploadJob(given, "batch").describe() == "train.jsonl"
    await given.close()
    nameless = UploadFile(CONTENT, None)
    assert (await uploaded(server, nameless)).filename == "upload"
    await nameless.close()


async def test_a_spooled_temporary_file_is_taken(server: LocalServer) -> None:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(CONTENT)
        assert (await uploaded(server, file)).filename == "upload"


async def test_tuples_are_taken_as_openai_python_takes_them(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "on-disk.jsonl"
    path.write_bytes(CONTENT)
    form_file = UploadFile(CONTENT, "theirs.jsonl")
    with path.open("rb") as file:
        sources: list[Given] = [
            ("a.jsonl", CONTENT),
            ("a.jsonl", bytearray(CONTENT), "text/plain"),
            ("a.jsonl", io.BytesIO(CONTENT)),
            ("a.jsonl", file, None),
            ("a.jsonl", path),
            ("a.jsonl", form_file),
        ]
        for source in sources:
            assert (await uploaded(server, source)).filename == "a.jsonl"
            assert UploadJob(source, "batch").describe() == "a.jsonl"
    assert [upload.mime_type for upload in server.uploads].count("text/plain") == 1
    assert (await uploaded(server, (None, form_file))).filename == "theirs.jsonl"
    await form_file.close()
    assert (await uploaded(server, (None, path))).filename == "on-disk.jsonl"
    assert (await uploaded(server, ("a", CONTENT, "x/y"), filename="b", mime_type="text/csv")).filename == "b"
    assert server.uploads[-1].mime_type == "text/csv"


@pytest.mark.parametrize("name", ["a.jsonl", None])
@pytest.mark.parametrize("rest", [(), ("text/plain",), (None,)], ids=["pair", "with type", "with None"])
async def test_a_str_in_a_tuple_is_never_taken_for_the_path_of_a_local_file(
    server: LocalServer, tmp_path: Path, name: str | None, rest: tuple[str | None, ...]
) -> None:
    """To openai-python it is the content: in a service that would be what somebody typed."""
    secret, picture = tmp_path / "secret.jsonl", tmp_path / "secret.png"
    secret.write_bytes(CONTENT)
    picture.write_bytes(png())
    wanted = r"openai-python.* Pass text\.encode\(\) for text, pathlib\.Path\(\.\.\.\) for a file, and a URL on its own"
    source: Any = (name, str(secret), *rest)
    with pytest.raises(SourceError, match=wanted) as refused:
        await uploaded(server, source)
    assert str(secret) not in str(refused.value) + repr(UploadJob(source, "batch"))
    as_picture: Any = (name, str(picture), *rest)
    async with Client("sk-test", base_url=server.url) as client:
        editor = ImageEditor(client)
        for image, options in (([as_picture], {}), (png(), {"mask": as_picture}), (png(), {"markup": as_picture})):
            with pytest.raises(InvalidEditError, match=wanted):
                await editor.edit(image, "p", **options)
    assert not server.calls


async def test_a_path_in_a_tuple_resumes_by_that_path(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "on-disk.jsonl"
    path.write_bytes(CONTENT)
    async with Client("sk-test", base_url=server.url) as client:
        uploader = AsyncUploader(client, journal=tmp_path / "journal")
        results = [await uploader.upload(("a.jsonl", path), purpose="batch") for _ in range(2)]
    assert [result.reused for result in results] == [False, True]


@pytest.mark.parametrize(
    ("source", "instead"),
    [
        (Image.new("RGB", (2, 2)), r"`picture\.save\(buffer, 'PNG'\)`, and pass \('picture\.png', buffer\)"),
        (("a.jsonl", CONTENT, "text/plain", {"X": "y"}), r"4 items .* Pass \('train\.jsonl', content\) or"),
        ((CONTENT, "a.jsonl"), r"Pass \('train\.jsonl', content\) or"),
        (
            None,
            r"^the source is None\. Give a path, bytes, a seekable binary file, or a stream: .* Nothing was sent\.$",
        ),
        (["a.jsonl", "b.jsonl"], r"list is not one file\. Several are uploaded by `upload_many`, each as an UploadJob"),
        (
            (line for line in (b"a", b"b")),
            r"generator is not an async iterator, and would hold up the event loop\. Pass an async one",
        ),
        (
            io.StringIO("text"),
            r"^the given StringIO reads text, not bytes: open it with 'rb', or pass text\.encode\(\)\. N",
        ),
        ("data:text/plain,abc", "^data:… is a URL of a kind that is not read"),
    ],
)
async def test_what_is_not_uploaded_is_refused_with_what_to_pass(
    server: LocalServer, source: Any, instead: str
) -> None:
    with pytest.raises(SourceError, match=instead):
        await uploaded(server, source)
    assert not server.calls


CLOSED = "is closed: FastAPI closes an UploadFile when its request ends; use it before, or keep its bytes. Nothing was"


async def test_a_closed_file_is_refused_with_what_to_do(server: LocalServer, tmp_path: Path) -> None:
    form_file, path = UploadFile(png(), "p.png"), tmp_path / "q.png"
    await form_file.close()
    path.write_bytes(png())
    with path.open("rb") as file:
        pass
    async with Client("sk-test", base_url=server.url) as client:
        uploader, editor = AsyncUploader(client, journal="memory"), ImageEditor(client)
        closed: list[tuple[Any, str]] = [
            (form_file, "p.png"),
            (("r.png", form_file), "r.png"),
            (file, "q.png"),
        ]
        for given, name in closed:
            with pytest.raises(SourceError, match=f"^{name} {CLOSED}"):
                await uploader.upload(given, purpose="batch")
            with pytest.raises(InvalidEditError, match=f"^image: {name} {CLOSED}"):
                await editor.edit(given, "p")
    assert not server.calls


async def test_a_file_that_is_closed_while_it_is_uploaded_is_an_error_that_says_so(server: LocalServer) -> None:
    form_file = UploadFile(b"a" * 2**20 * 4, "p.bin")
    # closed with the answer to the first request, before any part goes out
    async with Client("sk-test", base_url=server.url, on_event=lambda _: form_file.file.close()) as client:
        uploader = AsyncUploader(client, journal="memory", part_size=2**19)
        with pytest.raises(UploadError, match=r"p\.bin can't be read any more: it was closed \(FastAPI closes"):
            await uploader.upload(form_file, purpose="batch")


async def test_a_text_file_is_refused_with_how_to_open_it(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    async with Client("sk-test", base_url=server.url) as client:
        with path.open(encoding="utf-8") as opened:
            file: Any = opened
            with pytest.raises(SourceError, match=r"^the given TextIOWrapper reads text, not bytes: open it with 'rb'"):
                await AsyncUploader(client, journal="memory").upload(file, purpose="batch")
            with pytest.raises(InvalidEditError, match=r"a\.png can't be read: it is open as text; open it with 'rb'"):
                await ImageEditor(client).edit(file, "p")


def png(size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    Image.new(mode, size).save(encoded := io.BytesIO(), "PNG")
    return encoded.getvalue()


async def test_pictures_come_in_the_same_forms_and_as_pillow_images(server: LocalServer) -> None:
    picture, transparent = Image.new("RGB", (16, 16), "red"), Image.new("RGBA", (16, 16))
    one, another = UploadFile(png(), "otter.png"), UploadFile(png(), "b.png")
    images: list[Picture | list[Picture]] = [
        one,
        ("otter.png", png()),
        ("otter.png", io.BytesIO(png()), "image/png"),
        picture,
        ("otter.png", picture),
        [("a.png", png()), picture, another],
    ]
    async with Client("sk-test", base_url=server.url) as client:
        editor = ImageEditor(client)
        for image in images:
            assert (await editor.edit(image, "p", mask=transparent)).images
        assert (await editor.edit(picture, "p", mask=("mask.png", transparent))).images
        edits = [ImageEdit(image=picture, prompt="p", mask=transparent, id=str(number)) for number in range(2)]
        async with editor.edit_many(edits) as outcomes:
            assert [outcome.status async for outcome in outcomes] == ["done", "done"]
    await one.close()
    await another.close()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "I", "F"])
async def test_a_pillow_image_of_any_mode_is_sent_as_a_png_of_its_size(mode: str) -> None:
    loaded = await read_picture(Image.new(mode, (5, 7)), "image")
    assert not isinstance(loaded, ImageRef)
    assert (loaded.filename, loaded.mime_type) == ("image.png", "image/png")
    with Image.open(io.BytesIO(loaded.content)) as sent:
        assert sent.size == (5, 7)


async def test_a_pillow_image_is_known_by_its_pixels_and_not_by_what_an_encoder_makes_of_them() -> None:
    async def digest(picture: Image.Image) -> str:
        return (await loaded(ImageEdit(image=picture, prompt="x"))).digest()

    pixels = Image.linear_gradient("L")
    palette = pixels.convert("P")
    other = palette.copy()
    other.putpalette([0, 0, 255] * 256)
    with pytest.MonkeyPatch.context() as patch:
        first = await digest(pixels)
        plain = Image.Image.save
        patch.setattr(Image.Image, "save", lambda self, to, kind: plain(self, to, kind, compress_level=0))
        assert await digest(pixels.copy()) == first
    assert len({first, await digest(pixels.rotate(90)), await digest(palette), await digest(other)}) == 4


async def test_a_pillow_image_that_was_opened_keeps_its_name(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.jpg")
    with Image.open(tmp_path / "photo.jpg") as opened:
        loaded = await read_picture(opened, "image")
    assert not isinstance(loaded, ImageRef)
    assert loaded.filename == "photo.png"


async def test_the_loop_runs_on_while_a_picture_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    began, runs_on, save = threading.Event(), threading.Event(), Image.Image.save

    def slowly(picture: Image.Image, to: Any, kind: str) -> None:
        began.set()
        assert runs_on.wait(20), "the loop stands still meanwhile"
        save(picture, to, kind)

    monkeypatch.setattr(Image.Image, "save", slowly)
    reading = asyncio.ensure_future(read_picture(Image.new("RGB", (4, 4)), "image"))
    await until(began.is_set)
    runs_on.set()
    assert not isinstance(await reading, ImageRef)


def test_a_tuple_with_a_name_is_one_picture_and_a_list_is_several() -> None:
    content = png()
    assert len(ImageEdit(image=("a.png", content), prompt="p").image) == 1
    assert len(ImageEdit(image=("a.png", "b.png"), prompt="p").image) == 2
    assert len(ImageEdit(image=(Path("a.png"), content), prompt="p").image) == 2
    several = ImageEdit(image=["a.png", content], prompt="p")
    assert len(several.image) == 2
    assert evolve(several, prompt="q").image == ("a.png", content)


def test_a_picture_is_described_without_its_content() -> None:
    assert described(Image.new("RGB", (4, 7))) == "a Pillow image of 4x7"
    assert described(("folder/a.png", b"secret")) == "a.png"
    assert "secret" not in repr(ImageEdit(image=("a.png", b"secret"), prompt="p"))
    assert "secret" not in repr(UploadJob(("a.jsonl", b"secret"), "batch"))


@pytest.mark.parametrize(
    ("picture", "instead"),
    [
        (AsyncOnly(), "has to be awaited; pass a path"),
        ([(b"content", "a.png")], r"nor a tuple \(name, one of these\)"),
        (None, "image: it is None, neither a path nor bytes"),
        ("ftp://host/a.png?sig=x", r"image: ftp://host/a\.png can't be used: the scheme ftp:// is not known"),
        ("data:image/png;base64,AAAA", r"image: data:… is a picture as text: pass its bytes, or ImageRef\(image_url="),
        (("a.png", b"text"), "a.png is not a PNG, JPEG or WebP picture"),
    ],
)
async def test_what_is_not_a_picture_is_refused_with_what_to_pass(
    server: LocalServer, picture: Any, instead: str
) -> None:
    async with Client("sk-test", base_url=server.url) as client:
        with pytest.raises(InvalidEditError, match=instead):
            await ImageEditor(client).edit(picture, "p")
    assert not server.calls
