"""Lists the files of a folder in order, and what was left out and why: nothing is skipped silently."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

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
class LeftOut:
    """Something that the user may want and that was not looked at."""

    path: Path
    reason: str


@frozen
class Walk:
    """What is in a folder at any depth, ordered by path.

    `left_out` could not be read, or is only read when it is named. `ignored` counts folders that systems keep for
    themselves, by name, and hidden entries as "hidden".
    """

    files: Sequence[Path]
    left_out: Sequence[LeftOut]
    ignored: Counter[str]


def walk(folder: Path, *, apart_from: Path | None = None) -> Walk:
    """Look through `folder`, without `apart_from`.

    Links to files are followed, links to folders are not. Raises OSError if `folder` itself can't be read.
    """
    files: list[Path] = []
    left_out: list[LeftOut] = []
    ignored: Counter[str] = Counter()
    waiting = _entries(folder, ignored)
    while waiting:
        entry = waiting.pop()
        path = Path(entry)
        try:
            kind = _kind(entry)
            if kind == _FILE:
                files.append(path)
            elif kind != _FOLDER:
                left_out.append(LeftOut(path, kind))
            elif path != apart_from:
                waiting += _entries(path, ignored)
        except OSError as error:
            left_out.append(LeftOut(path, error.strerror or str(error)))
    return Walk(files, left_out, ignored)


def within(folder: Path, out: Path) -> Path | None:
    """The directory of results as a path below `folder`; None if it is not below it."""
    root, made = folder.resolve(), out.resolve()
    return folder / made.relative_to(root) if made != root and made.is_relative_to(root) else None


def is_passed_over(name: str) -> bool:
    """Whether an entry of this name is hidden, or a folder that a system keeps for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def _entries(folder: Path, ignored: Counter[str]) -> list[os.DirEntry[str]]:
    """The entries of a folder that are not ignored, last first."""
    entries: list[os.DirEntry[str]] = []
    with os.scandir(folder) as scan:
        for entry in scan:
            if entry.name.startswith("."):
                ignored["hidden"] += not entry.name.startswith(_OURS)
            elif entry.name.lower() in _SYSTEM_FOLDERS and entry.is_dir(follow_symlinks=False):
                ignored[entry.name] += 1
            else:
                entries.append(entry)
    return sorted(entries, key=lambda entry: entry.name, reverse=True)


def _kind(entry: os.DirEntry[str]) -> str:
    """`a file`, `a folder`, or why it is left out. Raises OSError."""
    if entry.is_dir():
        return "a link to a folder, which is not followed" if entry.is_symlink() else _FOLDER
    if entry.is_file():
        return _FILE
    return "a broken link" if entry.is_symlink() else "neither a file nor a folder"
