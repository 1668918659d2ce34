"""What may happen to the disk and the descriptors of a run of edits, and what must hold of what it has paid by then."""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, frozen

from tests.faults.edits_checks import is_whole

SIZE = 256 << 20  # of the disk, where it may be made


@define(eq=False)
class Place:
    """Where the pictures go: a small disk of its own, where this user may mount one."""

    out: Path
    is_mounted: bool

    @property
    def aside(self) -> Path:
        return self.out.with_name("aside")

    @property
    def temporary(self) -> Path:
        """On another disk: what can't be saved is rescued here."""
        return self.out.parent.with_name("temporary")

    def resize(self, size: int) -> bool:
        """Whether the disk has this size now; a smaller one than is in use can't be had."""
        command = ["mount", "-o", f"remount,size={size}", str(self.out.parent)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def place_in(folder: Path) -> Iterator[Place]:
    """A place for the length of the block."""
    disk = folder / "disk"
    disk.mkdir()
    (folder / "temporary").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(disk)]
    is_mounted = not os.geteuid() and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield Place(disk / "out", is_mounted)
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", disk], check=True)


@frozen
class Trouble:
    """It strikes in mid-run and is repaired: at once where it `passes`, else when the run has ended, which it must.

    `files` is how many the process may open.
    """

    strike: Callable[[Place], object]
    repair: Callable[[Place], object]
    passes: bool = False
    files: int | None = None
    needs_disk: bool = False


def _nothing(_: Place) -> None:
    """The trouble is there from the start."""


def _fill(place: Place) -> None:
    for _ in range(100):  # the run goes on writing meanwhile
        status = os.statvfs(place.out.parent)
        if place.resize(max(4096, (status.f_blocks - status.f_bfree) * status.f_frsize)):
            return
    raise AssertionError("the disk could not be made full")


def _make_room(place: Place) -> None:
    assert place.resize(SIZE)


def _rename(place: Place) -> None:
    place.out.rename(place.aside)


def _put_back(place: Place) -> None:
    place.aside.rename(place.out)  # which fails where a run made a directory anew that had gone


def _link(place: Place) -> None:
    _rename(place)
    place.out.with_name("elsewhere").mkdir(exist_ok=True)
    place.out.symlink_to(place.out.with_name("elsewhere"))


def _unlink(place: Place) -> None:
    place.out.unlink()
    _put_back(place)


def _take_ledger(place: Place) -> None:
    (place.out / ".asyncsdk").rename(place.aside)


def _give_ledger_back(place: Place) -> None:
    place.aside.rename(place.out / ".asyncsdk")


def _link_drafts(place: Place) -> None:
    (place.out / ".asyncsdk" / "drafts").rename(place.aside)
    (place.out / ".asyncsdk" / "drafts").symlink_to(place.out.parent)


def _unlink_drafts(place: Place) -> None:
    (place.out / ".asyncsdk" / "drafts").unlink()
    place.aside.rename(place.out / ".asyncsdk" / "drafts")


TROUBLES = {
    "renamed": Trouble(_rename, _put_back),
    "linked": Trouble(_link, _unlink),
    "ledger taken": Trouble(_take_ledger, _give_ledger_back),
    "drafts linked": Trouble(_link_drafts, _unlink_drafts),
    "full": Trouble(_fill, _make_room, needs_disk=True),
    "full for a moment": Trouble(_fill, _make_room, passes=True, needs_disk=True),
    "20 descriptors": Trouble(_nothing, _nothing, passes=True, files=20),
    "26 descriptors": Trouble(_nothing, _nothing, passes=True, files=26),
}


def some_of(count: int, place: Place, numbers: random.Random) -> list[str]:
    """So many of them by chance, each once before any comes again."""
    names = [name for name, trouble in TROUBLES.items() if place.is_mounted or not trouble.needs_disk]
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += numbers.sample(names, len(names))
    return drawn[:count]


def unnamed(records: Mapping[str, Mapping[str, Any]], complaints: str) -> list[str]:
    """The edits that are paid, and whose pictures are not whole where they are said to be."""
    lost = []
    for name, record in records.items():
        is_unsaved = record["status"] == "uncertain" and record["error"]["type"] == "SaveError"
        if record["status"] == "done":
            places = record["files"]
        elif is_unsaved:
            found = re.search(rf"^{re.escape(name)}: its pictures are saved elsewhere: (.+)$", complaints, re.MULTILINE)
            kept = [*record["files"], *record["error"]["raw_files"]]  # where a part of it came, and was cut off
            places = found[1].split(", ") if found else kept
        else:
            continue
        if not places or not all(_is_kept(Path(path)) for path in places):
            lost.append(name)
    return lost


def _is_kept(path: Path) -> bool:
    """Whether a picture is whole; of what was cut off before it came, the part that came is there."""
    return path.is_file() and path.stat().st_size > 0 if path.suffix == ".raw" else is_whole(path)
