"""What can be uploaded: a path, bytes in memory, a caller's file; what can't is refused before anything is sent."""

from __future__ import annotations

import array
import asyncio
import io
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.errors import SourceError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import LARGEST_FILE
from asyncsdk.uploads.sources.readers import Identity
from asyncsdk.uploads.sources.source import Given, fill, open_source
from tests.uploads.upload_helpers import CONTENT, closing, content_of, descriptors_of


class ThreeAtATime(io.BytesIO):
    """A file that never reads more than three bytes, as raw ones may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(3, size or 0))


async def test_a_path_reads_at_any_offset(path: Path, threads: DaemonThreadPool) -> None:
    with closing(await open_source(str(path), threads)) as source:
        assert await content_of(source, threads) == CONTENT
        seen = path.stat()
        assert source.identity == Identity(len(CONTENT), seen.st_mtime_ns, seen.st_ino, seen.st_ctime_ns)
        assert source.look_again() == source.identity


async def test_a_path_goes_by_the_name_it_was_given_and_is_found_at_its_real_place(
    path: Path, tmp_path: Path, threads: DaemonThreadPool
) -> None:
    link = tmp_path / "alias.jsonl"
    link.symlink_to(path)
    with closing(await open_source(link, threads)) as source:
        assert (source.name, source.place) == ("alias.jsonl", os.path.realpath(path))


@pytest.mark.parametrize(
    ("given", "content"),
    [
        (b"some bytes", b"some bytes"),
        (bytearray(b"some bytes"), b"some bytes"),
        (memoryview(b"some bytes")[5:], b"bytes"),
        (memoryview(array.array("H", [1, 2])), array.array("H", [1, 2]).tobytes()),
    ],
)
async def test_bytes_in_memory_are_read_as_they_are(given: Given, content: bytes, threads: DaemonThreadPool) -> None:
    with closing(await open_source(given, threads)) as source:
        assert await content_of(source, threads) == content
        assert (source.name, source.place) == ("upload", None)
        assert source.identity == source.look_again() == Identity(len(content))


def opened_at_its_end(path: Path) -> io.BufferedReader:
    file = path.open("rb")
    file.seek(0, os.SEEK_END)
    return file


def three_at_a_time(_: Path) -> ThreeAtATime:
    return ThreeAtATime(CONTENT[:999])


@pytest.mark.parametrize("open_file", [opened_at_its_end, partial(Path.open, mode="rb", buffering=0), three_at_a_time])
async def test_a_file_is_read_from_its_first_byte_to_its_last_and_left_open(
    open_file: Callable[[Path], Any], path: Path, threads: DaemonThreadPool
) -> None:
    with open_file(path) as file:
        with closing(await open_source(file, threads)) as source:
            assert await content_of(source, threads) == CONTENT[: source.identity.size]
            assert source.place is None
            assert source.look_again() == source.identity
        assert not file.closed


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda path: path.open("rb"), "data.bin"),
        (lambda _: io.BytesIO(b"x"), "upload"),
        (lambda _: tempfile.TemporaryFile(), "upload"),  # noqa: SIM115 - the test enters it
    ],
)
async def test_a_file_goes_by_its_own_name_where_it_has_one(
    make: Callable[[Path], Any], name: str, path: Path, threads: DaemonThreadPool
) -> None:
    with make(path) as file:
        file.seek(0, os.SEEK_END)
        if not file.tell():
            file.write(b"x")
        with closing(await open_source(file, threads)) as source:
            assert source.name == name


class SlowToSeek(io.BytesIO):
    """A file in which other threads have time to seek between a seek and its read."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        reached = super().seek(offset, whence)
        time.sleep(0.0005)
        return reached


async def test_several_threads_may_read_one_file_at_once(threads: DaemonThreadPool) -> None:
    with closing(await open_source(SlowToSeek(CONTENT), threads)) as source:
        blocks = [memoryview(bytearray(1000)) for _ in range(50)]
        await asyncio.gather(*(fill(source, threads, 1000 * n, block) for n, block in enumerate(blocks)))
    assert b"".join(blocks) == CONTENT[:50_000]


# what can't be uploaded


def make_missing(folder: Path) -> Path:
    return folder / "missing.bin"


def make_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def make_empty(folder: Path) -> Path:
    (folder / "empty.bin").touch()
    return folder / "empty.bin"


def make_too_large(folder: Path) -> Path:
    with (folder / "large.bin").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)  # sparse
    return folder / "large.bin"


def make_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


def make_socket(folder: Path) -> Path:
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(folder / "socket"))
    return folder / "socket"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (make_missing, "No such file"),
        (make_fifo, r"is a pipe, not a regular file\. Nothing was sent\."),
        (
            lambda folder: folder,
            r"is a directory, not a regular file\. To send the files in it, give each to upload_many\. Nothing",
        ),
        (lambda _: "/dev/full", "is a device, not a regular file"),
        (make_socket, "No such device"),
        (make_empty, "is empty"),
        (make_too_large, "at most 8 GiB"),
        (make_loop, "symbolic links"),
        (lambda folder: f"{folder}/a\0b", "null (byte|character)"),
    ],
)
async def test_what_is_no_regular_file_of_1_byte_to_8_gib_is_refused_and_left_closed(
    make: Callable[[Path], Path | str], why: str, tmp_path: Path, threads: DaemonThreadPool
) -> None:
    place = make(tmp_path)
    with pytest.raises(SourceError, match=why) as caught:
        await open_source(place, threads)
    assert "Nothing was sent" in str(caught.value)
    assert not descriptors_of(Path(str(place).replace("\0", "")))


async def test_the_largest_file_of_all_is_taken(tmp_path: Path, threads: DaemonThreadPool) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE)
    with closing(await open_source(path, threads)) as source:
        end = memoryview(bytearray(b"x" * 10))
        await fill(source, threads, LARGEST_FILE - 10, end)
    assert end == bytes(10)


async def test_a_file_that_we_may_not_read_is_refused(path: Path, threads: DaemonThreadPool) -> None:
    path.chmod(0)
    with (
        as_an_ordinary_user(),
        pytest.raises(SourceError, match=r"can't read .*bin: Permission denied") as caught,
    ):
        await open_source(path, threads)
    assert isinstance(caught.value.__cause__, PermissionError)


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (b"", "is empty"),
        (bytearray(), "is empty"),
        (memoryview(b"abcdef")[::2], "not contiguous bytes"),
        (io.BytesIO(), "is empty"),
        (io.StringIO("text"), "StringIO reads text, not bytes"),
        (17, "the given int is not a file or a stream"),
        (None, "the source is None"),
    ],
)
async def test_objects_that_hold_no_bytes_are_refused(given: Any, why: str, threads: DaemonThreadPool) -> None:
    with pytest.raises(SourceError, match=why) as caught:
        await open_source(given, threads)
    assert "Nothing was sent" in str(caught.value)


@pytest.mark.parametrize(("mode", "why"), [("r", "TextIOWrapper reads text"), ("ab", "BufferedWriter can't be read")])
async def test_files_opened_as_text_or_to_write_are_refused(
    mode: str, why: str, path: Path, threads: DaemonThreadPool
) -> None:
    with path.open(mode) as file, pytest.raises(SourceError, match=why):
        await open_source(file, threads)


async def test_a_closed_file_is_refused(path: Path, threads: DaemonThreadPool) -> None:
    with path.open("rb") as file:
        pass
    with pytest.raises(SourceError, match=r"^data\.bin is closed: FastAPI closes an UploadFile when") as caught:
        await open_source(file, threads)
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_pipe_that_can_not_seek_is_refused(threads: DaemonThreadPool) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as file, open(writer, "wb"), pytest.raises(SourceError, match="seek"):  # noqa: PTH123 - descriptors
        await open_source(file, threads)
