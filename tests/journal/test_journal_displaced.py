"""A journal that is removed, renamed or replaced while it is written: nothing is acknowledged into a lost file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, JournalError, RequestEvent
from asyncsdk.server import LocalServer
from asyncsdk.uploads.advice import DISPLACED
from asyncsdk.uploads.journal.file import FileJournal
from tests.faults.support import MIB, make_file
from tests.journal.support import KEY, opened, part, segments

Deed = Callable[[Path], None]


def remove(root: Path) -> None:
    shutil.rmtree(root)


def remove_the_segment(root: Path) -> None:
    for path in (root / "uploads").rglob("*.jsonl"):
        path.unlink()


def rename(root: Path) -> None:
    root.rename(root.with_name("moved"))


def replace_by_another(root: Path) -> None:
    rename(root)
    shutil.copytree(root.with_name("moved"), root)


def replace_by_a_link(root: Path) -> None:
    rename(root)
    root.with_name("elsewhere").mkdir()
    root.symlink_to(root.with_name("elsewhere"))


def replace_the_folder_by_a_link(root: Path) -> None:
    [folder] = (root / "uploads").iterdir()
    folder.rename(root.with_name("moved"))
    root.with_name("elsewhere").mkdir()
    folder.symlink_to(root.with_name("elsewhere"))


DEEDS: dict[Deed, str] = {
    remove: "it was removed",
    remove_the_segment: "it was removed",
    rename: "it was renamed",
    replace_by_another: "another file was put in its place",
    replace_by_a_link: "it was renamed",
    replace_the_folder_by_a_link: "it was renamed",
}

each_deed = pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: str(deed.__name__))


@each_deed
async def test_a_record_is_not_acknowledged_into_a_file_that_is_not_at_its_place(tmp_path: Path, deed: Deed) -> None:
    root = tmp_path / "journal"
    async with FileJournal(root).claim(KEY) as log:
        await log.append(opened())
        deed(root)
        there = sorted(tmp_path.rglob("*"))
        for number in range(2):  # and it stays so: a new file would lack what the old one holds
            with pytest.raises(JournalError, match=DEEDS[deed]) as caught:
                await log.append(part(number))
            assert caught.value.resumable
        assert log.records == (opened(),)
        assert sorted(tmp_path.rglob("*")) == there


async def test_a_folder_that_is_gone_before_the_first_record_is_noticed_where_it_held_something(tmp_path: Path) -> None:
    root = tmp_path / "journal"
    async with FileJournal(root).claim(KEY) as log:
        await log.append(opened())
    async with FileJournal(root).claim(KEY) as log:
        shutil.rmtree(root / "uploads" / KEY)
        with pytest.raises(JournalError, match="it was removed or renamed"):
            await log.append(part(0))


async def test_put_back_a_journal_goes_on_from_what_was_acknowledged(tmp_path: Path) -> None:
    root = tmp_path / "journal"
    async with FileJournal(root).claim(KEY) as log:
        await log.append(opened())
        rename(root)
        with pytest.raises(JournalError):
            await log.append(part(0))
    (tmp_path / "moved").rename(root)
    async with FileJournal(root).claim(KEY) as log:
        assert log.records == (opened(),)
    assert len(segments(root)) == 1


@each_deed
async def test_an_upload_stops_and_says_so_and_the_same_call_makes_the_one_file(tmp_path: Path, deed: Deed) -> None:
    path, root, parts = make_file(tmp_path / "a.bin", 4 * MIB), tmp_path / "journal", 0

    def note(event: RequestEvent) -> None:
        nonlocal parts
        if event.route.endswith("/parts"):
            parts += 1
            if parts == 3:
                deed(root)

    async with LocalServer(tmp_path / "server") as server, Client("sk-test", base_url=server.url, on_event=note) as it:
        uploader = AsyncUploader(it, journal=root, part_size=MIB // 2, concurrency=1)
        with pytest.raises(JournalError, match="Put the journal back") as caught:
            await uploader.upload(path, purpose="batch")
        assert caught.value.advice == DISPLACED
        assert server.calls["part"] <= 5
        if deed in {replace_by_a_link, replace_the_folder_by_a_link}:
            shutil.rmtree(tmp_path / "elsewhere")
            remove(root) if root.exists() else root.unlink()
        result = await uploader.upload(path, purpose="batch")
        assert [file.id for file in server.files] == [result.file.id]
        assert server.stored(result.file.id).read_bytes() == path.read_bytes()
