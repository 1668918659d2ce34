"""`Destination`: a directory and the names that the pictures of one edit get in it (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path, PurePath

from attrs import frozen

from asyncsdk.images.names import stem_of, suffix_for

LEDGER = "the ledger, which remembers what is paid,"
OWN_DIRECTORY, RAW, REPLACED = ".asyncsdk", "raw", "replaced"
UNDELIVERED = "undelivered"  # in the ledger's directory: pictures on their way to a bucket
NOT_DELIVERED = "not_delivered"  # the code of a problem: the pictures are paid, and wait there
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg", ".bin")


@frozen
class Destination:
    """A directory and the name of pictures in it: `name.png`, `name.1.png` and so on.

    `suffix` is the one that the caller gave, if any: a picture of another format has the suffix of its own.
    """

    directory: Path
    name: str
    suffix: str = ""

    def paths(self, pictures: int) -> list[Path]:
        """Every path that `pictures` images may get, whatever their type."""
        return [path for number in range(max(pictures, 1)) for path in self.paths_of(number)]

    def names(self, pictures: int) -> list[str]:
        """The same, relative to the directory."""
        suffixes = self._suffixes
        return [f"{self.stem(number)}{suffix}" for number in range(max(pictures, 1)) for suffix in suffixes]

    def stem(self, number: int) -> str:
        """The name of one of several pictures, without suffix."""
        return stem_of(self.name, number)

    def paths_of(self, number: int) -> list[Path]:
        """Every path that one of several pictures may get, whatever its type."""
        return [self.directory / f"{self.stem(number)}{suffix}" for suffix in self._suffixes]

    def requested(self, number: int) -> Path:
        """The path that the caller asked for, if there is a `suffix`."""
        return self.directory / f"{self.stem(number)}{self.suffix}"

    def path(self, number: int, content: bytes) -> Path:
        """Where one of several pictures goes, with the suffix of what its bytes are."""
        return self.directory / f"{self.stem(number)}{suffix_for(content, self.suffix)}"

    def accepts(self, path: Path) -> bool:
        """Whether a picture at `path` has the suffix that the caller gave, if any."""
        return not self.suffix or path.suffix == self.suffix

    @property
    def _suffixes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*SUFFIXES, self.suffix))) if self.suffix else SUFFIXES

    @property
    def folders(self) -> list[Path]:
        """The folders below the directory that the name asks for."""
        return [self.directory / folder for folder in PurePath(self.name).parents if folder.name]


def aside(was: str, moment: str, number: int) -> str:
    """Where a picture is moved to make room for a new one, the `number`th time within this second: both relative."""
    path = PurePath(was)
    name = f"{moment}-{path.name}" if number == 1 else f"{moment}-{number}-{path.name}"
    return PurePath(OWN_DIRECTORY, REPLACED, path.parent, name).as_posix()


def beside(name: str) -> Iterator[str]:
    """Names in place of one that is taken, without suffix, in the order in which they are tried: `a-2`, `a-3`."""
    return (f"{name}-{number}" for number in count(2))
