"""One call to `upload`: under which key of the journal it runs, its own or that of the path where the file was."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

from attrs import define, evolve, field

from asyncsdk.counts import counted
from asyncsdk.errors import AsyncSDKError, ConfigurationError, StorageError, UploadBusyError
from asyncsdk.events import UploadPhase
from asyncsdk.given import unpacked
from asyncsdk.uploads.advice import annotate
from asyncsdk.uploads.chunking import MIB
from asyncsdk.uploads.context import UploadContext
from asyncsdk.uploads.job import Fields, UploadJob, UploadResult
from asyncsdk.uploads.journal import Completing, Journal, Log, Opened, Owner, takes_small
from asyncsdk.uploads.journal.memory import MemoryJournal
from asyncsdk.uploads.jsonl.inspection import inspect, is_looked_at
from asyncsdk.uploads.method import UploadMethod, choose, goes_on
from asyncsdk.uploads.pacing.admission import Slot
from asyncsdk.uploads.parts.run import UploadRun
from asyncsdk.uploads.parts.stream_run import StreamRun
from asyncsdk.uploads.progress import Meter
from asyncsdk.uploads.response_checks import Others
from asyncsdk.uploads.resuming.moved import (
    KEYED,
    BeganElsewhereError,
    MovedSource,
    NothingToResumeError,
    OtherContentError,
    named_otherwise,
    sent_otherwise,
)
from asyncsdk.uploads.resuming.resume import ResumeState, Stage, replay, upload_key
from asyncsdk.uploads.reuse import digest_of, records_of
from asyncsdk.uploads.sources.remote_source import RemoteSource
from asyncsdk.uploads.sources.source import Source, is_read_once
from asyncsdk.uploads.sources.stream_source import StreamSource
from asyncsdk.uploads.whole.file_run import FileRun
from asyncsdk.uploads.whole.lost import AsksTaken
from asyncsdk.wal import name_of

SILENT_LOOK = 1.0  # seconds after which a person wants to know what is waited for
SMALL_BYTES = 8 * MIB  # of a file that goes as one part and so has few records

log = logging.getLogger(__name__)


@define(eq=False, kw_only=True)
class UploadCall:
    """`others` asks what is known of other uploads than a key's, `taken` which files the journal knows.

    `began` is local unix time, `started` monotonic; `since` (monotonic) is when it was asked for, as by `upload_many`.
    """

    context: UploadContext
    journal: Journal
    job: UploadJob
    fields: Fields
    source: Source
    meter: Meter
    slot: Slot
    part_size: int
    method: UploadMethod
    others: Callable[[str, Completing, Collection[str | int]], Awaitable[Others]]
    taken: AsksTaken
    began: float
    started: float
    since: float
    _waited_from: float | None = field(default=None, init=False)
    _may_be_twice: bool = field(default=False, init=False)  # what this call sends, under whichever key
    _run: UploadRun | None = field(default=None, init=False)
    _log: Log | None = field(default=None, init=False)  # of the key that was claimed last

    @property
    def place(self) -> str | None:
        """Where the content can be found again."""
        return f"{KEYED}{self.job.key}" if self.job.key else self.source.place

    @property
    def key(self) -> str:
        """The call's own key."""
        settings = self.context.client.settings
        return upload_key(
            base_url=settings.base_url,
            organization=settings.organization,
            project=settings.project,
            place=self.place or secrets.token_hex(16),
            size=self.source.identity.size,
            filename=self.fields.filename,
            mime_type=self.fields.mime_type,
            purpose=self.fields.purpose,
            expires_after=self.fields.expires_after,
            etag=None if self.job.key else self.source.identity.etag,
        )

    async def result(self) -> UploadResult:
        """Upload under the own key; where nothing of it is there, go on with what began when it was elsewhere."""
        journal, key, why = self.journal if self.place else MemoryJournal(), self.key, ""
        async with self._claimed(journal, key) as records:
            moved, is_new = self._moved_source(), not records.records
            earlier = await self._earlier(moved) if moved is not None and is_new else []
            if not earlier:
                why = await self._known_otherwise(moved) if is_new else ""
                elsewhere = None if moved is None or is_new else partial(self._earlier, moved)
                try:
                    return await self._finish(key, records, why=why, elsewhere=elsewhere)
                except BeganElsewhereError as began:
                    earlier = began.openings
        for opened in earlier:  # with no two keys claimed at once: two calls could wait for each other
            try:
                return await self._go_on(opened)
            except NothingToResumeError as nothing:
                why = str(nothing)
        return await self._start(why)

    def annotate(self, error: AsyncSDKError, *, remembered: bool) -> None:
        """Write on `error` how far it was; `remembered` as there."""
        recalled = None if self._log is None else replay(self._log.records)
        annotate(
            error,
            self.meter.snapshot(),
            now=self.context.client.clock.now(),
            remembered=remembered,
            in_memory=isinstance(self.journal, MemoryJournal),
            may_be_a_file=recalled is not None and recalled.stage in {Stage.COMPLETING, Stage.COMPLETED},
            read_once=is_read_once(self.job.source),
        )

    def check_is(self, opened: Opened) -> None:
        """Raise ConfigurationError where `opened` began with a file of another size, and so has another key."""
        if opened.key != self.key:
            what = "size" if self.source.identity.etag is None else "version"
            raise ConfigurationError(
                f"{self.source.name} has another {what} than when {opened.upload} began. Nothing was sent.\n"
                "  To send it as it is now: call upload. "
                f"To drop what was sent of it before: asyncsdk uploads cancel {opened.upload}"
            )

    async def result_of(self, opened: Opened) -> UploadResult:
        """Go on with this upload, wherever it began. Raises ConfigurationError where this is not its file."""
        name, size = self.source.name, self.source.identity.size
        wrong = f"{name} is not the file of {opened.upload}"
        if size != opened.bytes:
            raise ConfigurationError(
                f"{wrong}: it has {counted(size, 'byte')}, not {opened.bytes:,}. Nothing was sent."
            )
        try:
            return await self._go_on(opened)
        except OtherContentError as other:
            raise ConfigurationError(
                f"{wrong}: {other}. Nothing was sent now. To send it as a new one: call upload."
            ) from None
        except NothingToResumeError as nothing:
            return await self._start(str(nothing))

    def _moved_source(self) -> MovedSource | None:
        """What an earlier upload of the file is known by; None where none is to be looked for."""
        return self._source_now() if self.job.key is None else None

    def _source_now(self) -> MovedSource | None:
        """The file as it is now; None where nothing earlier is to be looked for."""
        if self.source.place is None or not self.job.resume:
            return None
        identity = self.source.identity
        moved = MovedSource(
            place=self.source.place,
            size=identity.size,
            mtime_ns=identity.mtime_ns,
            inode=identity.inode,
            fields=self.fields,
            filename=self.job.filename or unpacked(self.job.source).name,
            settings=self.context.client.settings,
        )
        return moved if moved.is_worth_it else None

    async def _earlier(self, moved: MovedSource) -> Sequence[Opened]:
        """The uploads that may have begun with this file at another path."""
        looks = "looking through the journal, in case that the file was moved"
        timer = asyncio.get_running_loop().call_later(SILENT_LOOK, self.meter.enter, UploadPhase.CHECKING, looks)
        try:
            return await self.context.moved_files.earlier(moved, self.context.readers)
        finally:
            timer.cancel()

    async def _known_otherwise(self, moved: MovedSource | None) -> str:
        """What to say where the file, or the content of the caller's own key, is known with other options."""
        if moved is not None:
            return await self._sent_otherwise(moved)
        now = None if self.job.key is None else self._source_now()
        openings = [] if now is None else await self.context.moved_files.named_otherwise(now, f"{self.place}")
        return named_otherwise(f"{self.job.key}", openings[0]) if openings else ""

    async def _sent_otherwise(self, moved: MovedSource) -> str:
        """What to say where the file was sent with other options, in whole or in part: it is sent again."""
        for opened in await self.context.moved_files.otherwise(moved):
            with suppress(StorageError, UploadBusyError):  # one that is just being sent is no news
                async with claimed(self.journal, opened.key, wait=False) as records:
                    if said := sent_otherwise(records.records, opened.upload):
                        return said
        return ""

    async def _start(self, why: str) -> UploadResult:
        journal, key = self.journal if self.place else MemoryJournal(), self.key
        async with self._claimed(journal, key) as records:
            return await self._finish(key, records, why=why)

    async def _go_on(self, opened: Opened) -> UploadResult:
        """Go on under the key of another path. Raises NothingToResumeError where that can't be."""
        async with self._claimed(self.journal, opened.key) as records:
            return await self._finish(opened.key, records, moved=opened)

    async def _finish(
        self,
        key: str,
        records: Log,
        *,
        moved: Opened | None = None,
        why: str = "",
        elsewhere: Callable[[], Awaitable[Sequence[Opened]]] | None = None,
    ) -> UploadResult:
        """Bring the upload of `key` to its end, with the fields of the one that is there.

        Whatever the method, a request whose response was lost is looked for first. `elsewhere` is as in `SourceRun`.
        """
        self.slot.begin(self.meter, self.part_size)  # again: the slot may have been yielded
        place = moved.source if moved else self.place
        recalled = replay(records_of(records, moved))
        by_one_request = self._is_for_one_request(recalled) and moved is None
        is_lost = recalled is not None and recalled.posting is not None
        if is_lost and isinstance(self.source, StreamSource) and not isinstance(self.source, RemoteSource):
            raise ConfigurationError(
                f"a request that may have made a File of {self.source.name} had no response. To look for that File all "
                "of the stream has to be read first: repeat the call with method='files'. Nothing was sent."
            )
        with_md5 = by_one_request or is_lost or self.context.md5_form != "off"
        shared: dict[str, Any] = {
            "context": self.context,
            "job": self.job,
            "fields": evolve(self.fields, filename=moved.filename) if moved else self.fields,
            "key": key,
            "place": place or "",
            "source": self.source,
            "log": records,
            "meter": self.meter,
            "waited_from": self._waited_from,
            "started": self.started,
            "since": self.since,
            "digest": digest_of(self.source, records, with_md5=with_md5),
            "moved": moved,
            "why": why,
            "elsewhere": elsewhere,
        }
        post = FileRun(**shared, slot=self.slot, may_wait=self.method == "files", taken=self.taken)
        if isinstance(self.source, RemoteSource):
            done = await post.there_before(recalled)
            if done is not None:
                return done
            await self._bring(self.source, is_needed=is_lost or by_one_request or moved is not None)
        try:
            result = await post.look_up() if is_lost else None
            if result is None and by_one_request:
                result = await post.result()
        finally:
            self._may_be_twice = self._may_be_twice or post.duplicate_possible
        if result is None:
            shared |= {"part_size": self.part_size, "others": partial(self.others, key)}
            is_stream = isinstance(self.source, StreamSource) and not self.source.is_at_hand
            self._run = StreamRun(**shared, slot=self.slot) if is_stream else UploadRun(**shared)
            result = await self._run.result()
        return evolve(result, duplicate_possible=True) if self._may_be_twice else result

    async def _bring(self, source: RemoteSource, *, is_needed: bool) -> None:
        """Bring all of an object here before it is sent, where `is_needed` or it is to be looked at; look at it."""
        if is_needed or is_looked_at(self.job, source.name):
            looks = f"reading {source.name}"
            timer = asyncio.get_running_loop().call_later(SILENT_LOOK, self.meter.enter, UploadPhase.WAITING, looks)
            try:
                await source.bring(self.context, lambda _: None)
                await inspect(source, self.job, self.context.readers)
            finally:
                timer.cancel()

    def _is_for_one_request(self, recalled: ResumeState | None) -> bool:
        """Whether it is sent by POST /files, as far as the rate limit lets it."""
        if goes_on(recalled, resume=self.job.resume):
            return False
        context = self.context
        method = choose(
            self.method,
            size=self.source.identity.size,
            up_to=context.single_request_up_to,
            md5_is_asked=context.md5_is_asked,
            must_wait=context.limiter.retry_after > 0,
        )
        return method == "files"

    @asynccontextmanager
    async def _claimed(self, journal: Journal, key: str) -> AsyncIterator[Log]:
        """Own `key` for the length of the block. One that does not end well is reported as the journal then has it."""
        try:
            async with self._claim(journal, key) as self._log:
                yield self._log
        except BaseException:
            if self._run is not None:
                self._run.report_kept()
            raise

    def _claim(self, journal: Journal, key: str) -> AbstractAsyncContextManager[Log]:
        self.slot.begin(self.meter, self.part_size)
        if self.context.throttle.rate is None:
            self.context.connections.expect(self.source.identity.size)
        wait, small = self.job.on_busy == "wait", self.source.identity.size <= min(self.part_size, SMALL_BYTES)
        return claimed(journal, key, wait=wait, on_busy=self._busy, small=small)

    def _busy(self, owner: Owner | None) -> None:
        self._waited_from = self.began
        self.slot.yield_slot()
        self.meter.enter(UploadPhase.WAITING, f"{name_of(owner)} is sending this file")


@asynccontextmanager
async def claimed(
    journal: Journal,
    key: str,
    *,
    wait: bool,
    on_busy: Callable[[Owner | None], None] | None = None,
    small: bool = False,
) -> AsyncIterator[Log]:
    """Own `key` for the length of the block; `small` is a hint. An UploadBusyError names the key."""
    hint = {"small": True} if small and takes_small(journal) else {}
    try:
        async with journal.claim(key, wait=wait, on_busy=on_busy, **hint) as records:
            yield records
    except UploadBusyError as busy:
        busy.key = busy.key or key
        raise
