"""`asyncsdk files list | show | content | wait | delete | prune`: the files that are stored on the server."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from asyncsdk.cli import units
from asyncsdk.cli.exits import Exit, exit_code_of_all
from asyncsdk.cli.options import Connection, Duration, Output, ShownAs, Size, Whole, from_text
from asyncsdk.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncsdk.models import File

app = App(name="files")

Id = Annotated[str, Parameter(name="ID", help="A file's id: file-…")]


def parse_age(text: str) -> int:
    """Seconds of `30d`, `12h` or `45s`. Nothing that a person may mean otherwise, and that would delete nearly all.

    Raises ValueError for a number alone, which may be meant as days, and for `6m`, which may be meant as months.
    """
    try:
        seconds = units.parse_duration(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an age; use for example 30d, 12h or 45s.") from None
    amount, unit = text.strip()[:-1].strip(), text.strip()[-1]
    if unit.lower() not in "dhs":
        number = amount if unit.isalpha() else text.strip()
        raise ValueError(
            f"{text.strip()} of what? Write {number}d for days, {number}h for hours or {number}s for seconds."
        )
    return seconds


Yes = Annotated[bool, Parameter(help="Delete without asking; needed where there is no terminal.")]
PerMinute = Annotated[Whole | None, Parameter(metavar="N", help="The limit on requests; else learned from the server.")]
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
    from asyncsdk.cli.saving import check_object, check_target, store
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


@app.command
async def wait(
    file_ids: Annotated[tuple[str, ...], Parameter(name="ID", help="The ids of the files: file-…")],
    /,
    *,
    timeout: Annotated[  # noqa: ASYNC109 - an option
        Duration, Parameter(help="How long to wait for each; 30m unless set.", show_default=False)
    ] = 1800,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Wait until the server has processed files. Where one fails, the others are waited for all the same.

    A wrong key, or a server that can't be reached, ends it.
    """
    from asyncsdk import tasks
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.output import Out, complain
    from asyncsdk.cli.uploads import records
    from asyncsdk.cli.uploads.messages import error_text
    from asyncsdk.errors import APIError, AsyncSDKError
    from asyncsdk.file_jobs import AT_ONCE, stops_all
    from asyncsdk.models import File, to_json

    out, errors = Out(output), list[AsyncSDKError | None]()
    async with open_client(connection) as client:

        async def waited(file_id: str) -> tuple[str, File | AsyncSDKError]:
            try:
                return file_id, await client.wait_for_file(file_id, timeout=timeout)
            except AsyncSDKError as error:
                if isinstance(error, APIError) and stops_all(error):
                    raise
                return file_id, error

        async with tasks.map_unordered(dict.fromkeys(file_ids), waited, limit=AT_ONCE) as ended:
            async for file_id, result in ended:
                if isinstance(result, File):
                    errors.append(None)
                    out.result(f"{file_id}: {result.status or 'there'}", record=to_json(result), name=file_id)
                    continue
                errors.append(result)
                complain(f"error: {file_id}: {error_text(result)}")
                out.record({"id": file_id, "object": "file", "error": records.error_of(result)})
    return exit_code_of_all(errors)


@app.command
async def delete(
    file_ids: Annotated[tuple[str, ...], Parameter(name="ID", help="The ids of the files: file-…")],
    /,
    *,
    yes: Yes = False,
    requests_per_minute: PerMinute = None,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Delete files for good. Where one fails, the others are deleted all the same.

    It says how many files and bytes would go, and asks; without a terminal it needs --yes.
    """
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.deletion import Deletion, files_by_id

    ids = list(dict.fromkeys(file_ids))
    async with open_client(connection) as client:
        known = await files_by_id(client)
        deletion = Deletion([known.get(each, each) for each in ids], output, named=True)
        if not deletion.agree(yes=yes):
            return Exit.USAGE
        return await deletion.run(client, "none", requests_per_minute)


@app.command
async def prune(
    *,
    older_than: Annotated[
        int | None,
        Parameter(converter=from_text(parse_age), metavar="TIME", help="Those that were created longer ago: 30d, 12h."),
    ] = None,
    larger_than: Annotated[Size | None, Parameter(help="Those that have more bytes: 1GB.")] = None,
    purpose: Annotated[str | None, Parameter(alias="-p", help="Those for this purpose.")] = None,
    name: Annotated[
        str | None, Parameter(metavar="GLOB", help="Those with such a name: '*.jsonl'; '*' is every file.")
    ] = None,
    dry_run: Annotated[bool, Parameter(help="Only list what would be deleted.")] = False,
    yes: Yes = False,
    requests_per_minute: PerMinute = None,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
    progress: ShownAs = "auto",
) -> int:
    """Delete the files for which all that is given holds. After an interruption the same command goes on.

    It says how many files and bytes would go, and asks; without a terminal it needs --yes.
    """
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.deletion import Deletion
    from asyncsdk.cli.output import Out, complain
    from asyncsdk.file_filter import FileFilter
    from asyncsdk.models import to_json
    from asyncsdk.suggestions import warn_of_near_misses

    if (older_than, larger_than, purpose, name) == (None, None, None, None):
        raise ConfigurationError(
            "which files? Give --older-than, --larger-than, --purpose or --name ('*' is every file). Nothing was sent."
        )
    files = FileFilter(older_than=older_than, larger_than=larger_than, purpose=purpose, name=name)
    warn_of_near_misses({"purpose": purpose})
    async with open_client(connection) as client:
        found = await client.find_files(files)
        deletion = Deletion(found, output, named=False)
        if not found:
            complain("no such files: nothing to delete.")
            return Exit.DONE
        if dry_run:
            out = Out(output)
            out.heading(HEADING)
            for file in found:
                out.result(row(file, now=time.time()), record=to_json(file), name=file.id)
            complain(f"{deletion.what} would be deleted.")
            return Exit.DONE
        if not deletion.agree(yes=yes):
            return Exit.USAGE
        return await deletion.run(client, progress, requests_per_minute)


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
