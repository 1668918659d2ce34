"""`asyncsdk uploads list | show | resume | cancel | prune`: the uploads in the journal."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

from attrs import asdict
from cyclopts import App, Parameter

from asyncsdk.cli.options import Connection, Connections, JournalPlace, Output, Rate, ShownAs
from asyncsdk.cli.output import Out, complain
from asyncsdk.cli.signals import Stop

if TYPE_CHECKING:
    from asyncsdk.cli.uploads.listing import Remembered
    from asyncsdk.cli.uploads.transfer import Listener
    from asyncsdk.uploads.job import UploadResult
    from asyncsdk.uploads.journal import Journal
    from asyncsdk.uploads.uploader import AsyncUploader

app = App(name="uploads")

Id = Annotated[str, Parameter(name="ID", help="The id of an upload, or the beginning of its id or key.")]
Unlocked = Annotated[bool, Parameter(name="--no-lock", help="For a journal on a file system without file locks.")]


@app.command(name="list")
async def list_uploads(*, journal: JournalPlace = None, output: Output = Output()) -> int:  # noqa: B008 - frozen
    """List uploads, oldest first."""
    from asyncsdk.cli.uploads.listing import rows

    uploads = await _remembered(_journal(journal))
    heading, *lines = rows(uploads, now=time.time())
    out = Out(output)
    if uploads:
        out.heading(heading)
    for upload, line in zip(uploads, lines, strict=True):
        out.result(line, record=asdict(upload), name=upload.id)
    return 0


@app.command
async def show(upload_id: Id, /, *, journal: JournalPlace = None, output: Output = Output()) -> int:  # noqa: B008 - frozen
    """Show all that is known about an upload."""
    from asyncsdk.cli.uploads.listing import facts, find

    upload = find(await _remembered(_journal(journal)), upload_id)
    Out(output).result(facts(upload, now=time.time()), record=asdict(upload), name=upload.id)
    return 0


@app.command(usage="Usage: asyncsdk uploads resume [OPTIONS] [ID | --all]")
async def resume(
    upload_id: Annotated[
        str | None, Parameter(name="ID", help="Which upload; may be left out if only one stopped.")
    ] = None,
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", help="All uploads that stopped half-way.")] = False,
    concurrency: Connections = 8,
    limit_rate: Annotated[Rate | None, Parameter(help="At most so fast, over all files: 2MB/s.")] = None,
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
    from asyncsdk.cli.uploads.listing import chosen, names
    from asyncsdk.cli.uploads.transfer import Transfer, UploadsView
    from asyncsdk.uploads.uploader import AsyncUploader

    records = _journal(journal, no_lock=no_lock)
    picked = names(chosen(await _remembered(records), upload_id, every=every))
    if not picked:
        complain("no upload stopped half-way: there is nothing to resume.")
    async with open_client(connection, connections=concurrency) as client:
        uploader = AsyncUploader(client, journal=records, concurrency=concurrency, limit_rate=limit_rate)
        sizes = {name: upload.bytes or 0 for name, upload in picked.items()}
        display = choose(progress, UploadsView(sizes), quiet=output.quiet, verbose=output.verbose)
        uploads = {name: partial(_resume, uploader, upload.id) for name, upload in picked.items()}
        return await Transfer(Out(output), display, stop, client.clock.now).run(uploads, at_once=concurrency)


@app.command
async def cancel(
    upload_id: Id,
    /,
    *,
    journal: JournalPlace = None,
    no_lock: Unlocked = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
) -> int:
    """Cancel an upload on the server, which deletes what was sent of it."""
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.uploads.listing import find
    from asyncsdk.models import to_json
    from asyncsdk.uploads.uploader import AsyncUploader

    records = _journal(journal, no_lock=no_lock)
    async with open_client(connection) as client:
        upload = find(await _remembered(records), upload_id)
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


def _journal(place: str | None, *, no_lock: bool = False) -> Journal:
    from asyncsdk.uploads.journal.file import open_journal

    return open_journal(place, lock=not no_lock)


async def _remembered(journal: Journal) -> list[Remembered]:
    from asyncsdk.cli.uploads.listing import remembered

    return remembered(await journal.entries(), now=time.time())


async def _resume(uploader: AsyncUploader, upload_id: str, listener: Listener) -> UploadResult:
    return await uploader.resume(upload_id, in_turn=True, on_progress=listener)
