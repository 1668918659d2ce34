"""Writes the gallery to a disk or a bucket: as a whole or not at all, with links relative to where it is."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from importlib import resources
from pathlib import Path, PurePath, PurePosixPath

from attrs import evolve

from asyncsdk import files
from asyncsdk.cli.gallery.item import GalleryItem, Shown
from asyncsdk.cli.gallery.page import MARK, Dress, gallery_page
from asyncsdk.remote import writing
from asyncsdk.remote.address import RemoteAddress
from asyncsdk.remote.stores import RemoteStores

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
    absolute = (_anchored(item, _on_disk) for item in items)
    await files.stream_to(
        page, _encoded(gallery_page(absolute, title=title, base=page.parent, dress=dress)), below=below
    )


async def put_gallery(
    address: RemoteAddress, items: Iterable[GalleryItem], stores: RemoteStores, *, results: RemoteAddress
) -> None:
    """Write the page to a bucket, where it opens with the pictures that are in the same one.

    Of others it has the names: a page in a bucket can load nothing from this machine. `results` is the prefix of the
    pictures. Raises RemoteError.
    """
    versions = {entry.address.shown: entry.etag async for page in writing.pages(results, stores) for entry in page}
    dress = Dress(await _own("gallery.css"), await _own("gallery.js"))
    of_version = (evolve(item, version=versions.get(str(next(iter(item.after), "")))) for item in items)
    anchored = (_anchored(item, partial(_in_bucket, store=address.store)) for item in of_version)
    base = PurePosixPath("/", address.path).parent
    page = _encoded(gallery_page(anchored, title=results.shown, base=base, dress=dress))
    await writing.put(address, page, stores, mime_type="text/html; charset=utf-8")


def is_gallery(path: Path) -> bool:
    """Whether a file is a gallery that this or an earlier version wrote. Blocking. Raises OSError."""
    if not path.is_file():  # a pipe would be waited for
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()


async def _own(name: str) -> str:
    with resources.as_file(resources.files(__package__) / name) as path:
        return (await files.read(path, limit=1 << 20)).decode()


def _anchored(item: GalleryItem, anchor: Callable[[Shown], Shown]) -> GalleryItem:
    return evolve(
        item,
        before=tuple(map(anchor, item.before)),
        after=tuple(map(anchor, item.after)),
        mask=None if item.mask is None else anchor(item.mask),
    )


def _on_disk(shown: Shown) -> Shown:
    """A file as the page links it; an object is shown by its URL."""
    return _absolute(shown) if isinstance(shown, PurePath) else shown


def _in_bucket(shown: Shown, *, store: str) -> Shown:
    """An object of the page's bucket as the page links it; a file of this machine is shown by its name."""
    if isinstance(shown, RemoteAddress):
        return PurePosixPath("/", shown.path) if shown.store == store else shown
    return shown.name if isinstance(shown, PurePath) else shown


def _absolute(path: PurePath) -> Path:
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
