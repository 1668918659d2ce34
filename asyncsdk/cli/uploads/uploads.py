"""`asyncsdk uploads list | show | resume | cancel | prune`: the uploads in the journal."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import asdict
from cyclopts import App, Parameter

from asyncsdk.cli.options import (
    DEFAULT_STALL,
    Connection,
    Connections,
    JournalPlace,
    Output,
    Rate,
    ShownAs,
    StallTimeout,
)
from asyncsdk.cli.output import Out, complain, show_text, stdout_is_terminal
from asyncsdk.cli.signals import Stop
from asyncsdk.errors import JournalError, SourceError
from asyncsdk.given import shown_as_url

if TYPE_CHECKING:
    from asyncsdk.cli.uploads.listing import Remembered
    from asyncsdk.cli.uploads.transfer import Listener
    from asyncsdk.uploads.job import UploadResult
    from asyncsdk.uploads.journal import Journal
    from asyncsdk.uploads.uploader import AsyncUploader

app = App(name="uploads")

Id = Annotated[
    str | None,
    Parameter(name="ID", help="The id of an upload, or the beginning of its id or key; may be left out if only one."),
]
Unlocked = Annotated[bool, Parameter(name="--no-lock", help="For a journal on a file system without file locks.")]


@app.command(name="list")
async def list_uploads(
    *,
    every: Annotated[
        bool, Parameter(name="--all", help="Also those that are completed, cancelled or expired.")
    ] = False,
    journal: JournalPlace = None,
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """List the uploads that are not finished, oldest first."""
    from asyncsdk.cli.uploads.listing import left_out, unfinished

    remembered = await _all(journal)
    uploads = unfinished(remembered)
    if every:
        uploads += [upload for upload in remembered if upload not in uploads]
    heading, *lines = _table(uploads)
    out = Out(output)
    if uploads:
        out.heading(heading)
    for upload, line in zip(uploads, lines, strict=True):
        out.result(line, record=asdict(upload), name=upload.id)
    if note := _nothing_there(journal) if not remembered else "" if every else left_out(remembered):
        complain(note)
    return 0


@app.command
async def show(upload_id: Id = None, /, *, journal: JournalPlace = None, output: Output = Output()) -> int:  # noqa: B008 - frozen
    """Show all that is known about an upload."""
    from asyncsdk.cli.uploads.listing import facts, only_one, unfinished

    uploads = await _all(journal)
    among = uploads if upload_id is not None else unfinished(uploads) or uploads
    upload = only_one(among, upload_id, verb="show")
    if upload is None:
        complain(_nothing_there(journal))
        return 0
    Out(output).result(facts(upload, now=time.time()), record=asdict(upload), name=upload.id)
    return 0


@app.command(usage="Usage: asyncsdk uploads resume [OPTIONS] [ID [--from NEWPATH] | --all]")
async def resume(
    upload_id: Annotated[
        str | None, Parameter(name="ID", help="Which upload; may be left out if only one stopped.")
    ] = None,
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", help="All uploads that stopped half-way.")] = False,
    source: Annotated[
        str | None,
        Parameter(name="--from", metavar="NEWPATH", help="Where its file is now, if it was moved or renamed."),
    ] = None,
    concurrency: Connections = None,
    limit_rate: Annotated[Rate | None, Parameter(help="At most so fast, over all files: 2MB/s.")] = None,
    stall_timeout: StallTimeout = DEFAULT_STALL,
    journal: JournalPlace = None,
    no_lock: Unlocked = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
    progress: ShownAs = "auto",
    stop: Annotated[Stop, Parameter(parse=False)],
) -> int:
    """Resume uploads that stopped half-way."""
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.display import choose
    from asyncsdk.cli.uploads.listing import chosen, moved, names, nothing_stopped
    from asyncsdk.cli.uploads.transfer import Transfer, UploadsView
    from asyncsdk.uploads.pacing.concurrency import MOST
    from asyncsdk.uploads.uploader import DEFAULT_RETRIES, AsyncUploader

    records = _journal(journal, no_lock=no_lock)
    uploads = await _remembered(records)
    if upload_id is None:
        uploads = _unchanged(uploads) if source is None else _as_large_as(source, uploads)
    if source is None:
        picked = names(chosen(uploads, upload_id, every=every))
    else:
        picked = {shown_as_url(source) or source: moved(uploads, upload_id, every=every)}
    if not picked:
        complain(nothing_stopped(uploads))
    async with open_client(connection, connections=concurrency or MOST) as client:
        uploader = AsyncUploader(
            client,
            journal=records,
            concurrency=concurrency,
            limit_rate=limit_rate,
            stall_timeout=stall_timeout,
            max_retries=DEFAULT_RETRIES if connection.max_retries is None else connection.max_retries,
        )
        sizes = {name: upload.bytes or 0 for name, upload in picked.items()}
        display = choose(progress, UploadsView(sizes), quiet=output.quiet, verbose=output.verbose)
        calls = {name: partial(_resume, uploader, upload, source) for name, upload in picked.items()}
        transfer = Transfer(Out(output), display, stop, client.clock.now, renamed=source is None)
        return await transfer.run(calls, at_once=concurrency or MOST)


@app.command
async def cancel(
    upload_id: Id = None,
    /,
    *,
    journal: JournalPlace = None,
    no_lock: Unlocked = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Cancel an upload on the server, which deletes what was sent of it."""
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.uploads.listing import only_one, unfinished
    from asyncsdk.models import to_json
    from asyncsdk.uploads.uploader import AsyncUploader

    records = _journal(journal, no_lock=no_lock)
    async with open_client(connection) as client:
        uploads = await _remembered(records)
        upload = only_one(uploads if upload_id is not None else unfinished(uploads), upload_id, verb="cancel")
        if upload is None:
            complain("no upload is under way: there is nothing to cancel.")
            return 0
        ended = await AsyncUploader(client, journal=records).cancel(upload.id)
    Out(output).result(f"{ended.id}: {ended.status or 'cancelled'}", record=to_json(ended), name=ended.id)
    return 0


@app.command
async def prune(*, journal: JournalPlace = None, no_lock: Unlocked = False, output: Output = Output()) -> int:  # noqa: B008 - frozen
    """Remove from the journal uploads that expired a day ago or were completed 30 days ago."""
    from asyncsdk.cli.units import counted

    records = _journal(journal, no_lock=no_lock)
    before = await _remembered(records)
    await records.purge()  # its count includes keys under which nothing was ever sent
    left = {upload.key for upload in await _remembered(records)}
    gone = [upload for upload in before if upload.key not in left]
    details = "".join(f"\n  {upload.id}  {upload.state}  {upload.source or ''}".rstrip() for upload in gone)
    record = {"forgotten": len(gone), "ids": [upload.id for upload in gone]}
    Out(output).result(
        f"{counted(len(gone), 'upload')} removed from the journal{':' if gone else ''}{details}",
        record=record,
        name=None,
    )
    return 0


@app.command
async def schema() -> int:
    """Print the SQL that makes the tables of a journal in Postgres, for users who may not create them."""
    from asyncsdk.postgres.faults import VERSION
    from asyncsdk.postgres.statements import schema_script

    show_text(schema_script(VERSION))
    return 0


def _journal(place: str | None, *, no_lock: bool = False) -> Journal:
    from asyncsdk.uploads.journal.file import open_journal

    return open_journal(place, lock=not no_lock)


def _table(uploads: list[Remembered]) -> list[str]:
    from asyncsdk.cli.uploads.listing import rows

    if not stdout_is_terminal():
        return rows(uploads, now=time.time())
    from shutil import get_terminal_size

    from asyncsdk.cli.uploads.bars import shortened  # loads rich

    return rows(uploads, now=time.time(), width=get_terminal_size().columns, shorten=shortened)


async def _all(place: str | None) -> list[Remembered]:
    """What the journal remembers; nothing where none can be kept and none was named."""
    try:
        return await _remembered(_journal(place))
    except JournalError:
        if _not_kept(place):
            return []
        raise


def _nothing_there(place: str | None) -> str:
    from asyncsdk.cli.uploads.listing import NOTHING_THERE

    return _not_kept(place) or NOTHING_THERE


def _not_kept(place: str | None) -> str:
    """That no journal can be kept in the user's directory; '' where one can, or another was named."""
    from asyncsdk.uploads.journal.file import open_journal
    from asyncsdk.uploads.journal.memory import MemoryJournal
    from asyncsdk.uploads.journal.messages import NOT_RESUMED

    journal = open_journal(place, or_memory=True)
    if not (isinstance(journal, MemoryJournal) and journal.instead):
        return ""
    where = journal.instead.removesuffix(f": {NOT_RESUMED}")
    return f"{where}, so no upload is remembered. Set ASYNCSDK_JOURNAL to a directory that can be written."


async def _remembered(journal: Journal) -> list[Remembered]:
    from asyncsdk.cli.uploads.listing import oldest_first, remembered
    from asyncsdk.uploads.resuming.search import each_entry

    now = time.time()
    found = [
        upload async for entry in each_entry(journal) for upload in remembered([entry], now=now)
    ]  # not the records
    return oldest_first(found)


def _unchanged(uploads: list[Remembered]) -> list[Remembered]:
    """Without those whose file has another size than when they stopped, each of which is reported."""
    from asyncsdk.cli.uploads.listing import changed_since

    kept: list[Remembered] = []
    for upload in uploads:
        size = _size_of(str(upload.source)) if upload.stopped and upload.is_from_a_path else None
        if size in {None, upload.bytes}:
            kept.append(upload)
        else:
            complain(changed_since(upload, size or 0))
    return kept


def _as_large_as(source: str, uploads: list[Remembered]) -> list[Remembered]:
    """Those that may be of this file, by its size; all if there are none."""
    size = _size_of(source)
    return [upload for upload in uploads if upload.bytes == size] or uploads


def _size_of(path: str) -> int | None:
    """Its bytes; None where no such file can be seen."""
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return None


async def _resume(uploader: AsyncUploader, upload: Remembered, source: str | None, listener: Listener) -> UploadResult:
    try:
        return await uploader.resume(upload.id, source=source, in_turn=True, on_progress=listener)
    except SourceError as error:
        if source is not None or _size_of(str(upload.source)) is not None:
            raise
        raise SourceError(f"{error}\n  moved? asyncsdk uploads resume {upload.id} --from NEWPATH") from error
