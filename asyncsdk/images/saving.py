"""Where an edit's pictures are saved: names that are free, what must make way, and never a picture lost."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path, PurePath

from attrs import frozen

from asyncsdk import files
from asyncsdk.images.names import stems, suffix_of

OWN_DIRECTORY = ".asyncsdk"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg", ".bin")


@frozen
class Place:
    """A directory, and the name that pictures get there: `name.png`, `name.1.png` and so on."""

    directory: Path
    name: str

    def paths(self, pictures: int) -> list[Path]:
        """Every path that as many pictures may take, whatever their type."""
        return [self.directory / f"{stem}{suffix}" for stem in stems(self.name, pictures) for suffix in SUFFIXES]

    @property
    def folders(self) -> list[Path]:
        """The folders below the directory that the name asks for."""
        return [self.directory / folder for folder in PurePath(self.name).parents if folder.name]


def place_of(target: str | os.PathLike[str], name: str | None, *, default: str) -> Place:
    """What a caller means by `target`: a directory, or a file if it ends like a picture's name."""
    path = Path(target)
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return Place(path.parent, name or path.stem)
    return Place(path, name or default)


async def save_all(
    place: Place,
    contents: Sequence[bytes],
    *,
    overwrite: bool = False,
    drafts: Path | None = None,
    saved: list[Path] | None = None,
) -> list[Path]:
    """Save pictures at `place`, each durably, with the suffix of what its bytes are. Raises OSError.

    Each path goes to `saved` as its picture is there, so that it is known also where the next one fails.
    """
    saved = [] if saved is None else saved
    for stem, content in zip(stems(place.name, len(contents)), contents, strict=True):
        path = place.directory / f"{stem}{suffix_of(content)}"
        await files.save(path, content, overwrite=overwrite, drafts=drafts)
        saved.append(path)
    return saved


async def save_beside(
    place: Place, contents: Sequence[bytes], *, drafts: Path | None = None, saved: list[Path] | None = None
) -> list[Path]:
    """Save pictures at `place`, or under the next name that is free. Arguments and errors as with `save_all`."""
    saved = [] if saved is None else saved
    for number in count(1):
        saved.clear()
        candidate = place if number == 1 else Place(place.directory, f"{place.name}-{number}")
        if not await files.existing(candidate.paths(len(contents))):
            with suppress(FileExistsError):  # somebody was quicker: the next name
                return await save_all(candidate, contents, drafts=drafts, saved=saved)
    raise AssertionError("numbers do not end")


async def make_way(place: Place, pictures: int) -> dict[str, str]:
    """Move what stands at `place` into `.asyncsdk/replaced`, under names that tell when.

    Returns where each was and where it is now, below the directory. Raises OSError.
    """
    moved = {}
    for path in await files.existing(place.paths(pictures)):
        was = PurePath(path.relative_to(place.directory))
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = PurePath(OWN_DIRECTORY, "replaced", was.parent)
        for number in count(1):
            now = aside / (f"{moment}-{was.name}" if number == 1 else f"{moment}-{number}-{was.name}")
            with suppress(FileExistsError):  # it made way before within this second
                await files.move(path, place.directory / now)
                moved[was.as_posix()] = now.as_posix()
                break
    return moved
