"""A copy of a journal does not go on with what its original has begun; a journal that was moved or put back does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsdk.uploads.journal import Completing, Expired, Record
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.wal import segments
from tests.journal.support import KEY, NOW, completed, opened, part

ASKED = Completing(upload="upload_1", part_ids=("part_0",), md5="0" * 32, at=NOW)


async def write(root: Path, *records: Record) -> None:
    async with FileJournal(root).claim(KEY) as log:
        for record in records:
            await log.append(record)


async def read(root: Path) -> list[Record]:
    async with FileJournal(root).claim(KEY) as log:
        return list(log.records)


def copied(root: Path) -> Path:
    return Path(shutil.copytree(root, root.with_name("copy")))


def moved(root: Path) -> Path:
    return root.rename(root.with_name("moved"))


def put_back(root: Path) -> Path:
    shutil.copytree(root, root.with_name("backup"))
    shutil.rmtree(root)
    return Path(shutil.copytree(root.with_name("backup"), root))


@pytest.mark.parametrize(
    ("happens", "records", "ends"),
    [
        (copied, [opened()], True),
        (copied, [opened(), part(0)], True),
        (copied, [opened(), part(0), ASKED], False),
        (copied, [opened(), completed()], False),
        (moved, [opened(), part(0)], False),
        (put_back, [opened(), part(0)], False),
    ],
)
async def test_what_a_copy_goes_on_with(
    tmp_path: Path, happens: Callable[[Path], Path], records: list[Record], *, ends: bool
) -> None:
    await write(tmp_path / "journal", *records)
    found = await read(happens(tmp_path / "journal"))
    assert found[: len(records)] == records
    assert [type(record) for record in found[len(records) :]] == [Expired] * ends


async def test_a_copy_goes_on_with_what_it_has_begun_itself(tmp_path: Path) -> None:
    await write(tmp_path / "journal", opened(), part(0))
    copy = copied(tmp_path / "journal")
    await write(copy, mine := opened("upload_2"), part(0, "upload_2"))
    assert [record.upload for record in await read(copy) if isinstance(record, Expired)] == ["upload_1"]
    assert mine in await read(copy)


async def test_a_copy_on_another_machine_at_the_same_place_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "journal"
    await write(root, opened())
    put_back(root)
    monkeypatch.setattr(segments, "this_host", lambda: "another")
    assert [type(record) for record in await read(root)][1:] == [Expired]
