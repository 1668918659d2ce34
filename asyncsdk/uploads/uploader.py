"""`AsyncUploader`: uploads files in parallel parts; each call continues where the last one stopped."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Literal

from attrs import define, evolve, field, setters

from asyncsdk.api import Purpose
from asyncsdk.client import Client
from asyncsdk.errors import AsyncSDKError, ConfigurationError
from asyncsdk.given import wrong_type
from asyncsdk.limiter import RateLimiter
from asyncsdk.loops import PerLoop
from asyncsdk.models import Upload
from asyncsdk.ratelimit import FILE_REQUESTS
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.timing import STALL_SECONDS
from asyncsdk.uploads import opening
from asyncsdk.uploads.advice import when_closed, without_threads
from asyncsdk.uploads.body import Buffers
from asyncsdk.uploads.call import SMALL_BYTES, UploadCall, claimed
from asyncsdk.uploads.chunking import checked_part_size, usual_part_size
from asyncsdk.uploads.context import UploadContext
from asyncsdk.uploads.job import UploadJob, UploadResult
from asyncsdk.uploads.journal import Completing, Journal, Opened, Posting
from asyncsdk.uploads.journal.file import open_journal
from asyncsdk.uploads.jsonl.rules import Depth
from asyncsdk.uploads.listening import Listener, check_listener, reporting
from asyncsdk.uploads.listing.seen import SeenFiles
from asyncsdk.uploads.method import SINGLE_REQUEST, UploadMethod, checked_single_request
from asyncsdk.uploads.outcomes import UploadOutcomes, check_jobs
from asyncsdk.uploads.pacing.admission import AdmissionQueue, Slot
from asyncsdk.uploads.pacing.concurrency import MOST, START, ConnectionCount
from asyncsdk.uploads.pacing.connections import Connections
from asyncsdk.uploads.pacing.throttle import Throttle
from asyncsdk.uploads.parts.completing import cancelled
from asyncsdk.uploads.progress import Meter, SharedThroughput
from asyncsdk.uploads.response_checks import Ids, Others, others_than
from asyncsdk.uploads.resuming.moved import KEYED
from asyncsdk.uploads.resuming.resume import ResumeState
from asyncsdk.uploads.resuming.search import MovedFiles, entries_with, file_ids_in, state_of
from asyncsdk.uploads.settings import check_settings
from asyncsdk.uploads.sharing import SharedList
from asyncsdk.uploads.sources.source import Given
from asyncsdk.uploads.sources.spool import spool_directory
from asyncsdk.uploads.sources.stream_source import PartMemory
from asyncsdk.uploads.whole.lost import LostFiles

DEFAULT_RETRIES = 5
MOST_STREAMS = 256  # of files that can't seek: each may keep a thread waiting for as long as it likes


@define(eq=False, on_setattr=setters.frozen)
class AsyncUploader:
    """Uploads files of 1 byte to 8 GiB; one uploader serves all tasks of an event loop.

    As its client, it works on one event loop at a time, and on the next one once that is closed.

    Args:
        client: Sends the requests.
        concurrency: How many parts may be in flight at once (1 to 256), over all uploads of this uploader. None: as
            many as pay on this line, 4 to 32, which it learns while it sends.
        part_size: Bytes of a part, at most 64 MiB, rounded up to 512 KiB. None: chosen by the file's size.
        journal: Where uploads are remembered: a directory, "memory", "postgresql://…", or a `Journal`. None: that in
            `ASYNCSDK_JOURNAL`, else one in the user's state directory; where none can be kept there, one in memory for
            the whole process, with a warning.
        lock: False: use no file locks, for file systems that have none.
        md5: The form in which the digest is sent with complete. "auto" is "hex", and lets `method="auto"` send small
            files by one request, of which the API checks no digest: it is computed and kept all the same. None: compute
            none, which saves most of the CPU time, but for files that are sent by one request.
        limit_rate: Bytes a second at most, over all uploads of this uploader. None: no limit.
        stall_timeout: An attempt fails when no byte was acknowledged for that many seconds.
        max_retries: How often a request is retried. The count starts again whenever the upload progresses.
        single_request_up_to: The largest file that `method="auto"` sends by one request, in bytes: at most 512 MiB.
        files_per_minute: The limit on POST /files. None: learned from the server's refusals; OpenAI's is 1,000.
        remote_options: For sources that are URLs: what `obstore.store.from_url` takes besides the URL, such as
            `region`, `endpoint`, `client_options`, `retry_config` and `credential_provider`. It is in no journal, log
            and error.

    Raises:
        ConfigurationError: A setting is out of range.
        TypeError: `client` is not a Client.
    """

    client: Client
    concurrency: int | None = field(default=None, kw_only=True)
    part_size: int | None = field(default=None, kw_only=True)
    journal: Journal | str | os.PathLike[str] | None = field(default=None, kw_only=True)
    lock: bool = field(default=True, kw_only=True)
    md5: Literal["auto", "hex", "base64"] | None = field(default="auto", kw_only=True)
    limit_rate: float | None = field(default=None, kw_only=True)
    stall_timeout: float = field(default=STALL_SECONDS, kw_only=True)
    max_retries: int = field(default=DEFAULT_RETRIES, kw_only=True)
    single_request_up_to: int = field(default=SINGLE_REQUEST, kw_only=True)
    files_per_minute: float | None = field(default=None, kw_only=True)
    remote_options: Mapping[str, Any] | RemoteStores | None = field(default=None, kw_only=True, repr=False)
    _journal: Journal = field(init=False, repr=False, on_setattr=setters.NO_OP)
    _contexts: PerLoop[UploadContext] = field(init=False, repr=False, on_setattr=setters.NO_OP)
    _count: ConnectionCount = field(factory=ConnectionCount, init=False, repr=False, on_setattr=setters.NO_OP)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.client, Client):
            raise wrong_type("the client of an AsyncUploader", self.client, "a Client")
        check_settings(
            concurrency=self.concurrency,
            md5=self.md5,
            limit_rate=self.limit_rate,
            stall_timeout=self.stall_timeout,
            max_retries=self.max_retries,
        )
        RemoteStores.of(self.remote_options)  # raises TypeError now, not at the first upload
        self._journal = open_journal(self.journal, lock=self.lock, or_memory=True)
        timing = self.client.timing
        shared = partial(
            UploadContext,
            client=self.client,
            readers=DaemonThreadPool("asyncsdk-read", limit=self._most, idle=timing.thread_idle),
            hashers=DaemonThreadPool("asyncsdk-hash", limit=self._most, idle=timing.thread_idle),
            stream_readers=DaemonThreadPool("asyncsdk-stream", limit=MOST_STREAMS, idle=timing.thread_idle),
            buffers=Buffers(),
            spool=spool_directory(self._journal),
            throttle=Throttle(self.limit_rate),
            ids=Ids(),
            part_size=None if self.part_size is None else checked_part_size(self.part_size),
            md5_form="hex" if self.md5 == "auto" else self.md5 or "off",
            md5_is_asked=self.md5 in {"hex", "base64"},
            single_request_up_to=checked_single_request(self.single_request_up_to),
            stall=self.stall_timeout,
            max_retries=self.max_retries,
        )

        def on_a_loop() -> UploadContext:
            queue = AdmissionQueue(self._most, timing.admission_poll)
            return shared(
                connections=Connections(SharedThroughput(), queue, self.concurrency, self._count),
                queue=queue,
                moved_files=MovedFiles(self._journal),
                seen=SeenFiles(self.client),
                lost_files=LostFiles(self.client),
                limiter=RateLimiter(FILE_REQUESTS, self.files_per_minute),
                stream_memory=PartMemory(),
                stores=RemoteStores.of(self.remote_options),
            )

        FILE_REQUESTS.checked(self.files_per_minute)
        self._contexts = PerLoop("AsyncUploader", on_a_loop)

    @property
    def _most(self) -> int:
        """How many parts may ever be in flight."""
        return MOST if self.concurrency is None else self.concurrency

    @property
    def _context(self) -> UploadContext:
        return self._contexts.get()

    async def upload(
        self,
        source: Given,
        *,
        purpose: Purpose,
        filename: str | None = None,
        mime_type: str | None = None,
        expires_after: int | Mapping[str, Any] | None = None,
        key: str | None = None,
        if_uploaded: Literal["reuse", "again"] = "reuse",
        on_busy: Literal["wait", "fail"] = "wait",
        resume: bool = True,
        method: UploadMethod | None = None,
        check: Depth = "ends",
        size: int | None = None,
        in_turn: bool = False,
        since: float | None = None,
        on_progress: Listener | None = None,
    ) -> UploadResult:
        """Upload a file. The same call, after a crash too, continues where it stopped.

        Cancelled, it returns within a second and stays resumable.

        Args:
            source: A path, bytes, a seekable binary file, which is uploaded whole, a stream, or a URL: see `UploadJob`.
            purpose: What the File is for, such as "batch".
            filename: The File's name. None: the source's own; a stream without one needs it.
            mime_type: None: by the suffix of the filename.
            expires_after: The File's life in seconds (3,600 to 2,592,000), or a mapping in the API's own form.
            key: Your name for the content, used instead of the path: with it another path resumes, and so do bytes,
                file objects and streams, which don't without one. The filename has to be the same.
            if_uploaded: Where the file is on the server already: "reuse" returns it at once, "again" sends it again.
            on_busy: While another process sends the same file: "wait" for its result, or "fail".
            resume: False: start again, and leave behind what was sent in part.
            method: "uploads", as None: through the Uploads API, in parts that resume and are checked by a digest.
                "files": by one request (POST /files) in place of three, for files up to 512 MiB; after a failure all of
                it is sent again. "auto": by one request up to `single_request_up_to`, while the rate limit lets it,
                and unless `md5` is "hex" or "base64". An upload that is open goes on as it began.
            check: How much of a `.jsonl` for fine-tuning or a batch is looked at before it is sent, for what the API
                would refuse only later: "none" of it, its "ends" (the first MiB and the last line), or "full".
            size: The bytes of a stream, which is then sent as it comes, from memory. Without it, or to be sent by one
                request or looked at, it is first written to a file in the journal's directory, or `ASYNCSDK_SPOOL`.
            in_turn: Wait until earlier uploads leave connections free, so that the server's hour begins late enough.
            since: When the run that it is one of began (`time.monotonic()`); None: now. See `UploadResult.by_others`.
            on_progress: Called on the event loop with `Progress` snapshots, ten a second at most. An async function is
                awaited beside the upload, one call at a time: the next gets the newest snapshot, and the last one is
                awaited before this returns, for 5 seconds at most. What it raises is logged, and it is called again.

        Returns:
            The File, and how it was uploaded.

        Raises:
            SourceError: The source can't be uploaded. Nothing was sent.
            ConfigurationError: An argument is wrong. Nothing was sent.
            UploadBusyError: Another process sends the file, and `on_busy` is "fail".
            CompletionUnknownError: A response was lost, and whether a File was made can't be known. Call it again.
            AsyncSDKError: Any other, with `resumable`, `bytes_done`, `expires_in` (seconds) and `advice` set.
        """
        fields = source, purpose, filename, mime_type, expires_after, key, if_uploaded, on_busy, resume, method
        job = UploadJob(*fields, check=check, size=size)
        return await self._upload(job, partial(self._context.queue.enter, in_turn=in_turn), on_progress, since=since)

    def upload_many(
        self, jobs: Iterable[UploadJob] | AsyncIterable[UploadJob], *, on_progress: Listener | None = None
    ) -> AbstractAsyncContextManager[UploadOutcomes]:
        """Upload many files: `async with uploader.upload_many(jobs) as outcomes: async for outcome in outcomes: ...`

        Each upload begins when those before it leave connections free. A job that fails, for whatever reason, does
        not stop the others. Leaving the block early cancels what still runs. What another process is sending is passed
        over and comes again later, so that several processes may share the same jobs.

        Args:
            jobs: The jobs, which may be endless: at most `concurrency` are taken at a time, 32 where that is None.
            on_progress: As for `upload`, for each upload on its own: calls of an async one for two uploads may overlap.

        Returns:
            A context manager that gives `UploadOutcomes`: an async iterator over the outcomes as the uploads end, with
            `counts`, `waiting`, `stop()` and `abandoned`.

        Raises:
            TypeError: `jobs` are not UploadJobs: at once for a list or tuple, else when that job is reached.
        """
        check_jobs(jobs)
        check_listener(on_progress)
        return self._uploading(jobs, on_progress)

    @asynccontextmanager
    async def _uploading(
        self, jobs: Iterable[UploadJob] | AsyncIterable[UploadJob], listener: Listener | None
    ) -> AsyncIterator[UploadOutcomes]:
        uploaded = partial(self._upload, listener=listener, default="auto", since=time.monotonic())
        shared = SharedList[UploadJob](self._journal)
        async with UploadOutcomes(uploaded, self._context.queue, shared).over(jobs) as outcomes:
            yield outcomes

    async def check(self, job: UploadJob) -> None:
        """Check a job without sending anything.

        Args:
            job: The job.

        Raises:
            SourceError: Its source can't be uploaded.
            ConfigurationError: A field of it is wrong.
        """
        await opening.check(job, self._context)

    async def resume(
        self,
        upload_id: str,
        *,
        source: Given | None = None,
        in_turn: bool = False,
        on_progress: Listener | None = None,
    ) -> UploadResult:
        """Continue an upload of this journal, from its path or from where the file is now.

        Args:
            upload_id: The upload.
            source: Where the file is now, if it was renamed or moved. Its content decides whether it is the one, and it
                keeps the filename that the server has.
            in_turn: As for `upload`.
            on_progress: As for `upload`.

        Returns:
            As `upload`.

        Raises:
            ConfigurationError: The journal does not hold it for this server and project, or holds it under a caller's
                own `key=` and `source` is not given; or the file is another one. Nothing was sent.
            AsyncSDKError: As `upload`.
        """
        opened = (await self._state_of(upload_id)).for_client_of(self.client.settings)
        key = opened.source.removeprefix(KEYED) if opened.source.startswith(KEYED) else None
        if source is None and key is not None:
            raise ConfigurationError(f"{upload_id} has the key {key!r}, not a path: call upload with its source.")
        place = opened.source if source is None else source
        fields = place, opened.purpose, opened.filename, opened.mime_type, opened.expires_after, key
        job = UploadJob(*fields, check="none")  # it was looked at when it began
        if isinstance(opened, Posting):
            job = evolve(job, method="files")
        admit = partial(self._context.queue.enter, in_turn=in_turn)
        if source is None:
            return await self._upload(job, admit, on_progress, expected=opened)
        return await self._upload(job, admit, on_progress, earlier=opened)

    async def cancel(self, upload_id: str) -> Upload:
        """End an upload of this journal on the server, and settle it here.

        Args:
            upload_id: The upload.

        Returns:
            The Upload. Its `status` is "cancelled"; or "completed", with its `file`, where it was completed before and
            only the answer was late: then the file is kept, and the upload call returns it.

        Raises:
            ConfigurationError: The journal does not hold it for this server and project, or knows it as completed; or
                the file was sent by one request, which can't be cancelled.
            UploadBusyError: It is being sent.
            UploadNotFoundError: The server does not know it. It is settled here all the same.
            CompletionUnknownError: It may have been completed.
        """
        opened = (await self._state_of(upload_id)).for_client_of(self.client.settings)
        with without_threads():
            async with claimed(self._journal, opened.key, wait=False, small=opened.bytes <= SMALL_BYTES) as log:
                return await cancelled(self.client, log, upload_id, self._context.ids)

    async def _upload(
        self,
        job: UploadJob,
        admit: Callable[[], Awaitable[Slot]],
        listener: Listener | None,
        *,
        expected: Opened | None = None,
        earlier: Opened | None = None,
        default: UploadMethod = "uploads",
        since: float | None = None,
    ) -> UploadResult:
        """Upload one. `since` (monotonic) is when it was asked for, where that was before now."""
        began, started, was_closed = time.time(), time.monotonic(), self.client.is_closed()
        context, interval = self._context, self.client.timing.report_interval
        async with reporting(listener, patience=self.client.timing.last_report) as report:
            slot = await admit()
            try:
                method = job.method or default
                source = await opening.opened(job, context, method, slot, report, is_compared=earlier is not None)
                try:
                    size, shared = source.identity.size, context.connections.shared
                    part_size = context.part_size or usual_part_size(size, self.concurrency or START, self.limit_rate)
                    call = UploadCall(
                        context=context,
                        journal=self._journal,
                        job=job,
                        fields=job.fields(source.name),
                        source=source,
                        meter=Meter(job.describe(), size, report, shared=shared, report_interval=interval),
                        slot=slot,
                        part_size=part_size,
                        method=method,
                        others=self._others,
                        taken=partial(file_ids_in, self._journal),
                        began=began,
                        started=started,
                        since=started if since is None else since,
                    )
                    if expected is not None:
                        call.check_is(expected)
                    return await self._result_of(call, earlier, was_closed=was_closed)
                finally:
                    await opening.let_go(source)
            finally:
                context.queue.leave(slot)

    async def _result_of(self, call: UploadCall, earlier: Opened | None, *, was_closed: bool) -> UploadResult:
        """The result of `call`. An error says how far it was."""
        remembered = earlier is not None or call.place is not None
        try:
            with without_threads():
                return await (call.result() if earlier is None else call.result_of(earlier))
        except AsyncSDKError as error:
            failure = when_closed(error) if self.client.is_closed() and not was_closed else error
            call.annotate(failure, remembered=remembered)
            if failure is error:
                raise
            raise failure from error

    async def _state_of(self, upload_id: str) -> ResumeState:
        with without_threads():
            return await state_of(self._journal, upload_id)

    async def _others(self, key: str, asked: Completing, about: Collection[str | int]) -> Others:
        entries = await entries_with(self._journal, [asked.upload, *about])
        return others_than(asked, key, entries, self._context.ids)
