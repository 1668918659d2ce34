"""Pictures are read once, from wherever they are, with their true type; what can't be read is named."""

from __future__ import annotations

import errno
import gc
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiofiles
import pytest

from asyncsdk.api import ImageFile, ImageRef
from asyncsdk.errors import EditError, InvalidEditError
from asyncsdk.images.billing import problem_of, status_of
from asyncsdk.images.check import LARGEST
from asyncsdk.images.edit import ImageEdit, described
from asyncsdk.images.pictures import loaded
from tests.stories.pictures import photo, png


async def load(*images: Any, **fields: Any) -> Any:
    return await loaded(ImageEdit(image=images, prompt="x", **fields))


async def test_a_path_bytes_and_an_open_file_are_the_same_picture(tmp_path: Path) -> None:
    path = photo(tmp_path / "otter.png", (16, 16))
    with path.open("rb") as file:
        found = await load(path, str(path), path.read_bytes(), memoryview(path.read_bytes()), file)
        assert not file.closed
    assert {image.content for image in found.images} == {path.read_bytes()}
    assert [image.filename for image in found.images] == [
        "otter.png",
        "otter.png",
        "image.png",
        "image.png",
        "otter.png",
    ]
    assert {image.mime_type for image in found.images} == {"image/png"}


async def test_the_type_is_of_the_bytes_not_of_the_name(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", (16, 16)).rename(tmp_path / "a.png")
    found = await load(tmp_path / "a.png")
    assert found.images[0].mime_type == "image/jpeg"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("kind", ["path", "open file"])
async def test_what_may_be_read_later_is_not_the_fault_of_the_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: str
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(code, os.strerror(code))

    file = io.BytesIO()
    monkeypatch.setattr("asyncsdk.files._read", fail)
    monkeypatch.setattr("asyncsdk.images.pictures._read_on", fail)
    with pytest.raises(EditError, match=r"Nothing was sent\. The same call tries again") as caught:
        await load(tmp_path / "a.png" if kind == "path" else file)
    assert os.strerror(code) in str(caught.value)
    assert caught.value.resumable
    assert status_of(caught.value) == "failed"
    assert problem_of(caught.value).retryable
    assert isinstance(caught.value.__cause__, OSError)


async def test_what_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("text")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(LARGEST + 1)
    for name, why in {
        "missing.png": "does not exist", "empty.png": "empty", "text.png": "is not a PNG, JPEG or WebP picture",
        "pipe.png": "not a regular file", "large.png": f"{LARGEST + 1} bytes", ".": "[Dd]irectory",
    }.items():  # fmt: skip
        with pytest.raises(InvalidEditError, match=why) as caught:
            await load(tmp_path / name)
        assert "Nothing was sent" in str(caught.value)
    with pytest.raises(InvalidEditError, match="open as text"), (tmp_path / "text.png").open() as text:
        await load(text)
    with pytest.raises(InvalidEditError, match="neither a path"):
        await load(None)
    with pytest.raises(InvalidEditError, match="not JSON: set is not JSON"):
        await load(png(), extra={"x": {1}})
    with pytest.raises(InvalidEditError, match="larger than"):
        await load(bytes(LARGEST + 1))
    with pytest.raises(InvalidEditError, match="at least one"):
        await load()


@pytest.mark.parametrize("error", [EOFError("cut"), zlib.error("bad"), lzma.LZMAError(), zipfile.BadZipFile("CRC")])
async def test_whatever_the_read_of_an_open_file_raises_is_told_of_the_picture(error: Exception) -> None:
    class Broken(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            raise error

    with pytest.raises(InvalidEditError, match=r"can't be read: .+\. Nothing was sent") as caught:
        await load(Broken())
    assert caught.value.__cause__ is error


async def test_a_compressed_file_that_is_cut_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(png())[:-9])
    with gzip.open(tmp_path / "cut.gz") as file, pytest.raises(InvalidEditError, match="can't be read"):
        await load(file)


@pytest.mark.parametrize("wrap", [lambda inner: {"a": inner}, lambda inner: [inner]], ids=["mapping", "list"])
async def test_what_is_nested_too_deeply_is_refused_in_words(wrap: Callable[[Any], Any]) -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = wrap(deep)
    for extra in ({"a": deep}, {1: deep}, deep):
        with pytest.raises(InvalidEditError, match=r"Nothing was sent"):
            await load(png(), extra=extra)


async def test_an_open_file_at_its_end_is_empty() -> None:
    file = io.BytesIO(png())
    await load(file)
    with pytest.raises(InvalidEditError, match="at its end"):
        await load(file)


class Slow(io.RawIOBase):
    """Gives 1000 bytes at a time, as pipes, sockets and files of other machines do."""

    def __init__(self, content: bytes, kind: Callable[[bytes], object] = bytes) -> None:
        self.file, self.kind = io.BytesIO(content), kind

    def read(self, size: int = -1) -> Any:
        return self.kind(self.file.read(min(size, 1000)))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_a_file_that_gives_less_than_it_is_asked_for_is_read_to_its_end(kind: Callable[[bytes], object]) -> None:
    picture = png(size=(64, 64))
    found = await load(Slow(picture, kind), mask=Slow(picture, kind))
    assert found.images[0].content == found.mask.content == picture
    assert isinstance(found.images[0].content, bytes)


async def test_a_file_without_an_end_is_read_to_the_limit() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += min(size, 1 << 20)
            return bytes(min(size, 1 << 20))

    endless = Endless()
    with pytest.raises(InvalidEditError, match="larger than"):
        await load(endless)
    assert endless.given == LARGEST + 1


async def test_a_file_that_has_nothing_to_read_yet_is_refused_in_words() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, png()[:50])
    with (
        os.fdopen(writing, "wb"),
        os.fdopen(reading, "rb", buffering=0) as pipe,
        pytest.raises(InvalidEditError, match="without blocking and has nothing to read yet"),
    ):
        await load(pipe)


@pytest.mark.filterwarnings("error")
async def test_a_file_whose_reads_are_awaited_is_refused_in_words(tmp_path: Path) -> None:
    class UploadFile:
        async def read(self, _: int = -1) -> bytes:
            return b""

    path = photo(tmp_path / "otter.png", (16, 16))
    async with aiofiles.open(path, "rb") as file:
        for picture in (file, UploadFile()):
            with pytest.raises(InvalidEditError, match="has to be awaited; pass a path"):
                await load(picture)
    gc.collect()


async def test_files_and_references_do_not_mix() -> None:
    with pytest.raises(InvalidEditError, match="don't go together"):
        await load(png(), ImageRef(file_id="file-1"))
    with pytest.raises(InvalidEditError, match="don't go together"):
        await load(ImageRef(file_id="file-1"), mask=png())
    with pytest.raises(InvalidEditError, match="markup"):
        await load(ImageRef(file_id="file-1"), markup=ImageRef(file_id="file-2"))


async def test_references_go_as_json_and_files_as_a_form() -> None:
    found = await load(
        ImageRef(file_id="file-1"), ImageRef(image_url="https://x/y.png"), mask=ImageRef(file_id="m"), n=2
    )
    assert found.request().json == {
        "images": [{"file_id": "file-1"}, {"image_url": "https://x/y.png"}], "mask": {"file_id": "m"}, "prompt": "x",
        "n": 2,
    }  # fmt: skip
    assert (await load(png())).request().json is None


async def test_an_edit_is_the_same_by_its_fields_and_contents(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png", (16, 16))
    same = [
        await load(path, n=2), await load(path.read_bytes(), n=2, id="other"), await load(str(path), n=2, line=7),
    ]  # fmt: skip
    assert len({each.digest() for each in same}) == 1
    others = [
        await load(path), await load(path, path, n=2), await load(png(9), n=2), await load(path, n=2, mask=path),
        await load(path, n=2, extra={"x": 1}), await load(path, n=2, svg={"model": "m"}),
        await load(ImageRef(file_id="f"), n=2), await load(ImageRef(image_url="f"), n=2),
    ]  # fmt: skip
    assert len({each.digest() for each in [same[0], *others]}) == 1 + len(others)


def test_a_picture_is_shown_by_name_or_size_and_never_by_its_content() -> None:
    edit = ImageEdit(image=[b"secret", "a/b.png", ImageRef(image_url="data:secret"), ImageRef(file_id="f")], prompt="x")
    assert "secret" not in repr(edit)
    assert "6 bytes, b.png, an image_url, f" in repr(edit)
    assert described(io.BytesIO()) == "BytesIO"
    assert "secret" not in repr(ImageFile(content=b"secret", filename="a", mime_type="image/png"))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"extra": "abc"}, "extra='abc' is not a mapping"),
        ({"extra": {1: 2}}, "has a name that is not text"),
        ({"n": "2"}, "n='2' is not a whole number"),
        ({"n": True}, "n=True is not a whole number"),
        (
            {"n": 10**4500},
            "n is beyond 10,000, and 1 to 10 are taken: it is refused without checks, too. Nothing",
        ),
        ({"partial_images": -(10**30)}, "partial_images is beyond 10,000, and 0 to 3 are taken"),
        ({"id": 5}, "id=5 is not text"),
        ({"svg": 3}, "svg=3 is not a mapping"),
    ],
)
async def test_what_is_of_the_wrong_shape_is_refused_before_any_rule(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidEditError, match=why):
        await load(png(), **fields)


async def test_what_is_no_picture_and_no_prompt_is_named() -> None:
    with pytest.raises(InvalidEditError, match="image: it is None, neither a path"):
        await loaded(ImageEdit(image=None, prompt="x"))
    with pytest.raises(InvalidEditError, match="prompt=None is not text"):
        await loaded(ImageEdit(image=png(), prompt=None))  # type: ignore[arg-type]  # as above
