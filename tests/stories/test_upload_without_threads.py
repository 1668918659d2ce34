"""Where the system gives no thread, an upload says so in words, and the same call goes on once there are some."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, FileJournal, UploadError
from asyncsdk.server import LocalServer
from tests.stories.support import MIB, MakeFile, refused_at_complete


def refuse_threads(patch: pytest.MonkeyPatch, name: str) -> None:
    """Start no thread of this name any more."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    patch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize(
    ("name", "as_bytes"),
    [("read", False), ("journal", False), ("journal", True), ("hash", False), ("hash", True)],  # bytes are read at once
)
async def test_an_upload_without_threads_is_a_resumable_upload_error(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, name: str, *, as_bytes: bool
) -> None:
    path = make_file(3 * MIB)
    source = path.read_bytes() if as_bytes else path
    uploader = AsyncUploader(client, journal=journal)
    with pytest.MonkeyPatch.context() as patch:
        refuse_threads(patch, f"asyncsdk-{name}")
        with pytest.raises(UploadError, match=r"no thread .*can't start new thread.*then repeat the call") as failure:
            await uploader.upload(source, purpose="batch", key="mine", filename="a.bin")
    assert failure.value.resumable
    result = await uploader.upload(source, purpose="batch", key="mine", filename="a.bin")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


async def test_a_cancel_without_threads_is_a_resumable_upload_error(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    upload_id = await refused_at_complete(server, AsyncUploader(client, journal=journal), make_file(MIB))
    uploader = AsyncUploader(client, journal=journal)
    with pytest.MonkeyPatch.context() as patch:
        refuse_threads(patch, "asyncsdk-journal")
        with pytest.raises(UploadError, match="no thread"):
            await uploader.cancel(upload_id)
    assert (await uploader.cancel(upload_id)).status == "cancelled"


async def test_a_key_is_let_go_of_without_threads_too(journal: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        async with FileJournal(journal).claim("a" * 32, wait=False) as held:
            refuse_threads(patch, "asyncsdk-journal")
            while any(thread.name == "asyncsdk-journal" for thread in threading.enumerate()):
                await asyncio.sleep(0.01)
    async with FileJournal(journal).claim("a" * 32, wait=False) as log:
        assert (log.records, held.records) == ((), ())  # the first one is kept alive: collected, it lets go, too
