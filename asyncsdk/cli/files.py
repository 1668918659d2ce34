"""`asyncsdk files list | show | content | delete`: the files that are stored on the server."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from attrs import define, field
from cyclopts import App, Parameter

from asyncsdk.cli import units
from asyncsdk.cli.options import Connection, Output, Whole
from asyncsdk.errors import APIError, AsyncSDKError, ConfigurationError

if TYPE_CHECKING:
    from asyncsdk.api import Request
    from asyncsdk.client import Client
    from asyncsdk.models import File
    from asyncsdk.remote.address import RemoteAddress
    from asyncsdk.remote.stores import RemoteStores

app = App(name="files")

Id = Annotated[str, Parameter(name="ID", help="A file's id: file-…")]
MOST_ON_A_PAGE = 10_000
_LINE = "{:<27}  {:>9}  {:<13}  {:<12}  {}"
HEADING = _LINE.format("ID", "SIZE", "CREATED", "PURPOSE", "NAME")


@app.command(name="list")
async def list_files(
    *,
    purpose: Annotated[str | None, Parameter(alias="-p", help="Only those for this purpose.")] = None,
    limit: Annotated[Whole | None, Parameter(metavar="N", help="At most N files; else all.")] = None,
    order: Annotated[Literal["asc", "desc"] | None, Parameter(help="By age; desc is the newest first.")] = None,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """List files, the newest first."""
    from asyncsdk import api
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.output import Out, complain
    from asyncsdk.models import to_json
    from asyncsdk.suggestions import warn_of_near_misses

    if limit is not None and limit < 1:
        raise ConfigurationError(f"--limit {limit}: it must be 1 or more. Nothing was sent.")
    out, left, is_first = Out(output), limit, True
    warn_of_near_misses({"purpose": purpose})
    request = api.list_files(purpose=purpose, limit=limit and min(limit, MOST_ON_A_PAGE), order=order)
    async with open_client(connection) as client:
        async for file in client.pages(request):
            if is_first:
                out.heading(HEADING)
            is_first = False
            out.result(row(file, now=time.time()), record=to_json(file), name=file.id)
            left = None if left is None else left - 1
            if left == 0 or out.gone:
                break
    if is_first:
        complain(f"no files{f' for the purpose {purpose!r}' if purpose else ''}.")
    return 0


@app.command
async def show(
    file_id: Id,
    /,
    *,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Show all that the server reports about a file."""
    from asyncsdk import api
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.output import Out
    from asyncsdk.models import to_json

    async with open_client(connection) as client:
        file = await client.send(api.retrieve_file(file_id))
    Out(output).result(facts(to_json(file), now=time.time()), record=to_json(file), name=file.id)
    return 0


@app.command
async def content(
    file_id: Id,
    /,
    *,
    out: Annotated[
        str | None,
        Parameter(
            alias="-o",
            metavar="FILE|URL",
            help="Save it there, or in a bucket: s3://bucket/name; else it goes to standard output.",
        ),
    ] = None,
    overwrite: Annotated[bool, Parameter(help="Replace an existing file.")] = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Fetch the content of a file."""
    from asyncsdk import api
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.output import Out, copy_to_stdout
    from asyncsdk.remote.address import local_path, remote_address
    from asyncsdk.remote.stores import RemoteStores

    stores = RemoteStores()
    if out is None and (output.json or output.quiet):
        raise ConfigurationError(
            "without --out FILE the content goes to standard output: --json and --quiet need --out. Nothing was sent."
        )
    address = None if out is None else remote_address(out)
    if address is not None:
        await check_object(address, stores, overwrite=overwrite)
    elif out is not None:
        check_target(out := local_path(out), overwrite=overwrite)
    request = api.file_content(file_id)
    async with open_client(connection) as client:
        if out is None:
            async with client.stream(request) as chunks:
                await copy_to_stdout(chunks)
            return 0
        try:
            size = await (
                client.download(request, to=out)
                if address is None
                else store(client, request, address, stores, overwrite=overwrite)
            )
        except OSError as error:  # which names a temporary file, or none
            raise OSError(error.errno, f"{error.strerror}. Nothing of {file_id} is left there.", out) from error
    out = out if address is None else address.shown
    line = f"{file_id}: {units.size(size)} saved as {out}"
    Out(output).result(line, record={"id": file_id, "out": out, "bytes": size}, name=file_id)
    return 0


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


@app.command
async def delete(
    file_ids: Annotated[tuple[str, ...], Parameter(name="ID", help="The ids of the files: file-…")],
    /,
    *,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Delete files for good. Where one fails, the others are deleted all the same."""
    from asyncsdk import api
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.exits import exit_code_of_all
    from asyncsdk.cli.output import Out, complain
    from asyncsdk.cli.uploads import records
    from asyncsdk.cli.uploads.messages import error_text
    from asyncsdk.models import to_json

    out, failures = Out(output), list[AsyncSDKError | None]()
    async with open_client(connection) as client:
        for file_id in dict.fromkeys(file_ids):
            try:
                deleted = await client.send(api.delete_file(file_id))
            except APIError as error:
                complain(f"error: {file_id}: {error_text(error)}")
                failure = {"id": file_id, "object": "file", "deleted": False, "error": records.error_of(error)}
                out.record(failure)
                failures.append(error)
                continue
            kept = deleted.deleted is False
            out.result(
                f"{deleted.id}: {'not deleted' if kept else 'deleted'}", record=to_json(deleted), name=deleted.id
            )
            failures.append(AsyncSDKError("not deleted") if kept else None)
    return exit_code_of_all(failures)


def facts(fields: Mapping[str, object], *, now: float) -> str:
    """All fields of a file, a line each, with times as a clock shows them."""
    times = {name: at for name, at in fields.items() if name.endswith("_at") and isinstance(at, int)}
    shown = {**fields, **{name: units.clock_time(at, now=now) for name, at in times.items()}}
    return "\n".join(f"{name}: {value}" for name, value in shown.items() if value is not None)


def row(file: File, *, now: float) -> str:
    """A file on a line: id, size, age, purpose, name."""
    size = "" if file.bytes is None else units.size(file.bytes)
    made = "" if file.created_at is None else units.clock_time(file.created_at, now=now)
    return _LINE.format(file.id, size, made, file.purpose or "", file.filename or "").rstrip()
