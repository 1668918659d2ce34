"""Writes objects, in parts where they are large, and lists what is below a prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from attrs import frozen

from asyncsdk.errors import RemoteError
from asyncsdk.remote.address import RemoteAddress
from asyncsdk.remote.failures import exists, no_listing, no_name
from asyncsdk.remote.reading import look
from asyncsdk.remote.stores import RemoteStores, ask

PAGE = 1000  # entries; the stores' own pages are as long
PART = 8 << 20
PARTS_AT_ONCE = 4


@frozen
class RemoteEntry:
    """An object in a listing. `below` is its name below the prefix that was listed, `etag` the store's."""

    address: RemoteAddress
    below: str
    size: int
    etag: str | None


async def put(
    address: RemoteAddress,
    content: bytes | memoryview | Path | AsyncIterator[bytes],
    stores: RemoteStores,
    *,
    create_only: bool = False,
    mime_type: str | None = None,
) -> str | None:
    """Write an object, which appears as a whole or not at all, and return its ETag.

    Args:
        address: Where.
        content: What, or the file that holds it, or its pieces as they come: a large one is sent in parts.
        stores: The stores to use.
        create_only: Leave an object that is there as it is. All of `content` is in memory then.
        mime_type: Its type, for browsers.

    Raises:
        RemoteError: It was not written; with the reason "exists" where one is there and `create_only` is set.
    """
    store, path = stores.open(address)
    if not address.name:
        raise no_name(address)
    options: dict[str, Any] = (
        {"mode": "create"} if create_only else {"chunk_size": PART, "max_concurrency": PARTS_AT_ONCE}
    )
    if mime_type is not None:
        options["attributes"] = {"Content-Type": mime_type}
    answer = await ask(address, store.put_async(path, content, **options))
    etag = answer["e_tag"]
    return etag if isinstance(etag, str) else None


async def put_new(address: RemoteAddress, pieces: AsyncIterator[bytes], stores: RemoteStores) -> None:
    """Write an object where none is, from its pieces as they come.

    Where it has no more than a part, the store itself sees to that; a larger one is written in parts, which stores take
    whatever is there, and is looked for once more when all but its end is written.

    Raises RemoteError; with the reason "exists" where one is there, which is left as it is.
    """
    head, failure = bytearray(), None
    async for piece in pieces:
        head += piece
        if len(head) > PART:
            break
    else:
        await put(address, bytes(head), stores, create_only=True)
        return

    async def all_of_it() -> AsyncIterator[bytes]:
        nonlocal failure
        yield bytes(head)
        async for piece in pieces:
            yield piece
        try:
            is_there = await look(address, stores) is not None
        except RemoteError as error:
            failure = error
            raise
        if is_there:
            failure = exists(address)
            raise failure

    try:
        await put(address, all_of_it(), stores)
    except RemoteError:
        if failure is None:
            raise
    if failure is not None:  # not from obstore's, whose text has secrets
        raise failure


async def delete(address: RemoteAddress, stores: RemoteStores) -> None:
    """Delete an object, if it is there. Raises RemoteError."""
    store, path = stores.open(address)
    try:
        await ask(address, store.delete_async(path))
    except RemoteError as error:
        if error.reason != "missing":
            raise


async def copy(address: RemoteAddress, to: RemoteAddress, stores: RemoteStores) -> None:
    """Give an object of a bucket a second name in it, where nothing may be, by a copy in the store.

    Raises RemoteError.
    """
    store, path = stores.open(address)
    await ask(address, store.copy_async(path, to.path))


async def pages(prefix: RemoteAddress, stores: RemoteStores) -> AsyncIterator[list[RemoteEntry]]:
    """List what is below a prefix, a page at a time, in the order of the store. Raises RemoteError."""
    if prefix.is_web:
        raise no_listing(prefix)
    store, path = stores.open(prefix)
    stream = store.list(path.strip("/") or None, chunk_size=PAGE)
    while (page := await ask(prefix, anext(stream, None))) is not None:
        yield [_entry(prefix, path.strip("/"), found) for found in page]


def _entry(prefix: RemoteAddress, path: str, found: Any) -> RemoteEntry:
    below = found["path"].removeprefix(path).removeprefix("/")
    return RemoteEntry(prefix.child(below), below, found["size"], found["e_tag"])
