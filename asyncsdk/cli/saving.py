"""Where `files content --out` saves: what can't be a file or an object there is refused before anything is fetched."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from asyncsdk.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncsdk.api import Request
    from asyncsdk.client import Client
    from asyncsdk.remote.address import RemoteAddress
    from asyncsdk.remote.stores import RemoteStores


async def check_object(address: RemoteAddress, stores: RemoteStores, *, overwrite: bool) -> None:
    """Raise ConfigurationError unless a file can be put at `address`, before anything is fetched.

    RemoteError where its store can't be reached for now.
    """
    from asyncsdk.errors import RemoteError
    from asyncsdk.remote.failures import before_sending
    from asyncsdk.remote.reading import look

    if address.is_web:
        raise ConfigurationError(
            f"--out {address} is on a web server: give a bucket (s3://, gs://, az://). Nothing was sent."
        )
    if not address.name:
        raise ConfigurationError(f"--out {address} ends like a directory: name an object in it. Nothing was sent.")
    try:
        content = await look(address, stores)
    except RemoteError as error:
        raise before_sending(error, f"--out {address}: ") from None
    if content is not None and not overwrite:
        raise ConfigurationError(f"{address} already exists. Give another --out, or --overwrite. Nothing was sent.")


async def store(
    client: Client, request: Request[bytes], address: RemoteAddress, stores: RemoteStores, *, overwrite: bool
) -> int:
    """Put a response in a bucket as it comes, in parts, and return its size.

    Raises APIError, RemoteError; with the reason "exists" where an object is there by now and `overwrite` is not set.
    """
    from asyncsdk.errors import RemoteError
    from asyncsdk.remote.writing import put, put_new

    async def put_in_parts(chunks: AsyncIterator[bytes]) -> int:
        passing = PassingBytes(chunks)
        try:
            await (put(address, passing, stores) if overwrite else put_new(address, passing, stores))
        except RemoteError:
            if passing.failure is not None:  # it is the API's, and may pass
                raise passing.failure from None
            raise
        return passing.size

    return await client.receive(request, put_in_parts)


@define(eq=False)
class PassingBytes:
    """The bytes of a response on their way to a store: how many, and what broke them off."""

    _chunks: AsyncIterator[bytes]
    size: int = field(default=0, init=False)
    failure: Exception | None = field(default=None, init=False)

    def __aiter__(self) -> PassingBytes:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure = error
            raise
        self.size += len(chunk)
        return chunk


def check_target(out: str, *, overwrite: bool) -> None:
    """Raise ConfigurationError unless a file can be saved as `out`, before anything is fetched."""
    path, problem = Path(out), None
    if not out.strip():
        problem = "--out is empty: name a file. Without --out the content goes to standard output."
    elif path.is_dir() or out.endswith("/"):
        problem = f"--out {out} is a directory: name a file in it."
    elif path.exists() and not path.is_file():
        problem = f"--out {out} is not a regular file. Without --out the content goes to standard output."
    elif os.path.lexists(path) and not overwrite:
        problem = f"{out} already exists. Give another --out, or --overwrite."
    elif not path.parent.is_dir():
        word = "is not a directory" if path.parent.exists() else "does not exist. Make that directory first"
        problem = f"--out {out}: {path.parent} {word}."
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        problem = f"--out {out}: no file can be made in {path.parent} ({os.strerror(why_not_writable(path.parent))})."
    if problem is not None:
        raise ConfigurationError(f"{problem} Nothing was sent.")


def why_not_writable(folder: Path) -> int:
    """The error number of a folder in which nothing can be written: its file system, or its permissions."""
    is_read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
    return errno.EROFS if is_read_only else errno.EACCES
