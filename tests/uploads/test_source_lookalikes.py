"""What only looks like a file is uploaded whole, or refused in words that say what to pass."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import mmap
import tarfile
import warnings
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiofiles
import pytest

from asyncsdk import AsyncUploader, Client, SourceError
from asyncsdk.server import LocalServer
from asyncsdk.uploads.sources import readers
from tests.uploads.upload_helpers import CONTENT


class Remote:
    """As a client of SFTP gives it: `seek` returns nothing."""

    def __init__(self) -> None:
        self._file = io.BytesIO(CONTENT)
        self.tell, self.read = self._file.tell, self._file.read

    def seek(self, offset: int, whence: int = 0) -> None:
        self._file.seek(offset, whence)


def mapped(folder: Path) -> Any:
    path = folder / "a.bin"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def zipped(_: Path) -> Any:
    with zipfile.ZipFile(packed := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/train.jsonl", CONTENT)
    return zipfile.ZipFile(packed).open("data/train.jsonl")


def tarred(folder: Path) -> Any:
    (folder / "train.jsonl").write_bytes(CONTENT)
    with tarfile.open(fileobj=(packed := io.BytesIO()), mode="w:gz") as archive:
        archive.add(folder / "train.jsonl", "train.jsonl")
    packed.seek(0)
    return tarfile.open(fileobj=packed).extractfile("train.jsonl")


def compressed(module: Any, suffix: str) -> Callable[[Path], Any]:
    def opened(folder: Path) -> Any:
        path = folder / f"train.jsonl{suffix}"
        with module.open(path, "wb") as file:
            file.write(CONTENT)
        return module.open(path)

    return opened


INFLATED: dict[str, Callable[[Path], Any]] = {
    "gzip": compressed(gzip, ".gz"),
    "gzip, buffered": lambda folder: io.BufferedReader(compressed(gzip, ".gz")(folder)),
    "bz2": compressed(bz2, ".bz2"),
    "xz": compressed(lzma, ".xz"),
    "a member of a zip": zipped,
    "a member of a packed tar": tarred,
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server") as running:
        yield running


async def upload(server: LocalServer, file: Any) -> str | None:
    async with AsyncExitStack() as stack:
        if hasattr(file, "close"):
            stack.callback(file.close)
        client = await stack.enter_async_context(Client("sk-test", base_url=server.url))
        result = await AsyncUploader(client, journal="memory").upload(file, purpose="assistants")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    return result.file.filename


@pytest.mark.parametrize("opened", [lambda _: Remote(), mapped], ids=["seek returns None", "mmap"])
async def test_where_seek_tells_nothing_tell_does(
    server: LocalServer, tmp_path: Path, opened: Callable[[Path], Any]
) -> None:
    assert await upload(server, opened(tmp_path)) == "upload"


@pytest.mark.parametrize("kind", INFLATED)
async def test_what_is_inflated_is_read_once_in_order(
    server: LocalServer, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers.FileSource, "over", lambda _: pytest.fail("would be read at offsets"))
    assert await upload(server, INFLATED[kind](tmp_path)) in {"train.jsonl", "upload"}  # not each gives a name


@pytest.mark.parametrize("kind", ["gzip", "a member of a zip"])
async def test_the_content_of_a_packed_file_is_not_named_as_that(
    server: LocalServer, tmp_path: Path, kind: str
) -> None:
    assert await upload(server, INFLATED[kind](tmp_path)) == "train.jsonl"


async def test_what_is_large_and_inflated_is_refused_with_what_to_do(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MOST_INFLATED", len(CONTENT) - 1)
    with pytest.raises(SourceError, match="Write its content to a file and pass that path"):
        await upload(server, INFLATED["gzip"](tmp_path))
    assert server.requests == []


async def test_a_broken_gzip_is_refused(server: LocalServer) -> None:
    with pytest.raises(SourceError, match="can't be read"):
        await upload(server, gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(CONTENT)[:100])))


async def test_a_file_of_aiofiles_is_taken_with_its_name_and_no_warning(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(CONTENT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with aiofiles.open(tmp_path / "a.jsonl", "rb") as file, Client("k", base_url=server.url) as client:
            result = await AsyncUploader(client, journal="memory").upload(file, purpose="assistants")
    assert (result.file.filename, server.stored(result.file.id).read_bytes()) == ("a.jsonl", CONTENT)
