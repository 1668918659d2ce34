"""The journal's disk fails: at every step once, or from then on; full, read-only. The same call goes on afterwards."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from asyncsdk import AsyncUploader, Client, JournalError, UploadResult
from asyncsdk.server import LocalServer
from tests.faults.support import MIB, make_file, remembered

CALLS = ("mkdir", "open", "write", "fdatasync", "fsync", "replace", "unlink")
FOR_GOOD = 1_000_000


@define(eq=False)
class FailingDisk:
    """Lets the journal's `first`-th call to the disk fail, and those behind it, `times` in all."""

    first: int
    times: int
    code: int
    calls: int = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        real = {name: getattr(os, name) for name in CALLS}
        for name, call in real.items():
            setattr(os, name, self._failing(call))
        try:
            yield
        finally:
            for name, call in real.items():
                setattr(os, name, call)

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread().name == "asyncsdk-journal":
                self.calls += 1
                if self.first <= self.calls < self.first + self.times:
                    raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **options)

        return call


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server") as running:
        yield running


async def upload(server: LocalServer, path: Path, journal: Path, part_size: int = MIB // 2) -> UploadResult:
    async with Client("sk-test", base_url=server.url) as client:
        uploader = AsyncUploader(client, journal=journal, part_size=part_size, concurrency=1)
        return await uploader.upload(path, purpose="batch")


@pytest.mark.parametrize(("times", "code"), [(1, errno.EIO), (FOR_GOOD, errno.ENOSPC)], ids=["once", "for good"])
async def test_failing_at_any_step_it_is_a_clear_error_or_none_and_the_same_call_goes_on(
    server: LocalServer, tmp_path: Path, times: int, code: int
) -> None:
    step = 0
    disk = FailingDisk(1, times, code)
    while disk.calls >= disk.first - 1:
        step += 1
        path, journal = make_file(tmp_path / f"{step}.bin", 3 * MIB // 4, seed=step), tmp_path / f"{step}"
        disk = FailingDisk(step, times, code)
        with disk():
            error = await error_of(server, path, journal)
        assert error is None or (error.resumable and os.strerror(code) in str(error))
        await goes_on(server, path, journal)
    assert step > 20  # or the disk is not reached any more


async def error_of(server: LocalServer, path: Path, journal: Path) -> JournalError | None:
    try:
        await upload(server, path, journal)
    except JournalError as error:
        return error
    return None


async def goes_on(server: LocalServer, path: Path, journal: Path) -> None:
    """The same call once more ends in the one file, and sends nothing that was acknowledged."""
    held = [record for record in remembered(journal) if hasattr(record, "length")]
    result = await upload(server, path, journal)
    assert result.bytes_resumed >= sum(record.length for record in held)
    assert [file.id for file in server.files if file.filename == path.name] == [result.file.id]
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Callable[[str], object]]:
    """A tmpfs for the length of the block; gives what mounts it anew with other options."""
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=False).returncode:
        pytest.skip("only who may mount can have a disk that is full or read-only")
    try:
        yield lambda more: subprocess.run(["mount", "-o", f"remount,{more}", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


async def test_a_disk_that_gets_full_ends_the_call_and_with_room_again_the_same_call_goes_on(
    server: LocalServer, tmp_path: Path
) -> None:
    path = make_file(tmp_path / "a.bin", 24 * MIB)
    with mounted(tmp_path / "disk", "size=12k") as mount_again:
        journal = tmp_path / "disk" / "journal"
        with pytest.raises(JournalError, match="No space left on device") as caught:
            await upload(server, path, journal)
        assert caught.value.resumable
        assert caught.value.progress is not None
        assert caught.value.progress.bytes_done > 0
        mount_again("size=1m")
        await goes_on(server, path, journal)
        assert server.calls["create"] == 1


async def test_a_read_only_disk_is_said_before_anything_is_sent(server: LocalServer, tmp_path: Path) -> None:
    path = make_file(tmp_path / "a.bin", MIB)
    with mounted(tmp_path / "disk", "size=1m,ro") as mount_again:
        journal = tmp_path / "disk" / "journal"
        with pytest.raises(JournalError, match=r"Read-only file system[^$]*Nothing was sent[^$]*ASYNCSDK_JOURNAL"):
            await upload(server, path, journal)
        assert server.calls == {}
        mount_again("rw")
        await goes_on(server, path, journal)


async def test_a_disk_that_turns_read_only_on_the_way_ends_the_call_which_goes_on_afterwards(
    server: LocalServer, tmp_path: Path
) -> None:
    path = make_file(tmp_path / "a.bin", MIB)
    with mounted(tmp_path / "disk", "size=1m") as mount_again:
        journal = tmp_path / "disk" / "journal"
        await upload(server, path, journal)
        mount_again("ro")
        with pytest.raises(JournalError, match="Read-only file system"):
            await upload(server, path, journal)
        mount_again("rw")
        await goes_on(server, path, journal)
