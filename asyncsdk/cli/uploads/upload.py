"""`asyncsdk upload SOURCE...`: checks all files, then sends them with one uploader."""

from __future__ import annotations

import itertools
import time
from collections.abc import Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import asdict, evolve
from cyclopts import Parameter

from asyncsdk.cli.options import Connection, Output, ShownAs, UploadOptions
from asyncsdk.cli.output import Out, complain
from asyncsdk.cli.signals import Stop
from asyncsdk.cli.uploads import messages
from asyncsdk.cli.uploads.checks import MANY, LeftOutFiles, check_all, refuse, said_if_slow
from asyncsdk.cli.uploads.standard_input import DASH, standard_input
from asyncsdk.errors import AsyncSDKError, ConfigurationError
from asyncsdk.events import Progress, UploadPhase

if TYPE_CHECKING:
    from asyncsdk.cli.uploads.sources import Selection, UploadSources
    from asyncsdk.cli.uploads.transfer import Listener
    from asyncsdk.client import Client
    from asyncsdk.models import File
    from asyncsdk.remote.stores import RemoteStores
    from asyncsdk.uploads.job import UploadJob, UploadResult
    from asyncsdk.uploads.journal import Journal
    from asyncsdk.uploads.uploader import AsyncUploader

IN_MEMORY = "The journal is in memory only: the same command starts from the beginning."
WITHOUT_KEY = "What comes through a pipe is sent from the beginning again; with --key NAME the same command goes on."
FROM_THE_START = "Without --no-resume the same command goes on."
Sources = Annotated[
    tuple[str, ...],
    Parameter(
        name="SOURCE",
        help="The files to send, of 1 byte to 8 GiB, and directories with such files; - is standard input. Or URLs of "
        "objects in buckets and on web servers, of folders in buckets with a slash at the end.",
    ),
]


async def upload(
    sources: Sources = (),
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
    from asyncsdk.remote.stores import RemoteStores
    from asyncsdk.uploads.journal.file import open_journal
    from asyncsdk.uploads.pacing.concurrency import MOST
    from asyncsdk.uploads.sharing import SharedList, anywhere

    out, began = Out(output, goes_on=True), time.monotonic()
    journal = open_journal(options.journal, lock=not options.no_lock, or_memory=True)
    selection = selection_of(sources, options, apart_from=getattr(journal, "path", None))
    found = await look_for(selection, stores := RemoteStores(), quiet=output.quiet)
    jobs, left_out = jobs_of(found, options), LeftOutFiles(out)
    async with open_client(connection, connections=options.concurrency or MOST) as client:
        uploader = uploader_of(client, journal, stores, options, connection)
        if len(jobs) > MANY and not output.quiet:
            complain(f"Checking {len(jobs):,} files.")
        bad: dict[str, AsyncSDKError] = {}
        if options.split:
            with said_if_slow("Looking through the files, to cut them.", quiet=output.quiet):
                jobs, bad = await split(jobs, options, found)
        bad |= await check_all(uploader, without(jobs, bad), found, quiet=output.quiet)
        if not bad.keys().isdisjoint(found.named):
            return refuse(out, jobs, bad)
        left_out.report(found, bad)
        jobs = without(jobs, bad)
        if not jobs:
            is_filtered = bool(options.include or options.exclude)
            raise ConfigurationError(messages.nothing_to_send([*sources, *options.files_from], is_filtered=is_filtered))
        warn_of(journal)
        sizes = sizes_of(jobs) | {name: size for name, size in found.sizes.items() if name in jobs}
        if not output.quiet and (note := messages.small_files(list(sizes.values()), options.method, options.md5)):
            complain(note)
        view = UploadsView(sizes, titles={DASH: options.filename} if DASH in found.named and options.filename else {})
        display = choose(progress, view, quiet=output.quiet, verbose=output.verbose)
        is_stream = DASH in jobs and jobs[DASH].path() is None
        transfer = Transfer(
            out,
            display,
            stop,
            client.clock.now,
            what_instead(journal, options, is_stream=is_stream),
            renamed=options.filename is not None,
            left_out=left_out.count,
        )
        is_for_once = found.is_one_file or is_stream or options.if_uploaded == "again"  # as for `upload_many`
        if options.on_busy == "wait" and not is_for_once:
            transfer.shared = SharedList(journal)
        send_one = partial(send, uploader, wait=options.wait, since=began, passes_over=transfer.shared.is_shared)
        uploads = {name: partial(send_one, jobs[name]) for name in anywhere(list(jobs), journal)}
        return out.code(await transfer.run(uploads, at_once=options.concurrency or MOST))


def uploader_of(
    client: Client, journal: Journal, stores: RemoteStores, options: UploadOptions, connection: Connection
) -> AsyncUploader:
    """The uploader of a command."""
    from asyncsdk.uploads.uploader import DEFAULT_RETRIES, AsyncUploader

    return AsyncUploader(
        client,
        journal=journal,
        concurrency=options.concurrency,
        part_size=options.part_size,
        md5=None if options.md5 == "off" else options.md5 or "auto",
        files_per_minute=options.files_per_minute,
        limit_rate=options.limit_rate,
        stall_timeout=options.stall_timeout,
        max_retries=DEFAULT_RETRIES if connection.max_retries is None else connection.max_retries,
        remote_options=stores,
    )


def selection_of(sources: Sequence[str], options: UploadOptions, *, apart_from: Path | None) -> Selection:
    """Which files the command line asks for."""
    from asyncsdk.cli.uploads.sources import Selection

    return Selection(
        sources, options.files_from, options.include, options.exclude, options.follow_links, apart_from=apart_from
    )


async def look_for(selection: Selection, stores: RemoteStores, *, quiet: bool) -> UploadSources:
    """The files and objects that a selection names, and those of its directories, listings and lists."""
    from asyncsdk.cli.uploads.sources import look_through, sources_in
    from asyncsdk.files import in_thread

    found = await in_thread(sources_in, selection)
    with said_if_slow(f"Still listing {', '.join(map(str, found.prefixes))}.", quiet=quiet):
        await look_through(found, selection, stores)
    return found


def jobs_of(found: UploadSources, options: UploadOptions) -> dict[str, UploadJob]:
    """The jobs by file name. Raises ConfigurationError if an option is for one file or another method."""
    from asyncsdk.uploads.job import UploadJob

    if options.files_per_minute is not None and options.method == "uploads":
        raise ConfigurationError(
            "--files-per-minute is for files sent by one request: give --method auto or --method files too. "
            "Nothing was sent."
        )
    names = [*found.named, *found.found]
    for option, value in (("--filename", options.filename), ("--key", options.key), ("--size", options.size)):
        takes_folder = option == "--key" and found.is_one_folder
        if value is not None and not (found.is_one_file or takes_folder):
            one = "one file or one directory" if option == "--key" else "one file"
            more = "more" if option == "--key" else "a directory or a list"
            given = f"{more} was given" if found.has_more else f"{len(names)} were given"
            raise ConfigurationError(f"{option} is for {one}, but {given}. Nothing was sent.")
    jobs = {
        name: UploadJob(
            source=(
                standard_input(options.filename) if name == DASH and name in found.named else found.urls.get(name, name)
            ),
            purpose=options.purpose,
            filename=options.filename,
            mime_type=options.mime_type,
            expires_after=options.expires_after,
            key=key_of(name, found, options.key),
            if_uploaded=options.if_uploaded,
            on_busy=options.on_busy,
            resume=not options.no_resume,
            method=options.method,
            check=options.check,
            size=options.size,
        )
        for name in names
    }
    for job in itertools.islice(jobs.values(), 1):
        job.fields("file")  # what is wrong with an option is wrong with it for each file, and said once
    return jobs


def key_of(name: str, found: UploadSources, key: str | None) -> str | None:
    """The key of a file; of one below a directory its path there is part of it, wherever the directory is."""
    below = found.below.get(name)
    return key if key is None or below is None else f"{key}/{below}"


def sizes_of(jobs: Mapping[str, UploadJob]) -> dict[str, int]:
    """The size of each file, in bytes; 0 for one that has gone meanwhile, of which its upload will tell."""
    return {name: job.size or _size(job.path()) for name, job in jobs.items()}


def _size(path: str | None) -> int:
    try:
        return 0 if path is None else Path(path).stat().st_size
    except OSError:
        return 0


async def split(
    jobs: Mapping[str, UploadJob], options: UploadOptions, found: UploadSources
) -> tuple[dict[str, UploadJob], dict[str, AsyncSDKError]]:
    """The jobs with `--split`, and the errors of what can't be sent."""
    from asyncsdk.cli.uploads.splitting import check_options, split_all

    refused = {name: job for name, job in jobs.items() if name in found.refused}
    check_options(without(jobs, refused), options)
    pieces, bad = await split_all(without(jobs, refused), found)
    return {**refused, **pieces}, {**found.refused, **bad}


def without(jobs: Mapping[str, UploadJob], left_out: Container[str]) -> dict[str, UploadJob]:
    """Those of the jobs that are not `left_out`."""
    return {name: job for name, job in jobs.items() if name not in left_out}


async def send(
    uploader: AsyncUploader, job: UploadJob, listener: Listener, *, wait: bool, since: float, passes_over: bool
) -> UploadResult:
    """Upload `job`, which was looked at already, unless it is a stream; with `wait` until it is processed.

    `since` is when the run began; with `passes_over` it does not wait for another process.
    Raises FileProcessingError where it is there, and could not be processed.
    """
    fields = asdict(job, recurse=False)
    if job.path() is not None:
        fields["check"] = "none"
    if passes_over:
        fields["on_busy"] = "fail"
    upload = partial(uploader.upload, **fields, in_turn=True, since=since)
    if not wait:
        return await upload(on_progress=listener)
    latest: list[Progress] = []

    def note(progress: Progress) -> None:
        latest[:] = [progress]
        listener(progress)

    def note_status(file: File) -> None:
        if latest and file.status != "processed":
            listener(evolve(latest[0], state=UploadPhase.WAITING, note="the server is processing it"))

    result = await upload(on_progress=note)
    return evolve(result, file=await uploader.client.wait_for_file(result.file, on_poll=note_status))


def warn_of(journal: Journal) -> None:
    """Report, once all files are found good, that no journal is kept though none was declined."""
    from asyncsdk.uploads.journal.memory import MemoryJournal

    if isinstance(journal, MemoryJournal) and journal.instead:
        complain(f"warning: {journal.instead}.")


def what_instead(journal: Journal, options: UploadOptions, *, is_stream: bool = False) -> str:
    """Why the same command would not resume; '' if it would."""
    from asyncsdk.uploads.journal.memory import MemoryJournal

    if is_stream and options.key is None:
        return WITHOUT_KEY
    if isinstance(journal, MemoryJournal):
        return IN_MEMORY
    return FROM_THE_START if options.no_resume else ""
