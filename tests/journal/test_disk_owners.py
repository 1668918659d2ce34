"""What another user owns, or could put in our place, is neither written nor read, be it a journal or a ledger."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from asyncsdk.errors import StorageError
from asyncsdk.images.ledger.file import load_ledger, open_ledger
from asyncsdk.uploads.journal.file import FileJournal
from tests.journal.support import KEY, opened

STRANGER = 12345
Use = Callable[[Path], Awaitable[object]]
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives directories away")


async def claimed(root: Path) -> object:
    async with FileJournal(root).claim(KEY) as log:
        await log.append(opened())
        return log.records


async def listed(root: Path) -> object:
    return await FileJournal(root).entries()


async def kept(directory: Path) -> object:
    async with open_ledger(directory) as ledger:
        await ledger.intend("a#0", id="a", n=1)
        return ledger.spent


async def looked_at(directory: Path) -> object:
    return (await load_ledger(directory)).spent


USES = pytest.mark.parametrize("use", [claimed, listed, kept, looked_at])
JOURNAL = pytest.mark.parametrize("use", [claimed, listed])
MADE: dict[Use, Use] = {claimed: claimed, listed: claimed, kept: kept, looked_at: kept}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory to be used, in one of ours."""
    (tmp_path / "project").mkdir(mode=0o755)
    return tmp_path / "project" / ".asyncsdk"


def give_away(*paths: Path) -> None:
    for path in paths:
        os.chown(path, STRANGER, STRANGER)


@as_root
@USES
async def test_a_directory_of_another_user_is_refused(place: Path, use: Use) -> None:
    await MADE[use](place)
    give_away(place)
    with pytest.raises(StorageError, match=rf"{place} belongs to another user \(uid 12345\)"):
        await use(place)


@as_root
@USES
async def test_so_is_one_where_all_belongs_to_that_user_its_parent_too(place: Path, use: Use) -> None:
    await MADE[use](place)
    give_away(place.parent, place, *place.rglob("*"))
    with pytest.raises(StorageError, match="belongs to another user"):
        await use(place)


@as_root
@pytest.mark.parametrize("name", ["uploads", "locks", f"uploads/{KEY}"])
async def test_so_is_each_directory_within_a_journal(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    give_away(tmp_path / name)
    with pytest.raises(StorageError, match="belongs to another user"):
        await claimed(tmp_path)
    assert list((tmp_path / name).iterdir()) == []


@as_root
@pytest.mark.parametrize("name", ["drafts", "ledger"])
async def test_so_is_each_directory_within_a_ledger(place: Path, name: str) -> None:
    (place / name).mkdir(parents=True)
    (place / name / ".asyncsdk-1").touch()
    give_away(place / name)
    with pytest.raises(StorageError, match="belongs to another user"):
        await kept(place)
    assert (place / name / ".asyncsdk-1").exists()


async def test_drafts_are_not_cleared_where_a_link_leads(place: Path) -> None:
    place.mkdir()
    (place.parent / ".asyncsdk-1").touch()
    (place / "drafts").symlink_to(place.parent)
    with pytest.raises(StorageError, match="symbolic link"):
        await kept(place)
    assert (place.parent / ".asyncsdk-1").exists()


@as_root
@JOURNAL
async def test_a_link_to_a_directory_of_another_user_is_refused(place: Path, use: Use) -> None:
    await claimed(place)
    give_away(place)
    link = place.with_name("link")
    link.symlink_to(place)
    with pytest.raises(StorageError, match="link is a symbolic link"):
        await use(link)


# Directories in which others can write


@USES
@pytest.mark.parametrize("mode", [0o777, 0o757, 0o2777])
async def test_where_everybody_may_write_beside_it_nothing_is_kept(place: Path, use: Use, mode: int) -> None:
    place.parent.chmod(mode)
    with pytest.raises(StorageError, match=f"others may write in {place.parent}, .* chmod go-w {place.parent}, or "):
        await use(place)
    assert not place.exists()


@USES
async def test_nor_is_read_what_was_kept_there_before(place: Path, use: Use) -> None:
    await MADE[use](place)
    place.parent.chmod(0o777)
    with pytest.raises(StorageError, match="others may write in"):
        await use(place)


@as_root
@USES
async def test_nor_where_a_group_of_several_users_may_write(place: Path, use: Use) -> None:
    os.chown(place.parent, -1, STRANGER)
    place.parent.chmod(0o775)
    with pytest.raises(StorageError, match="others may write in"):
        await use(place)


@as_root
@USES
async def test_a_group_that_is_the_owners_own_is_nobody_else(place: Path, use: Use) -> None:
    os.chown(place.parent, -1, place.parent.stat().st_uid)
    place.parent.chmod(0o775)
    await MADE[use](place)
    await use(place)


@as_root
@USES
async def test_a_sticky_directory_is_as_good_as_tmp(place: Path, use: Use) -> None:
    place.parent.chmod(0o1777)
    await MADE[use](place)
    await use(place)


@JOURNAL
async def test_a_journal_in_which_others_may_write_is_refused(place: Path, use: Use) -> None:
    await claimed(place)
    place.chmod(0o777)
    with pytest.raises(StorageError, match=f"others may write in {place}, "):
        await use(place)


async def test_one_level_deeper_a_journal_is_made_for_its_user_alone(place: Path) -> None:
    place.parent.chmod(0o777)
    await claimed(place / "deeper")
    assert place.stat().st_mode & 0o777 == 0o700


@JOURNAL
async def test_what_a_link_leads_to_must_not_be_among_others_either(place: Path, tmp_path: Path, use: Use) -> None:
    await claimed(place)
    (tmp_path / "link").symlink_to(place)
    await use(tmp_path / "link")
    place.parent.chmod(0o777)
    with pytest.raises(StorageError, match="others may write in"):
        await use(tmp_path / "link")


async def test_a_relative_journal_is_judged_by_where_it_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.parent)
    await claimed(Path("journal"))
    place.parent.chmod(0o777)
    with pytest.raises(StorageError, match=f"others may write in {place.parent}"):
        await claimed(Path("journal"))
