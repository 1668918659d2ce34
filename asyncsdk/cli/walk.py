"""Lists the files of a folder in order, and what was left out and why: nothing is skipped silently."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen

from asyncsdk.cli.filters import EVERYTHING, Filters
from asyncsdk.cli.left_out import LeftOut

# what a NAS, a desktop or a file system keeps among a user's files: thumbnails, deleted files, snapshots
_SYSTEM_FOLDERS = frozenset(
    {
        "@eadir", "@tmp", "#recycle", "#snapshot", "@sharesnap", "@recycle", "@recently-snapshot", "@transcode",
        "~snapshot", "$recycle.bin", "recycler", "system volume information", "lost+found", "__macosx",
    }
)  # fmt: skip
_OURS = ".asyncsdk"  # a ledger with what was replaced, drafts
_FILE, _FOLDER = "a file", "a folder"


@frozen
class Walk:
    """What is in a folder at any depth, ordered by path.

    `left_out` could not be read, or is only read when it is named. `ignored` counts folders that systems keep for
    themselves, by name, and hidden entries as "hidden". `again` are links to folders that were looked through already.
    """

    files: Sequence[Path]
    left_out: Sequence[LeftOut]
    ignored: Counter[str]
    again: Sequence[Path] = ()


def walk(
    folder: Path, *, apart_from: Path | None = None, filters: Filters = EVERYTHING, follow_links: bool = False
) -> Walk:
    """Look through `folder`, without `apart_from`, for the files that `filters` take.

    Links to files are followed, links to folders only with `follow_links`, and each folder once. Raises OSError if
    `folder` itself can't be read.
    """
    walking = _Walking(folder, apart_from, filters, follow_links)
    waiting = list(walking.entries(folder))
    while waiting:
        waiting += walking.visit(waiting.pop())
    return Walk(walking.files, walking.left_out, walking.ignored, walking.again)


@define(eq=False)
class _Walking:
    """A walk under way."""

    folder: Path
    apart_from: Path | None
    filters: Filters
    follows: bool
    files: list[Path] = field(factory=list, init=False)
    left_out: list[LeftOut] = field(factory=list, init=False)
    ignored: Counter[str] = field(factory=Counter, init=False)
    again: list[Path] = field(factory=list, init=False)
    _seen: set[tuple[int, int]] = field(factory=set, init=False)  # folders, by device and inode, where links lead
    _top: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._top = 0 if self.folder == Path() else len(self.folder.parts)

    def visit(self, entry: os.DirEntry[str]) -> Sequence[os.DirEntry[str]]:
        """Take a file, or return what is in a folder."""
        path = Path(entry)
        try:
            kind = _kind(entry, follows=self.follows)
            if kind == _FOLDER and path != self.apart_from and self._takes(path, is_folder=True):
                return self.entries(path)
        except OSError as error:
            kind = error.strerror or str(error)
        if kind == _FILE and self._takes(path):
            self.files.append(path)
        elif kind not in {_FILE, _FOLDER} and self._takes(path, is_folder=_may_be_folder(entry)):
            self.left_out.append(LeftOut(path, kind))
        return ()

    def entries(self, folder: Path) -> Sequence[os.DirEntry[str]]:
        """The entries of a folder that are not ignored, last first. Raises OSError."""
        if self.follows:
            seen = folder.stat()
            if (seen.st_dev, seen.st_ino) in self._seen:
                self.again.append(folder)
                return ()
            self._seen.add((seen.st_dev, seen.st_ino))
        entries: list[os.DirEntry[str]] = []
        with os.scandir(folder) as scan:
            for entry in scan:
                if entry.name.startswith("."):
                    self.ignored["hidden"] += not entry.name.startswith(_OURS)
                elif entry.name.lower() in _SYSTEM_FOLDERS and entry.is_dir(follow_symlinks=False):
                    self.ignored[entry.name] += 1
                else:
                    entries.append(entry)
        return sorted(entries, key=lambda entry: entry.name, reverse=True)

    def _takes(self, path: Path, *, is_folder: bool = False) -> bool:
        return not self.filters or self.filters.takes(path.parts[self._top :], is_folder=is_folder)


def within(folder: Path, out: Path) -> Path | None:
    """The directory of results as a path below `folder`; None if it is not below it."""
    root, made = folder.resolve(), out.resolve()
    return folder / made.relative_to(root) if made != root and made.is_relative_to(root) else None


def is_passed_over(name: str) -> bool:
    """Whether an entry of this name is hidden, or a folder that a system keeps for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def _kind(entry: os.DirEntry[str], *, follows: bool) -> str:
    """`a file`, `a folder`, or why it is left out. Raises OSError."""
    if entry.is_dir():
        return "a link to a folder, which is not followed" if entry.is_symlink() and not follows else _FOLDER
    if entry.is_file():
        return _FILE
    return "a broken link" if entry.is_symlink() else "neither a file nor a folder"


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or nobody knows."""
    try:
        return entry.is_dir()
    except OSError:
        return True
