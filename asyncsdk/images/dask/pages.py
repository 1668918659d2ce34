"""The list of a run where each worker can read it: pages below `out`, each named by its content."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path

from asyncsdk import files, tasks
from asyncsdk.errors import ConfigurationError, EditError, RemoteError
from asyncsdk.images.bulk.ids import UniqueIds
from asyncsdk.images.dask.lines import edits_of, page_of
from asyncsdk.images.destination import OWN_DIRECTORY
from asyncsdk.images.edit import ImageEdit
from asyncsdk.remote.address import remote_address
from asyncsdk.remote.reading import read_whole
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.remote.writing import put

EDITS = 1000  # of a page
LARGEST = 1 << 30  # bytes
FOLDER = f"{OWN_DIRECTORY}/lists"


async def write(
    edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit], out: str, stores: RemoteStores
) -> tuple[str, ...]:
    """Write the edits below `out`, and return the names of the pages. The same edits give the same pages.

    Raises ConfigurationError, RemoteError.
    """
    names, page, ids = list[str](), list[ImageEdit](), UniqueIds()
    async with aclosing(tasks.walk(edits)) as all_:
        async for edit in all_:
            _check(edit, ids)
            page.append(edit)
            if len(page) == EDITS:
                names.append(await _written(page, out, stores))
                page = []
    if page:
        names.append(await _written(page, out, stores))
    return tuple(names)


async def read(
    names: Sequence[str], out: str, stores: RemoteStores, *, from_anywhere: bool = False
) -> AsyncGenerator[ImageEdit, None]:
    """The edits of the pages; from a random page on, and round, where copies are to begin apart.

    Raises ConfigurationError, RemoteError.
    """
    start = random.randrange(len(names)) if from_anywhere and names else 0
    for name in (*names[start:], *names[:start]):
        for edit in edits_of(await _page(f"{FOLDER}/{name}", out, stores)):
            yield edit


def _check(edit: object, ids: UniqueIds) -> None:
    if not isinstance(edit, ImageEdit):
        raise TypeError("edits are ImageEdit values")
    ids.check_edit(edit)


async def _written(page: Sequence[ImageEdit], out: str, stores: RemoteStores) -> str:
    content = page_of(page, os.getcwd())  # noqa: PTH109 - as the paths of pictures, which are text here
    name = f"{hashlib.sha256(content).hexdigest()[:32]}.jsonl"
    address = remote_address(out)
    if address is None:
        try:
            await files.save(Path(out, FOLDER, name), content)
        except OSError as error:
            raise ConfigurationError(
                f"out={out!r}: the list of edits can't be written there ({error.strerror or error}). Nothing was sent."
            ) from error
        return name
    try:
        await put(address.child(f"{FOLDER}/{name}"), content, stores, create_only=True)
    except RemoteError as error:
        if error.reason != "exists":  # by an earlier run: it is the same
            raise
    return name


async def _page(name: str, out: str, stores: RemoteStores) -> bytes:
    address = remote_address(out)
    if address is not None:
        return await read_whole(address.child(name), stores, limit=LARGEST)
    try:
        return await files.read(Path(out, name), limit=LARGEST)
    except OSError as error:
        raise EditError(
            f"{Path(out, name)}: the list of edits can't be read here ({error.strerror or error}): out= has to be a "
            "bucket, or a directory that all workers share. Nothing was sent from here."
        ) from error
