"""Writes the gallery to disk: as a whole or not at all, with links relative to where it is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from importlib import resources
from pathlib import Path

from attrs import evolve

from asyncsdk import files
from asyncsdk.cli.gallery.item import GalleryItem, Shown
from asyncsdk.cli.gallery.page import MARK, Dress, gallery_page

CHUNK_CHARACTERS = 1 << 20  # a page of a hundred thousand edits is never whole in memory


async def write_gallery(
    path: str | os.PathLike[str], items: Iterable[GalleryItem], *, title: str, below: Path | None = None
) -> None:
    """Write one HTML page that shows `items`, in their order.

    It needs no network and no other file than the pictures, which it links relative to itself: move both
    together. A reader who opens `path` meanwhile sees the old page or the new one. `below` is a directory that is not
    created again if it is gone. Raises OSError.
    """
    page = _absolute(Path(path))
    dress = Dress(await _own("gallery.css"), await _own("gallery.js"))
    absolute = (_anchored(item) for item in items)
    await files.stream_to(
        page, _encoded(gallery_page(absolute, title=title, base=page.parent, dress=dress)), below=below
    )


def is_gallery(path: Path) -> bool:
    """Whether a file is a gallery that this or an earlier version wrote. Blocking. Raises OSError."""
    if not path.is_file():  # a pipe would be waited for
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()


async def _own(name: str) -> str:
    with resources.as_file(resources.files(__package__) / name) as path:
        return (await files.read(path, limit=1 << 20)).decode()


def _anchored(item: GalleryItem) -> GalleryItem:
    return evolve(
        item,
        before=tuple(_there(shown) for shown in item.before),
        after=tuple(_absolute(path) for path in item.after),
        mask=None if item.mask is None else _there(item.mask),
    )


def _there(shown: Shown) -> Shown:
    return shown if isinstance(shown, str) else _absolute(shown)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` would follow links, and URLs don't


async def _encoded(pieces: Iterator[str]) -> AsyncIterator[bytes]:
    waiting: list[str] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= CHUNK_CHARACTERS:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    yield "".join(waiting).encode()
