"""A file is saved whole or not at all, whatever ends it."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import files
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.wal import disk
from tests.faults.leaving import cancelled_at_once, open_files


async def chunks(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


async def test_it_is_saved_whole_and_its_folder_made(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "it.bin"
    assert await files.stream_to(target, chunks(b"one", b"", b"two")) == 6
    assert target.read_bytes() == b"onetwo"
    assert list(target.parent.iterdir()) == [target]


async def test_nothing_is_a_file_too(tmp_path: Path) -> None:
    assert await files.stream_to(str(tmp_path / "empty"), chunks()) == 0
    assert (tmp_path / "empty").read_bytes() == b""


async def test_an_older_file_is_replaced_at_the_very_end(tmp_path: Path) -> None:
    target = tmp_path / "it"
    target.write_bytes(b"old")

    async def watched() -> AsyncIterator[bytes]:
        yield b"new"
        assert target.read_bytes() == b"old"

    await files.stream_to(target, watched())
    assert target.read_bytes() == b"new"


async def test_a_source_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "it"
    target.write_bytes(b"old")
    with pytest.raises(ConnectionError, match="cut"):
        await files.stream_to(target, chunks(b"new", ConnectionError("cut")))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


async def test_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        await files.stream_to(tmp_path / "it", chunks(b"new"))
    assert list(tmp_path.iterdir()) == []


async def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    await files.stream_to(target, chunks(b"new"))
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("at", ["append", "keep"])
async def test_a_cancelled_save_can_not_come_back(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    usual = files.Draft._opened  # noqa: SLF001 - the one step that both jobs have

    def slow(draft: files.Draft) -> object:
        if at == "append" or draft.path.exists():
            began.set()
            go_on.wait(5)
        return usual(draft)

    monkeypatch.setattr(files.Draft, "_opened", slow)
    task = asyncio.create_task(files.stream_to(tmp_path / "it", chunks(b"new")))
    while not began.is_set():
        await asyncio.sleep(0.001)
    await cancelled_at_once(task)
    go_on.set()
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.05)
    async with asyncio.timeout(10):  # its thread may have to wait for the machine
        while (left := list(tmp_path.iterdir())) not in ([], [tmp_path / "it"]):
            await asyncio.sleep(0.01)
    assert all(path.read_bytes() == b"new" for path in left)


def test_a_dropped_draft_takes_nothing_more(tmp_path: Path) -> None:
    draft = files.Draft(tmp_path / "it")
    draft.append(b"new")
    draft.drop()
    for job in (lambda: draft.append(b"more"), draft.keep):
        with pytest.raises(FileNotFoundError, match="was dropped"):
            job()
    assert list(tmp_path.iterdir()) == []


async def test_what_is_saved_is_there_whole_and_nothing_else(tmp_path: Path) -> None:
    await files.save(tmp_path / "new" / "a.png", b"picture")
    assert (tmp_path / "new" / "a.png").read_bytes() == b"picture"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
async def test_a_file_that_is_there_is_overwritten_only_when_asked(
    tmp_path: Path, *, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links on this file system")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "a.png"
    await files.save(target, b"first", overwrite=False)
    with pytest.raises(FileExistsError):
        await files.save(target, b"second", overwrite=False)
    assert target.read_bytes() == b"first"
    await files.save(target, b"third")
    assert target.read_bytes() == b"third"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


async def test_a_file_is_moved_into_a_directory_that_is_made_for_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"picture")
    await files.move(tmp_path / "a.png", tmp_path / "replaced" / "b.png")
    assert await files.existing([tmp_path / "a.png", tmp_path / "replaced" / "b.png"]) == [
        tmp_path / "replaced" / "b.png"
    ]


@pytest.mark.parametrize("kind", ["directory", "pipe", "too large"])
async def test_what_is_not_read_is_not_kept_open(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"123456")
    for _ in range(5):
        with pytest.raises(OSError, match=r"directory|regular file|6 bytes, of which at most 5"):
            await files.read(path, limit=5)
    assert open_files(path) == []


async def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"12345")
    assert await files.read(tmp_path / "it", limit=5) == b"12345"


async def test_what_is_private_is_so_from_its_first_byte(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        [draft] = tmp_path.glob(".asyncsdk-*")
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        yield b"b"

    await files.stream_to(tmp_path / "saved", chunks(), mode=files.PRIVATE)
    assert stat.S_IMODE((tmp_path / "saved").stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
@pytest.mark.parametrize("through_link", [False, True])
async def test_no_file_is_put_in_the_place_of_a_device_or_a_pipe(tmp_path: Path, *, through_link: bool) -> None:
    pipe = target = tmp_path / "pipe"
    os.mkfifo(pipe)
    if through_link:
        target = tmp_path / "link"
        target.symlink_to(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        await files.save(target, b"x")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", target.name}


async def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    await files.save(tmp_path / "link", b"new")
    assert (tmp_path / "precious").read_bytes() == b"old"
    assert not (tmp_path / "link").is_symlink()


def test_drafts_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".asyncsdk-1").touch()
    (tmp_path / "a.png").touch()
    files.clear_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# Nothing that fails once a file has its name means that it is not saved


def failing(real: Callable[..., Any], code: int, times: int = 999) -> Callable[..., Any]:
    left = [times]

    def call(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    return call


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EBADF])
async def test_a_file_system_that_syncs_no_directories_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "fsync", failing(os.fsync, code))
    assert await files.save(tmp_path / "it", b"picture") is None
    assert await files.stream_to(tmp_path / "other", chunks(b"new")) == 3


async def test_a_name_that_may_not_survive_a_power_cut_is_told_and_the_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "fsync", failing(os.fsync, errno.EIO))
    doubt = await files.save(tmp_path / "it", b"picture", overwrite=False)
    assert doubt is not None
    assert doubt.errno == errno.EIO
    assert "is saved, and its name may not survive a power cut" in caplog.text
    assert await files.stream_to(tmp_path / "other", chunks(b"new")) == 3
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"it": b"picture", "other": b"new"}


async def test_a_draft_that_can_not_be_removed_any_more_has_been_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "drafts").mkdir(0o700)
    monkeypatch.setattr(os, "unlink", failing(os.unlink, errno.EIO))
    await files.save(tmp_path / "it", b"picture", overwrite=False, drafts=tmp_path / "drafts")
    assert (tmp_path / "it").read_bytes() == b"picture"
    monkeypatch.undo()
    files.clear_drafts(tmp_path / "drafts")
    assert list((tmp_path / "drafts").iterdir()) == []


# What passes is waited for


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.ENOSPC])
@pytest.mark.parametrize("call", ["open", "write", "link", "fsync"])
async def test_what_passes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int) -> None:
    monkeypatch.setattr(os, call, failing(getattr(os, call), code, times=3))
    assert await files.save(tmp_path / "it", b"picture", overwrite=False) is None
    assert (tmp_path / "it").read_bytes() == b"picture"
    assert len(list(tmp_path.iterdir())) == 1


async def test_a_system_that_gives_no_thread_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        left.pop()
        if not left:
            monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    left = [1, 2, 3]
    monkeypatch.setattr(files, "_SAVING", DaemonThreadPool("new", 2, cancellable=False))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert await files.save(tmp_path / "it", b"picture") is None
    assert (tmp_path / "it").read_bytes() == b"picture"
    assert not left


@pytest.mark.usefixtures("impatient")
async def test_what_does_not_pass_is_told_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", failing(os.open, errno.EMFILE))
    before = time.monotonic()
    with pytest.raises(OSError, match="Too many open files"):
        await files.save(tmp_path / "it", b"picture")
    assert 0.2 <= time.monotonic() - before < 5


async def test_what_does_not_pass_by_its_nature_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.files.anyio.sleep", lambda _: pytest.fail("waited"))
    monkeypatch.setattr(os, "open", failing(os.open, errno.EROFS))
    with pytest.raises(OSError, match="Read-only"):
        await files.save(tmp_path / "it", b"picture")


# What is gone is not made again, and no link is followed


async def test_below_a_directory_that_is_gone_nothing_is_made(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for job in (
        lambda: files.save(out / "sub" / "it", b"picture", below=out),
        lambda: files.stream_to(out / "it", chunks(b"new"), below=out),
        lambda: files.move(tmp_path / "it", out / "sub" / "it", below=out),
    ):
        with pytest.raises(FileNotFoundError):
            await job()
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    await files.save(out / "sub" / "it", b"picture", below=out)
    assert (out / "sub" / "it").read_bytes() == b"picture"


async def test_drafts_are_not_written_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "drafts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        await files.save(tmp_path / "it", b"picture", drafts=tmp_path / "drafts")
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_reads_that_hang_keep_nothing_from_being_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    stuck = [asyncio.ensure_future(files.in_thread(go_on.wait)) for _ in range(40)]
    try:
        async with asyncio.timeout(5):
            await files.save(tmp_path / "it", b"picture")
    finally:
        go_on.set()
        await asyncio.gather(*stuck)


@pytest.mark.parametrize("folder", ["out", "out/sub/deeper"])
async def test_nor_where_it_goes_at_that_very_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    out, look = tmp_path / "out", Path.is_dir

    def gone_after_the_look(path: Path) -> bool:
        is_there = look(path)
        if path == out and is_there:
            out.rename(tmp_path / "moved")
        return is_there

    out.mkdir()
    monkeypatch.setattr(Path, "is_dir", gone_after_the_look)
    with pytest.raises(FileNotFoundError):
        await files.save(tmp_path / folder / "it", b"picture", below=out)
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]
