"""`AsyncUploader`: files go up in parallel parts, and each call goes on where the last one stopped."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Literal

import anyio
from attrs import define, field, setters

from asyncsdk.api import Purpose
from asyncsdk.client import Client
from asyncsdk.errors import AsyncSDKError, ConfigurationError
from asyncsdk.http.stall import STALL_SECONDS
from asyncsdk.models import Upload
from asyncsdk.threads import Threads
from asyncsdk.uploads.admission import AdmissionQueue, Slot
from asyncsdk.uploads.advice import annotate, without_threads
from asyncsdk.uploads.body import Buffers
from asyncsdk.uploads.chunking import checked_part_size, is_whole, usual_part_size
from asyncsdk.uploads.completing import cancelled
from asyncsdk.uploads.job import Fields, UploadJob, UploadResult
from asyncsdk.uploads.journal import Completing, Journal, Log, Opened, Owner
from asyncsdk.uploads.journal.file import open_journal
from asyncsdk.uploads.journal.memory import MemoryJournal
from asyncsdk.uploads.outcomes import UploadOutcomes
from asyncsdk.uploads.progress import Meter, Progress, SharedThroughput, UploadPhase
from asyncsdk.uploads.response_checks import Ids, Others, others_than
from asyncsdk.uploads.resume import ResumeState, replay, upload_key
from asyncsdk.uploads.run import UploadContext, UploadRun
from asyncsdk.uploads.source import Given, Source, open_source
from asyncsdk.uploads.throttle import Throttle

MOST_CONNECTIONS = 256
Listener = Callable[[Progress], None]
_NOTHING = "Nothing was sent."
_KEYED = "key:"


@define(eq=False, on_setattr=setters.frozen)
class AsyncUploader:
    """Uploads files of 1 byte to 8 GiB; one uploader serves all tasks of an event loop.

    `concurrency` bounds the parts in flight over all its uploads. `part_size` (bytes, at most 64 MiB, rounded
    up to 512 KiB) is chosen by the file's size where None. `journal` is a directory, "memory", or a `Journal`;
    None means `ASYNCSDK_JOURNAL`, else the user's state directory. `lock=False` does without file locks.
    `md5` is how the digest goes along at complete: "hex", "base64", or None, which saves most CPU. `limit_rate` is in
    bytes a second. An attempt is given up when no byte was acknowledged for `stall_timeout` seconds.
    `max_retries` counts per part, and anew whenever the upload progresses.

    Raises ConfigurationError for a setting out of range.
    """

    client: Client
    concurrency: int = field(default=8, kw_only=True)
    part_size: int | None = field(default=None, kw_only=True)
    journal: Journal | str | os.PathLike[str] | None = field(default=None, kw_only=True)
    lock: bool = field(default=True, kw_only=True)
    md5: Literal["hex", "base64"] | None = field(default="hex", kw_only=True)
    limit_rate: float | None = field(default=None, kw_only=True)
    stall_timeout: float = field(default=STALL_SECONDS, kw_only=True)
    max_retries: int = field(default=5, kw_only=True)
    _journal: Journal = field(init=False, repr=False, on_setattr=setters.NO_OP)
    _context: UploadContext = field(init=False, repr=False, on_setattr=setters.NO_OP)
    _shared: SharedThroughput = field(factory=SharedThroughput, init=False, repr=False)
    _queue: AdmissionQueue = field(init=False, repr=False, on_setattr=setters.NO_OP)

    def __attrs_post_init__(self) -> None:
        self._check_settings()
        self._journal = open_journal(self.journal, lock=self.lock)
        self._queue = AdmissionQueue(self.concurrency)
        self._context = UploadContext(
            client=self.client,
            limiter=anyio.CapacityLimiter(self.concurrency),
            readers=Threads("asyncsdk-read", limit=self.concurrency),
            hashers=Threads("asyncsdk-hash", limit=self.concurrency),
            buffers=Buffers(),
            throttle=Throttle(self.limit_rate),
            ids=Ids(),
            part_size=None if self.part_size is None else checked_part_size(self.part_size),
            md5_form=self.md5 or "off",
            stall=self.stall_timeout,
            max_retries=self.max_retries,
        )

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
        in_turn: bool = False,
        on_progress: Listener | None = None,
    ) -> UploadResult:
        """Upload `source`: a path, bytes, or a seekable binary file (whole, from its first byte).

        The same call, after a crash too, goes on where it stopped; when the file is there already, it
        answers with it at once (`if_uploaded="again"` sends it anew). `key` is your own name for the content:
        it takes the place of the path, so that another path with the same journal resumes; bytes and file
        objects are not resumable without one. `expires_after` is the File's life in seconds (1 hour to 30
        days). While another process sends the same file, the call waits for its result (`on_busy="fail"`:
        UploadBusyError). `resume=False` leaves behind what was sent in part. `in_turn` waits until earlier
        uploads of this uploader leave connections free, so that its hour does not begin too soon.
        `on_progress` gets `Progress` snapshots on the loop, ten a second at most.

        Raises SourceError and ConfigurationError before anything is sent; else what `asyncsdk.errors` lists,
        with `resumable`, `bytes_done`, `expires_in` and `advice` set. Cancelled, it leaves within a second and stays
        resumable.
        """
        job = UploadJob(source, purpose, filename, mime_type, expires_after, key, if_uploaded, on_busy, resume)
        return await self._upload(job, self._queue.acquire(in_turn=in_turn), on_progress)

    def upload_many(
        self, jobs: Iterable[UploadJob] | AsyncIterable[UploadJob], *, on_progress: Listener | None = None
    ) -> AbstractAsyncContextManager[UploadOutcomes]:
        """`async with uploader.upload_many(jobs) as outcomes: async for outcome in outcomes: ...`

        Takes at most `concurrency` jobs from `jobs` at once, begins each when those before it leave connections
        free, and gives outcomes as they finish. A job that fails, for whatever reason, does not stop the
        others. Leaving the block early cancels what still runs.
        """
        return UploadOutcomes(partial(self._upload, listener=on_progress), self._queue).over(jobs)

    async def check(self, job: UploadJob) -> None:
        """Look at a job without sending anything. Raises SourceError or ConfigurationError if it can't be uploaded."""
        async with self._opened(job) as source:
            job.fields(source.name)

    async def resume(self, key: str, *, in_turn: bool = False, on_progress: Listener | None = None) -> UploadResult:
        """Go on with the upload that the journal holds under `key` (32 hex digits), from its path.

        Raises ConfigurationError where the journal holds none such, not for this server and project, or only
        by a caller's own `key=`; and where the file has another size now.
        """
        opened = (await self._remembered(lambda found: found.key == key, key)).for_client_of(self.client.settings)
        if opened.source.startswith(_KEYED):
            name = opened.source.removeprefix(_KEYED)
            raise ConfigurationError(f"{opened.upload} has the key {name!r}, no path: call upload with its source.")
        job = UploadJob(opened.source, opened.purpose, opened.filename, opened.mime_type, opened.expires_after)
        return await self._upload(job, self._queue.acquire(in_turn=in_turn), on_progress, expected_key=key)

    async def cancel(self, upload_id: str) -> Upload:
        """End an upload of this journal on the server, and settle it here.

        Args:
            upload_id: The upload.

        Returns:
            The Upload. Its `status` is "cancelled"; or "completed", with its `file`, where it was completed before and
            only the answer was late: then the file is kept, and the upload call returns it.

        Raises:
            ConfigurationError: The journal does not hold it for this server and project, or knows it as completed.
            UploadBusyError: It is being sent.
            UploadNotFoundError: The server does not know it. It is settled here all the same.
            CompletionUnknownError: It may have been completed.
        """
        recalled = await self._remembered(lambda found: found.upload == upload_id, upload_id)
        opened = recalled.for_client_of(self.client.settings)
        async with _claimed(self._journal, opened.key, wait=False) as log:
            return await cancelled(self.client, log, upload_id, self._context.ids)

    async def _upload(
        self,
        job: UploadJob,
        admission: AbstractAsyncContextManager[Slot],
        listener: Listener | None,
        *,
        expected_key: str | None = None,
    ) -> UploadResult:
        began, started, waited_from = time.time(), time.monotonic(), None
        async with admission as slot, self._opened(job) as source:
            fields = job.fields(source.name)
            place = _place(job, source)
            size = source.identity.size
            meter = Meter(job.describe(), size, listener, shared=self._shared)
            journal = self._journal if place else MemoryJournal()
            key = self._key(fields, place or secrets.token_hex(16), size)
            if expected_key not in {None, key}:
                raise ConfigurationError(f"{source.name} has another size than when it began. Nothing was sent.")
            part_size = self._context.part_size or usual_part_size(size, self.concurrency, self.limit_rate)

            def busy(owner: Owner | None) -> None:
                nonlocal waited_from
                waited_from = began
                who = f"process {owner.pid} on {owner.host}" if owner else "another process"
                slot.yield_slot()
                meter.enter(UploadPhase.WAITING, f"{who} is sending this file")

            try:
                slot.begin(meter, part_size)
                async with _claimed(journal, key, wait=job.on_busy == "wait", on_busy=busy) as log:
                    slot.begin(meter, part_size)  # again: the slot may have been yielded
                    run = UploadRun(
                        context=self._context,
                        job=job,
                        fields=fields,
                        key=key,
                        place=place or "",
                        source=source,
                        log=log,
                        meter=meter,
                        waited_from=waited_from,
                        started=started,
                        part_size=part_size,
                        others=partial(self._others, key),
                    )
                    return await run.result()
            except AsyncSDKError as error:
                annotate(error, meter.snapshot(), now=self.client.clock.now(), remembered=place is not None)
                raise

    @asynccontextmanager
    async def _opened(self, job: UploadJob) -> AsyncIterator[Source]:
        with without_threads():
            source = await open_source(job.source, self._context.readers)
        try:
            yield source
        finally:
            source.close()

    def _key(self, fields: Fields, place: str, size: int) -> str:
        settings = self.client.settings
        return upload_key(
            base_url=settings.base_url,
            organization=settings.organization,
            project=settings.project,
            place=place,
            size=size,
            filename=fields.filename,
            mime_type=fields.mime_type,
            purpose=fields.purpose,
            expires_after=fields.expires_after,
        )

    async def _remembered(self, wanted: Callable[[Opened], bool], name: str) -> ResumeState:
        with without_threads():
            entries = await self._journal.entries()
        for entry in entries:
            found = replay(entry.records)
            if found is not None and found.opened is not None and wanted(found.opened):
                return found
        raise ConfigurationError(f"the journal holds no upload {name}; see `asyncsdk uploads list`. Nothing was sent.")

    async def _others(self, key: str, asked: Completing) -> Others:
        return others_than(asked, key, await self._journal.entries(), self._context.ids)

    def _check_settings(self) -> None:
        """Raise ConfigurationError for what is out of range; NaN is in no range."""
        if not (is_whole(self.concurrency) and 1 <= self.concurrency <= MOST_CONNECTIONS):
            raise ConfigurationError(
                f"concurrency is {self.concurrency!r}, and must be a whole number from 1 to {MOST_CONNECTIONS}. "
                f"{_NOTHING}"
            )
        if self.md5 not in {"hex", "base64", None}:
            raise ConfigurationError(f"md5={self.md5!r} is not known: 'hex', 'base64' or None. {_NOTHING}")
        if self.limit_rate is not None and not 0 < self.limit_rate < math.inf:
            raise ConfigurationError(
                f"limit_rate={self.limit_rate!r} is no number of bytes a second above 0. {_NOTHING}"
            )
        if not 0 < self.stall_timeout < math.inf or self.max_retries < 0:
            raise ConfigurationError(f"stall_timeout must be seconds above 0, max_retries 0 or more. {_NOTHING}")


@asynccontextmanager
async def _claimed(
    journal: Journal, key: str, *, wait: bool, on_busy: Callable[[Owner | None], None] | None = None
) -> AsyncIterator[Log]:
    """Own `key` for the length of the block, where a system without threads is an UploadError."""
    with without_threads():
        async with journal.claim(key, wait=wait, on_busy=on_busy) as log:
            yield log


def _place(job: UploadJob, source: Source) -> str | None:
    """Where the content will be found again: the caller's name for it, else its real path, else nowhere."""
    return f"{_KEYED}{job.key}" if job.key else source.place
