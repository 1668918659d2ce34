"""The gallery of a run: what of it is checked before anything is paid, and writing it, on a disk or in a bucket."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePath

from asyncsdk.cli.edits.out_place import OutPlace, check_page_place
from asyncsdk.cli.gallery import GalleryItem, is_gallery, put_gallery, write_gallery
from asyncsdk.cli.gallery.page import MARK
from asyncsdk.errors import ConfigurationError, RemoteError
from asyncsdk.remote.address import local_path, remote_address
from asyncsdk.remote.failures import before_sending
from asyncsdk.remote.reading import look
from asyncsdk.remote.stores import RemoteStores

_PAGES = frozenset({".html", ".htm"})


async def check_page(name: str | None, place: OutPlace, stores: RemoteStores) -> None:
    """Raise ConfigurationError, before anything is paid, if no gallery can be written or something else is there.

    RemoteError where that can't be found out for now.
    """
    if name is None:
        return
    address = remote_address(name)
    check_page_place(address, name, place)
    if address is None:
        _check_file(local_path(name))
        return
    _check_suffix(PurePath(address.name or "index"), address.shown)
    try:
        content = await look(address, stores)
    except RemoteError as error:
        raise before_sending(error, f"--gallery {address}: ") from None
    if content and not content.startswith(MARK.encode()):
        raise _another(address.shown)


async def write_page(name: str, items: Iterable[GalleryItem], place: OutPlace, stores: RemoteStores) -> None:
    """Write the page. Raises OSError, RemoteError."""
    address = remote_address(name)
    if address is not None and place.address is not None:
        await put_gallery(address, items, stores, results=place.address)
        return
    page = Path(local_path(name))
    below = place.directory if place.directory is not None and page.is_relative_to(place.directory) else None
    await write_gallery(page, items, title=str(place), below=below)


def _check_file(name: str) -> None:
    """Raise ConfigurationError, before anything is paid, if no gallery can be written or another file is there."""
    page = Path(name)
    if page.is_dir():
        raise ConfigurationError(
            f"--gallery {name} is a directory; name a file, such as gallery.html. Nothing was sent."
        )
    _check_suffix(page, name)
    if os.path.lexists(page) and not _is_own_page(page):
        raise _another(name)
    above = next(folder for folder in page.absolute().parents if os.path.lexists(folder))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--gallery {name}: can't create a file in {above}. Nothing was sent.")


def _is_own_page(page: Path) -> bool:
    try:
        return is_gallery(page)
    except OSError as error:
        raise ConfigurationError(
            f"--gallery {page} is there already and can't be read: {error.strerror}. Nothing was sent."
        ) from error


def _check_suffix(page: PurePath, name: str) -> None:
    if page.suffix.lower() not in _PAGES:
        raise ConfigurationError(
            f"--gallery {name}: a gallery is an HTML page; name it {page.stem}.html or the like. Nothing was sent."
        )


def _another(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"--gallery {name} is there already and is not a gallery: it is not overwritten. Choose another name. "
        "Nothing was sent."
    )
