"""What a run of either method does: find the File of its source that is there already, hash, and say how it ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from attrs import define, field

from asyncsdk.errors import APIError
from asyncsdk.events import UploadPhase
from asyncsdk.models import File, Upload, from_json
from asyncsdk.retry import Retry
from asyncsdk.uploads.advice import waiting
from asyncsdk.uploads.body import PartSource
from asyncsdk.uploads.checksum import ContentHash, is_known_by_md5_alone
from asyncsdk.uploads.context import UploadContext
from asyncsdk.uploads.job import Fields, UploadJob, UploadResult
from asyncsdk.uploads.journal import Completed, Completing, Log, Opened, Record
from asyncsdk.uploads.pacing.connections import Connections
from asyncsdk.uploads.parts.completing import completed_upload
from asyncsdk.uploads.progress import Meter
from asyncsdk.uploads.response_checks import Content
from asyncsdk.uploads.resuming.moved import KEYED, BeganElsewhereError
from asyncsdk.uploads.resuming.resume import ResumeState, Stage, completed
from asyncsdk.uploads.sources.source import Source
from asyncsdk.uploads.whole.posting import is_posted

log = logging.getLogger(__name__)

MOST_ASKED_FOR = 8  # Files that one source has become, such as those of several accounts


@define(eq=False, kw_only=True)
class SourceRun:
    """One call to `upload`, its source open and its key claimed.

    `waited_from` (local unix time) is since when it waited for another process, None where it did not; `started`
    (monotonic) is when the call began, and `since` when it was asked for, as by `upload_many`. `moved` is the upload to
    go on with where it began at another path: then none is created here. `why` is for the note of one that is created.
    `elsewhere` looks for uploads that may have begun with the file at another path, before it is sent again under a key
    that had others. `digest` is of the source.
    """

    context: UploadContext
    job: UploadJob
    fields: Fields
    key: str
    place: str
    source: Source
    log: Log
    meter: Meter
    waited_from: float | None
    started: float
    since: float
    digest: ContentHash
    moved: Opened | None = None
    why: str = ""
    elsewhere: Callable[[], Awaitable[Sequence[Opened]]] | None = None
    _retry: Retry = field(init=False)
    _recorded: Completing | Completed | None = field(default=None, init=False)  # what was not read again

    def __attrs_post_init__(self) -> None:
        self._retry = Retry(self.context.max_retries, wait_out_outages=True, on_wait=self._waiting())
        self._retry.before_attempt = self.context.connections.may_begin

    @property
    def _records(self) -> list[Record]:
        return records_of(self.log, self.moved)

    @property
    def _content(self) -> Content:
        return Content(self.fields.filename, self.fields.purpose, self.source.identity.size)

    async def there_before(self, recalled: ResumeState | None) -> UploadResult | None:
        """The File that this very version of an object became, of which nothing is read; None if there is none."""
        if not self._knows_version or recalled is None or recalled.stage is not Stage.COMPLETED:
            return None
        with reporting(self.meter, self.context.client.timing.deadline_check):
            return await self._still_there()

    async def _still_there(self) -> UploadResult | None:
        """The newest File made of this source that may be the result: of this content, and seen with this key.

        Another account's File, which two programs with one journal leave side by side, is treated as one that is gone.
        """
        made = completed(self._records)[:MOST_ASKED_FOR]
        if self.job.if_uploaded == "again":
            made = [done for done in made[:1] if self.waited_from is not None and done.at >= self.waited_from]
        for done in made:
            if self.digest.done and not self.digest.matches(done):
                continue
            file = await self._seen(from_json(File, done.file))
            if file is None:
                continue
            if await self._is_of_source(done):
                self.meter.upload_id = done.upload
                self._count_as_there()
                upload = None if is_posted(done.upload) else completed_upload(done.upload, file)
                return self._result(upload, file, reused=True, by_others=self._is_of_this_run(done))
            log.info("%s has changed since it became %s", self.source.name, file.id)
        return None

    async def _start_over(self) -> None:
        """Leave what was counted. Raises BeganElsewhereError where the file may have been moved onto this path."""
        self.meter.start_over()
        if self.elsewhere is not None and (openings := await self.elsewhere()):
            raise BeganElsewhereError(openings)

    async def _seen(self, file: File) -> File | None:
        self.meter.enter(UploadPhase.CHECKING, f"checking whether {file.id} is the same")
        return await self.context.seen.file(file, self._content, self._retry, since=self.since)

    @property
    def _knows_version(self) -> bool:
        """Whether the key is of this very version of an object: what is recorded under it need not be compared."""
        is_keyed_by_it = self.moved is None and not self.place.startswith(KEYED)
        return is_keyed_by_it and self.source.identity.etag is not None

    async def _is_of_source(self, record: Completing | Completed) -> bool:
        """Whether `record` is about the content that the source has now; for that all of it is read."""
        if self._knows_version or self._was_just_sent(record):
            self._recorded = record
            return True
        await self._hash()
        return self.digest.matches(record)

    def _is_of_this_run(self, done: Completed) -> bool:
        """Whether it was uploaded since this run began, as another process does that shares the work."""
        return done.at >= time.time() - (time.monotonic() - self.since)

    def _was_just_sent(self, record: Completing | Completed) -> bool:
        """Whether `record` is of this run, and its file was this one by size and time of change when it was sent.

        Else each of the processes that share a folder would read all of it. What was there before is read, and so is
        another file with a time in whole seconds: an archive gives many files one.
        """
        if self.moved is not None or not isinstance(record, Completed) or not self._is_of_this_run(record):
            return False
        opened = next(
            (each for each in self._records if isinstance(each, Opened) and each.upload == record.upload), None
        )
        identity = self.source.identity
        if opened is None or not self.source.tells_changes or identity.mtime_ns is None:
            return False
        is_this_one = opened.inode == identity.inode or identity.mtime_ns % 1_000_000_000 != 0
        return is_this_one and opened.mtime_ns == identity.mtime_ns

    def _count_as_there(self) -> None:
        self.meter.done = self.meter.resumed = self.source.identity.size

    async def _hash(self) -> None:
        await self.digest.read(self.source, self.context.hashers, self.meter.set_hashed)

    def _part_source(self, source: Source) -> PartSource:
        context = self.context
        return PartSource(
            source,
            context.readers,
            context.buffers,
            context.throttle,
            context.stall,
            self.meter.bytes_moved,
            self.meter.on_our_side,
            context.client.timing.slow_slice,
            self.meter.hold,
        )

    def _waiting(self) -> Callable[[APIError, float], None]:
        # not a method, which a `Retry` would hold with this run, and this run holds the `Retry`
        return partial(_report_wait, self.context.connections, self.meter)

    def _result(
        self,
        upload: Upload | None,
        file: File,
        *,
        reused: bool = False,
        by_others: bool = False,
        duplicates: tuple[str, ...] = (),
    ) -> UploadResult:
        self.meter.enter(UploadPhase.COMPLETED)
        others = [other for other in self.context.unrecorded.pop(self.key, ()) if other != file.id]
        return UploadResult(
            upload=upload,
            file=file,
            md5=self.digest.md5 if self._recorded is None else self._recorded.md5,
            bytes_sent=self.meter.done - self.meter.resumed,
            bytes_resumed=self.meter.resumed,
            reused=reused,
            seconds=time.monotonic() - self.started,
            sending_seconds=self.meter.sending_seconds,
            duplicates=(*duplicates, *others),
            by_others=by_others,
        )


def _report_wait(connections: Connections, meter: Meter, error: APIError, delay: float) -> None:
    connections.failed(error)
    meter.enter(UploadPhase.RETRYING, waiting(error, delay))
    meter.hold(delay)


def records_of(log: Log, moved: Opened | None) -> list[Record]:
    """Those of the upload that began at another path, where there is one: it is not about the others then."""
    return [record for record in log.records if moved is None or record.upload == moved.upload]


def digest_of(source: Source, log: Log, *, with_md5: bool) -> ContentHash:
    """The checksums of `source`, of which nothing is read yet: with md5 also where only that tells it in `log`."""
    wanted = with_md5 or any(map(is_known_by_md5_alone, log.records))
    return ContentHash(source.identity.size, with_md5=wanted, whole=not source.tells_changes)


@contextmanager
def reporting(meter: Meter, every: float) -> Iterator[None]:
    """Let `meter` report while nothing moves, too. By a timer: a task for each of many small files costs more."""
    ticking = _Ticking(meter, every)
    ticking.go_on()
    try:
        yield
    finally:
        ticking.timer.cancel()


@define(eq=False)
class _Ticking:
    _meter: Meter
    _every: float
    timer: asyncio.TimerHandle = field(init=False)

    def go_on(self) -> None:
        self.timer = asyncio.get_running_loop().call_later(self._every, self._tick)

    def _tick(self) -> None:
        self._meter.tick()
        self.go_on()
