"""`asyncsdk upload FILE...`: checks all files, then sends them with one uploader."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import asdict
from cyclopts import Parameter

from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Connection, Output, ShownAs, UploadOptions
from asyncsdk.cli.output import Out, complain
from asyncsdk.cli.patterns import expand
from asyncsdk.cli.signals import Stop
from asyncsdk.cli.uploads import messages
from asyncsdk.errors import AsyncSDKError, ConfigurationError, InvalidRequestError, SourceError

if TYPE_CHECKING:
    from asyncsdk.cli.uploads.transfer import Listener
    from asyncsdk.uploads.job import UploadJob, UploadResult
    from asyncsdk.uploads.journal import Journal
    from asyncsdk.uploads.uploader import AsyncUploader

IN_MEMORY = "The journal is in memory only: the same command starts from the beginning."
FROM_THE_START = "Without --no-resume the same command goes on."
Files = Annotated[tuple[str, ...], Parameter(name="FILE", help="The files to send: regular files of 1 byte to 8 GiB.")]


async def upload(
    files: Files,
    /,
    *,
    options: UploadOptions,
    connection: Connection = Connection(),  # noqa: B008 - frozen
    output: Output = Output(),  # noqa: B008 - frozen
    progress: ShownAs = "auto",
    stop: Annotated[Stop, Parameter(parse=False)],
) -> int:
    """Check all files, then send them."""
    from asyncsdk.cli.connect import open_client
    from asyncsdk.cli.display import choose
    from asyncsdk.cli.uploads.transfer import Transfer, UploadsView
    from asyncsdk.uploads.concurrency import MOST
    from asyncsdk.uploads.journal.file import open_journal
    from asyncsdk.uploads.uploader import DEFAULT_RETRIES, AsyncUploader

    out, jobs = Out(output, goes_on=True), jobs_of(files, options)
    journal = open_journal(options.journal, lock=not options.no_lock, or_memory=True)
    async with open_client(connection, connections=options.concurrency or MOST) as client:
        uploader = AsyncUploader(
            client,
            journal=journal,
            concurrency=options.concurrency,
            part_size=options.part_size,
            md5=None if options.md5 == "off" else options.md5 or "auto",
            files_per_minute=options.files_per_minute,
            limit_rate=options.limit_rate,
            stall_timeout=options.stall_timeout,
            max_retries=DEFAULT_RETRIES if connection.max_retries is None else connection.max_retries,
        )
        if bad := await check_all(uploader, jobs):
            return refuse(out, jobs, bad)
        warn_of(journal)
        sizes = sizes_of(jobs)
        if not output.quiet and (note := messages.small_files(list(sizes.values()), options.method, options.md5)):
            complain(note)
        display = choose(progress, UploadsView(sizes), quiet=output.quiet, verbose=output.verbose)
        transfer = Transfer(
            out, display, stop, client.clock.now, what_instead(journal, options), renamed=options.filename is not None
        )
        uploads = {name: partial(send, uploader, job) for name, job in jobs.items()}
        return out.code(await transfer.run(uploads, at_once=options.concurrency or MOST))


def jobs_of(files: Sequence[str], options: UploadOptions) -> dict[str, UploadJob]:
    """The jobs by file name, each once. Raises ConfigurationError if the options contradict each other."""
    from asyncsdk.uploads.job import UploadJob

    names = list(dict.fromkeys(expand(files)))
    for option, value in (("--filename", options.filename), ("--key", options.key)):
        if value is not None and len(names) > 1:
            raise ConfigurationError(f"{option} is for one file, but {len(names)} were given. Nothing was sent.")
    return {
        name: UploadJob(
            source=name,
            purpose=options.purpose,
            filename=options.filename,
            mime_type=options.mime_type,
            expires_after=options.expires_after,
            key=options.key,
            if_uploaded=options.if_uploaded,
            on_busy=options.on_busy,
            resume=not options.no_resume,
            method=options.method,
        )
        for name in names
    }


async def check_all(uploader: AsyncUploader, jobs: Mapping[str, UploadJob]) -> dict[str, AsyncSDKError]:
    """The errors by file name; none for files that can be sent."""
    bad: dict[str, AsyncSDKError] = {}
    for name, job in jobs.items():
        try:
            check_source(name, job.purpose)
            await uploader.check(job)
        except (ConfigurationError, InvalidRequestError) as error:
            bad[name] = error
    return bad


def check_source(name: str, purpose: str) -> None:
    """Raise SourceError for a directory or a URL, with what to type instead."""
    is_directory = os.path.isdir(name)  # noqa: PTH112 - which raises nothing
    if problem := messages.no_file(name, purpose, is_directory=is_directory):
        raise SourceError(problem)


def refuse(out: Out, names: Mapping[str, object], bad: Mapping[str, AsyncSDKError]) -> Exit:
    """Report what is wrong; no file is sent."""
    from asyncsdk.cli.uploads import records
    from asyncsdk.cli.uploads.messages import as_typed

    for message in dict.fromkeys(str(error) for error in bad.values()):
        complain(f"error: {as_typed(message)}")
    for name in names:
        error = records.error_of(bad[name]) if name in bad else records.plain_error("NotSent", "another FILE is bad")
        out.record(records.not_uploaded(name, error))
    return Exit.USAGE


def sizes_of(names: Iterable[str]) -> dict[str, int]:
    """The size of each file, in bytes."""
    return {name: Path(name).stat().st_size for name in names}


async def send(uploader: AsyncUploader, job: UploadJob, listener: Listener) -> UploadResult:
    """Upload `job`."""
    return await uploader.upload(**asdict(job, recurse=False), in_turn=True, on_progress=listener)


def warn_of(journal: Journal) -> None:
    """Report, once all files are found good, that no journal is kept though none was declined."""
    from asyncsdk.uploads.journal.memory import MemoryJournal

    if isinstance(journal, MemoryJournal) and journal.instead:
        complain(f"warning: {journal.instead}.")


def what_instead(journal: Journal, options: UploadOptions) -> str:
    """Why the same command would not resume; '' if it would."""
    from asyncsdk.uploads.journal.memory import MemoryJournal

    if isinstance(journal, MemoryJournal):
        return IN_MEMORY
    return FROM_THE_START if options.no_resume else ""
