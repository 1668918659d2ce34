"""`asyncsdk serve`: runs the embedded server, to try things out without an account."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from attrs import asdict, frozen
from cyclopts import Group, Parameter

from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Duration, Size, Whole
from asyncsdk.cli.output import complain, is_terminal
from asyncsdk.cli.signals import Stop
from asyncsdk.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncsdk.server import Fault, LocalServer

NEIGHBOUR_SECONDS = 1.0  # for the answer of what is at the port already
CLEANUP_SECONDS = 60.0  # deleting gigabytes of temporary files takes longer than the second that other commands get


_EVENLY = "evenly: a burst above one second's share is refused"
_OPTIONS = {"api_key": "--api-key", "hosts": "--allow-host"}  # the library's names of what was typed


@Parameter(name="*", group=Group("Servers that differ", sort_key=1))
@frozen(kw_only=True)
class ServerDifferences:
    """How the server differs from OpenAI's."""

    requests_per_minute: Annotated[Whole | None, Parameter(metavar="N", help="The rate limit on all calls.")] = None
    parts_in_order: Annotated[bool, Parameter(help="Take parts only in the order in which they came.")] = False
    min_part: Annotated[Size, Parameter(help="The least size of each part but the last.")] = 1
    ignore_md5: Annotated[bool, Parameter(help="Don't compare the md5 of an upload.")] = False
    created_at: Annotated[
        Literal["upload", "complete"], Parameter(help="When a file was created: as its upload, or at complete.")
    ] = "upload"
    documented_tokens: Annotated[bool, Parameter(help="Count tokens by the documented rules of each model.")] = False
    idempotency_header: Annotated[
        str | None, Parameter(metavar="NAME", help="A header whose key makes an edit once.")
    ] = None
    idempotency_seconds: Annotated[Duration | None, Parameter(help="How long such a key is known; else for ever.")] = (
        None
    )
    model_ends: Annotated[
        tuple[str, ...],
        Parameter(name="--model-end", metavar="MODEL=DATE", help="A model, and when it ends, if it does."),
    ] = ()
    processing_seconds: Annotated[
        Duration, Parameter(name="--processing", help="How long a file is not processed yet.")
    ] = 0


@Parameter(name="*")
@frozen(kw_only=True)
class BatchTimes:
    """How long batches take, and how many may wait."""

    batch_seconds: Annotated[Duration, Parameter(help="How long a batch takes at least.")] = 0
    batch_window: Annotated[Duration, Parameter(help="How long a batch may take before it expires.")] = 24 * 3600
    listing_delay: Annotated[Duration, Parameter(help="How long a new batch is not in the list.")] = 0
    batch_tokens: Annotated[
        Whole | None, Parameter(metavar="N", help="The limit on tokens that wait in all batches of a model.")
    ] = None


async def serve(
    *,
    host: Annotated[
        str, Parameter(help="The address to listen on. Other machines can reach any address but the default.")
    ] = "127.0.0.1",
    port: Annotated[Whole, Parameter(metavar="N", help="The port; 0 takes a free one.")] = 8787,
    data: Annotated[
        str | None, Parameter(metavar="DIR", help="Where to keep all data; else it is deleted at the end.")
    ] = None,
    allow_host: Annotated[
        tuple[str, ...], Parameter(metavar="NAME", help="A host name to accept, besides localhost and IP addresses.")
    ] = (),
    api_key: Annotated[
        str | None,
        Parameter(
            metavar="KEY",
            env_var="ASYNCSDK_SERVE_KEY",
            help="The only key to accept; else any. Don't use a real one.",
        ),
    ] = None,
    upload_ttl: Annotated[Duration, Parameter(help="How long an upload may take before it expires.")] = 3600,
    images_per_minute: Annotated[
        Whole | None, Parameter(metavar="N", help=f"The rate limit on input images of edits, {_EVENLY}.")
    ] = None,
    files_per_minute: Annotated[
        Whole | None, Parameter(metavar="N", help=f"The rate limit on files sent by POST /files, {_EVENLY}.")
    ] = None,
    batches: BatchTimes = BatchTimes(),
    faults: Annotated[str | None, Parameter(metavar="FILE", help="JSON: which calls fail, and how.")] = None,
    differences: ServerDifferences = ServerDifferences(),
    stop: Annotated[Stop, Parameter(parse=False)],
) -> int:
    """Run the embedded server until a signal ends it; its first line on standard output is its address."""
    from asyncsdk.server import serve as run
    from asyncsdk.server.browsers import is_loopback

    stop.patience = CLEANUP_SECONDS
    _refuse_file(data)
    server = _made(
        data,
        host=host,
        port=port,
        hosts=allow_host,
        api_key=api_key,
        upload_ttl=upload_ttl,
        images_per_minute=images_per_minute,
        files_per_minute=files_per_minute,
        faults=() if faults is None else read_faults(Path(faults)),
        **asdict(batches),
        **asdict(differences) | {"model_ends": _ends_of(differences)},
    )
    open_to = None if api_key is not None or is_loopback(host) else host
    try:
        await run(server, partial(_announce, key="any-key" if api_key is None else "the-key-you-gave", open_to=open_to))
    except (OSError, RuntimeError) as error:
        reason = await _why_not(error, host, port)
        complain(f"error: can't serve on {host}:{port}{f' from {data}' if data else ''}: {reason}")
    return Exit.FAILED  # it serves until a signal ends it


def _made(data: str | None, **options: Any) -> LocalServer:
    from asyncsdk.server import LocalServer

    try:
        return LocalServer(data, **options)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        raise ConfigurationError(f"{_OPTIONS.get(name, name)} {rest}. Nothing was started.") from error


def _ends_of(differences: ServerDifferences) -> dict[str, str] | None:
    pairs = [each.partition("=") for each in differences.model_ends]
    return {model: day for model, _, day in pairs} or None


def read_faults(path: Path) -> list[Fault]:
    """The faults in a JSON file. Raises ConfigurationError if it can't be read or is not valid."""
    from asyncsdk.server import faults_from_json

    try:
        return faults_from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--faults {path}: {getattr(error, 'strerror', None) or error}. Nothing was started."
        ) from error


def _refuse_file(data: str | None) -> None:
    if data is not None and Path(data).is_file():
        raise ConfigurationError(f"--data {data} is a file: give a directory. Nothing was started.")


async def _why_not(error: OSError | RuntimeError, host: str, port: int) -> str:
    """Why it can't serve, and for a port in use what to do."""
    if not isinstance(error, OSError) or not error.errno:
        return str(error)
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    if error.errno != errno.EADDRINUSE:
        return os.strerror(error.errno)
    is_ours = await _is_asyncsdk(host, port)
    there = f": an asyncsdk server runs at http://{host}:{port}/v1" if is_ours else ""
    return f"{os.strerror(error.errno)}{there}. --port 0 takes a free port."


async def _is_asyncsdk(host: str, port: int) -> bool:
    """Whether another of these servers answers at this address."""
    from asyncsdk.server.app import ORGANIZATION

    try:
        async with asyncio.timeout(NEIGHBOUR_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return f"openai-organization: {ORGANIZATION}".encode() in await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _announce(server: LocalServer, *, key: str, open_to: str | None) -> None:
    from asyncsdk.server.edits.endpoint import can_edit
    from asyncsdk.server.errors import NEEDS_PILLOW

    address: dict[str, Any] = {"url": server.url, "port": server.port}
    print(json.dumps(address), flush=True)  # noqa: T201 - scripts read this line
    if open_to is not None:
        complain(f"warning: everyone who can reach {open_to} can use this server, with any key: set --api-key")
    if not can_edit():
        complain(f"warning: {NEEDS_PILLOW}")
    if is_terminal():
        complain(
            f"Use it with OPENAI_BASE_URL={server.url} OPENAI_API_KEY={key}; watch its calls at "
            f"{server.url.removesuffix('v1')}. Ctrl-C stops it."
        )
