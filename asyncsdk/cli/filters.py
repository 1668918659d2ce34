"""Which files of a folder or a list are wanted, by patterns, as --include and --exclude give them (pure).

A pattern without a slash is compared with the name of the file and of each folder that it is in. One with a slash is
compared with the path below the folder that was given: `*` is within a name, and `**` is any number of folders. One
that ends with a slash is for folders alone. Upper and lower case count. What is excluded stays so, also if it is
included.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from attrs import frozen

_ANY = "**"


@frozen
class PathPattern:
    """One pattern."""

    parts: tuple[str, ...]
    is_anchored: bool
    is_for_folders: bool

    @classmethod
    def of(cls, text: str) -> PathPattern:
        """Read `text`. Raises ValueError if it can match nothing."""
        parts = tuple(part for part in text.split("/") if part not in {"", "."})
        if not parts or ".." in parts:
            raise ValueError("a pattern is a name, or a path below the folder, such as '*.jsonl' or 'old/**'")
        alone = _without_repeats(parts)
        return cls(alone, "/" in text.removesuffix("/"), text.endswith("/"))

    def matches(self, path: Sequence[str], *, is_folder: bool) -> bool:
        """Whether it is this very file or folder, whose names from the top are `path`."""
        if self.is_for_folders and not is_folder:
            return False
        return _matches(path, self.parts) if self.is_anchored else fnmatchcase(path[-1], self.parts[0])


@frozen
class Filters:
    """All patterns of a command. Without any, every file is wanted."""

    include: Sequence[PathPattern] = ()
    exclude: Sequence[PathPattern] = ()

    @classmethod
    def of(cls, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Filters:
        """Read the patterns. Raises ValueError as `PathPattern.of` does."""
        return cls([PathPattern.of(text) for text in include], [PathPattern.of(text) for text in exclude])

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def takes(self, path: Sequence[str], *, is_folder: bool = False) -> bool:
        """Whether a file is wanted; of a folder, whether something in it may be. `path` are its names from the top."""
        if _is_below(path, self.exclude, is_folder=is_folder):
            return False
        return is_folder or not self.include or _is_below(path, self.include, is_folder=is_folder)


EVERYTHING = Filters()


def _is_below(path: Sequence[str], patterns: Sequence[PathPattern], *, is_folder: bool) -> bool:
    """Whether a pattern matches the path, or a folder that it is in."""
    return any(
        pattern.matches(path[:length], is_folder=is_folder or length < len(path))
        for pattern in patterns
        for length in range(1, len(path) + 1)
    )


def _matches(path: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not path
    if parts[0] == _ANY:
        return any(_matches(path[skipped:], parts[1:]) for skipped in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], parts[0]) and _matches(path[1:], parts[1:])


def _without_repeats(parts: Sequence[str]) -> tuple[str, ...]:
    """`**` after `**` adds nothing, and would take long to compare."""
    return tuple(part for part, before in zip(parts, ("", *parts), strict=False) if part != _ANY or before != _ANY)
