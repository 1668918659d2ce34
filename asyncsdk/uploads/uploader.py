"""`AsyncUploader`: files go up in parallel parts, and each call goes on where the last one stopped."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal

import anyio
from attrs import define, field

from asyncsdk import api, tasks
from asyncsdk.api import Purpose
from asyncsdk.client import Client
from asyncsdk.errors import AsyncSDKError, ConfigurationError, NotFoundError, UploadNotFoundError
from asyncsdk.http.watch import STALL_SECONDS
from asyncsdk.journal import Cancelled, Expired, Journal, Opened, Owner
from asyncsdk.journal.memory import MemoryJournal
from asyncsdk.journal.setting import open_journal
from asyncsdk.models import Upload
from asyncsdk.threads import Threads
from asyncsdk.uploads.body import Buffers
from asyncsdk.uploads.job import Fields, UploadJob, UploadOutcome, UploadResult
from asyncsdk.uploads.plan import checked_part_size
from asyncsdk.uploads.progress import Meter, Progress, State
from asyncsdk.uploads.resume import recall, upload_key
from asyncsdk.uploads.run import Run, Tools
from asyncsdk.uploads.source import Given, Source, open_source
from asyncsdk.uploads.throttle import Throttle

MOST_CONNECTIONS = 256
Listener = Callable[[Progress], None]


@define(eq=False)
class AsyncUploader:
    """Uploads files of 1 byte to 8 GiB; one uploader serves all tasks of an event loop.

    `concurrency` bounds the parts in flight over all its uploads. `part_size` (bytes, at most 64 MiB, rounded
    up to 512 KiB) is chosen by the file's size where None. `journal` is a directory, "memory", or a `Journal`;
    None means `ASYNCSDK_JOURNAL`, else the user's state directory. `lock=False` does without file locks.
    `md5` is how the digest goes along at complete: "hex", "base64", or None for not at all. `limit_rate` is in
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
    _journal: Journal = field(init=False, repr=False)
    _tools: Tools = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._check_settings()
        self._journal = open_journal(self.journal, lock=self.lock)
        self._tools = Tools(
            client=self.client,
            limiter=anyio.CapacityLimiter(self.concurrency),
            threads=Threads("asyncsdk-read", limit=2 * self.concurrency),
            buffers=Buffers(),
            throttle=Throttle(self.limit_rate),
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
        on_progress: Listener | None = None,
    ) -> UploadResult:
        """Upload `source`: a path, bytes, or a seekable binary file (whole, from its first byte).

        The same call, after a crash too, goes on where it stopped; when the file is there already, it
        answers with it at once (`if_uploaded="again"` sends it anew). `key` is your own name for the content:
        it takes the place of the path, so that another machine's path resumes; bytes and file objects are
        not resumable without one. `expires_after` is the File's life in seconds (1 hour to 30 days). While
        another process sends the same file, the call waits for its result (`on_busy="fail"`: UploadBusyError).
        `resume=False` begins afresh. `on_progress` gets `Progress` snapshots on the loop, ten a second at most.

        Raises SourceError and ConfigurationError before anything is sent; else what `asyncsdk.errors` lists,
        with `resumable` and `progress` set. Cancelled, it leaves within a second and stays resumable.
        """
        job = UploadJob(source, purpose, filename, mime_type, expires_after, key, if_uploaded, on_busy, resume)
        return await self._upload(job, on_progress)

    def upload_many(
        self, jobs: Iterable[UploadJob] | AsyncIterable[UploadJob], *, on_progress: Listener | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[UploadOutcome]]:
        """`async with uploader.upload_many(jobs) as outcomes: async for outcome in outcomes: ...`

        Takes a job from `jobs` when there is room for it, `concurrency` of them at once, and gives outcomes as
        they finish. A job that fails does not stop the others. Leaving the block early cancels what still runs.
        """

        async def run(job: UploadJob) -> UploadOutcome:
            try:
                return UploadOutcome(job=job, result=await self._upload(job, on_progress))
            except AsyncSDKError as error:
                return UploadOutcome(job=job, error=error)

        return tasks.each(jobs, run, at_once=self.concurrency)

    async def check(self, job: UploadJob) -> None:
        """Look at a job without sending anything. Raises SourceError or ConfigurationError if it can't be uploaded."""
        async with self._opened(job) as source:
            job.fields(source.name)

    async def resume(self, key: str, *, on_progress: Listener | None = None) -> UploadResult:
        """Go on with the upload that the journal holds under `key` (32 hex digits), from its path.

        Raises ConfigurationError where the journal holds none such, or not for this server.
        """
        opened = await self._remembered(lambda opened: opened.key == key, key)
        job = UploadJob(opened.source, opened.purpose, opened.filename, opened.mime_type, opened.expires_after)
        return await self._upload(job, on_progress)

    async def cancel(self, upload_id: str) -> Upload:
        """End an upload of this journal on the server, and settle it here.

        Raises ConfigurationError where the journal does not hold it for this server, UploadBusyError while it
        is being sent, UploadNotFoundError where the server does not know it (it is settled here all the same).
        """
        opened = await self._remembered(lambda opened: opened.upload == upload_id, upload_id)
        async with self._journal.claim(opened.key, wait=False) as log:
            try:
                upload = await self.client.send(api.cancel_upload(upload_id))
            except NotFoundError as error:
                await log.settle(Expired(upload=upload_id, reason="not found when it was to be cancelled"))
                raise UploadNotFoundError(f"{upload_id} was gone already: {error}", upload_id=upload_id) from error
            await log.settle(Cancelled(upload=upload_id))
        return upload

    async def _upload(self, job: UploadJob, listener: Listener | None) -> UploadResult:
        began = time.time()
        async with self._opened(job) as source:
            fields = job.fields(source.name)
            place = _place(job, source)
            meter = Meter(job.describe(), source.identity.size, listener)
            journal = self._journal if place else MemoryJournal()
            key = self._key(fields, place or secrets.token_hex(16), source.identity.size)

            def busy(owner: Owner | None) -> None:
                who = f"process {owner.pid} on {owner.host}" if owner else "another process"
                meter.enter(State.WAITING, f"{who} is sending this file")

            try:
                async with journal.claim(key, wait=job.on_busy == "wait", on_busy=busy) as log:
                    run = Run(
                        tools=self._tools,
                        job=job,
                        fields=fields,
                        key=key,
                        place=place or "",
                        source=source,
                        log=log,
                        meter=meter,
                        began=began,
                    )
                    return await run.result()
            except AsyncSDKError as error:
                error.progress = meter.snapshot()
                raise

    @asynccontextmanager
    async def _opened(self, job: UploadJob) -> AsyncIterator[Source]:
        source = await open_source(job.source, self._tools.threads)
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

    async def _remembered(self, wanted: Callable[[Opened], bool], name: str) -> Opened:
        for entry in await self._journal.entries():
            found = recall(entry.records)
            if found is not None and found.opened is not None and wanted(found.opened):
                return self._for_this_server(found.opened)
        raise ConfigurationError(f"the journal holds no upload {name}; see `asyncsdk uploads list`. Nothing was sent.")

    def _for_this_server(self, opened: Opened) -> Opened:
        if opened.base_url != self.client.base_url:
            raise ConfigurationError(
                f"{opened.upload} belongs to {opened.base_url}, this client to {self.client.base_url}."
            )
        return opened

    def _check_settings(self) -> None:
        if not 1 <= self.concurrency <= MOST_CONNECTIONS:
            raise ConfigurationError(f"concurrency={self.concurrency} is not within 1 and {MOST_CONNECTIONS}.")
        if self.md5 not in {"hex", "base64", None}:
            raise ConfigurationError(f"md5={self.md5!r} is not known: 'hex', 'base64' or None.")
        if (self.limit_rate is not None and self.limit_rate <= 0) or self.stall_timeout <= 0 or self.max_retries < 0:
            raise ConfigurationError("limit_rate and stall_timeout must be above 0, max_retries 0 or more.")


def _place(job: UploadJob, source: Source) -> str | None:
    """Where the content will be found again: the caller's name for it, else its real path, else nowhere."""
    return f"key:{job.key}" if job.key else source.place
