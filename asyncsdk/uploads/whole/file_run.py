"""One upload by POST /files: hash, record that it begins, send all in one request, record the File.

The API can't be asked what became of such a request. So it is repeated only where it surely made nothing; else its
file is looked for first, in this run or in the next one, while the place of this upload is another's.
"""

from __future__ import annotations

import logging
import math
from contextlib import AbstractContextManager
from functools import partial

import anyio
from attrs import define, field

from asyncsdk import api
from asyncsdk.errors import APIError, CompletionUnknownError, JournalError, RateLimitError
from asyncsdk.events import UploadPhase
from asyncsdk.file_match import not_posted
from asyncsdk.models import File, to_json
from asyncsdk.ratelimit import Permit
from asyncsdk.retry import Retry
from asyncsdk.uploads.advice import COMPARE
from asyncsdk.uploads.body import PartAttempt
from asyncsdk.uploads.checksum import check_same, check_unchanged
from asyncsdk.uploads.chunking import BLOCK, Range
from asyncsdk.uploads.job import UploadResult
from asyncsdk.uploads.journal import Completed, Expired, Posting, Refused
from asyncsdk.uploads.pacing.admission import Slot
from asyncsdk.uploads.resuming.resume import replay
from asyncsdk.uploads.reuse import SourceRun, reporting
from asyncsdk.uploads.sources.readers import BytesSource, Identity
from asyncsdk.uploads.sources.source import Source, fill
from asyncsdk.uploads.whole.lost import AsksTaken
from asyncsdk.uploads.whole.lost_files import CLOCK_SECONDS, NotThere, OutcomeUnknown, OwnFile
from asyncsdk.uploads.whole.posting import (
    is_rate_limit,
    lost_request,
    made_nothing,
    may_be_repeated,
    may_go_in_parts,
    new_id,
    posting_record,
    slowest_rate,
)

log = logging.getLogger(__name__)

OUTAGE_SECONDS = 3600.0  # how long an outage is waited out: as long as a server keeps an upload
MOST_LOST = 3  # requests of a call whose responses are lost
_LAST_WRITE = 0.5  # seconds: a call that is cancelled returns within one


class LeftToPartsError(Exception):
    """One request would have to wait for the rate limit, or the server or a gateway does not take the file so."""


@define(eq=False, kw_only=True)
class FileRun(SourceRun):
    """A run by one request.

    `may_wait`: for the rate limit. Else the file is left to the Uploads API then, and where the server or a gateway
    does not take it so. `taken` asks which files the journal knows as those of other keys.
    """

    slot: Slot
    may_wait: bool
    taken: AsksTaken
    _given_up: int = field(default=0, init=False)  # requests that may have made a file, and none is listed
    _id: str = field(factory=new_id, init=False)
    _posting: Posting | None = field(default=None, init=False)
    _permit: Permit | None = field(default=None, init=False)
    _sending: Retry = field(init=False)  # the budget of the request; `_retry` is that of all others
    _begun_at: float = field(default=-math.inf, init=False)  # the last attempt, in elapsed seconds
    _waits: bool = field(default=False, init=False)  # since an attempt made nothing, before the next one

    @property
    def duplicate_possible(self) -> bool:
        """Whether what this call sends may be there twice."""
        return self._given_up > 0

    async def look_up(self) -> UploadResult | None:
        """What an earlier run sent, and never had an answer for. None: it made no file of this content.

        Raises:
            CompletionUnknownError: It can't be known, and the caller did not ask to send it again.
        """
        recalled = replay(self._records)
        if recalled is None or recalled.posting is None:
            return None
        with self._reporting():
            await self._hash()
            found = await self._find(recalled.posting)
            if found is None or not self.digest.matches(recalled.posting):
                return None
            self._count_as_there()
            return self._result(None, found.file, duplicates=found.duplicates)

    async def result(self) -> UploadResult | None:
        """Send the file, unless it is there. None: it is left to the Uploads API."""
        with self._reporting():
            found = await self._still_there()
            if found is not None:
                return found
            await self._start_over()
            self.slot.begin(self.meter, self.source.identity.size)
            try:
                return await self._send_all()
            except LeftToPartsError:
                return None

    def _reporting(self) -> AbstractContextManager[None]:
        return reporting(self.meter, self.context.client.timing.deadline_check)

    async def _send_all(self) -> UploadResult:
        source = await self._in_memory()
        await self.digest.read(source, self.context.hashers, self.meter.set_hashed)
        for _ in range(MOST_LOST):
            self.meter.enter(UploadPhase.SENDING, self.why)
            self.context.ids.record_name(self.fields.filename)
            try:
                file = await self._send(source)
            except APIError as error:
                found = await self._after(error)
                if found is not None:
                    return self._result(None, found.file, duplicates=found.duplicates)
                lost = error
            else:
                await self._settle_made(self._posted, file)
                return self._result(None, file)
        raise lost

    @property
    def _posted(self) -> Posting:
        assert self._posting is not None, "it is recorded before it is sent"  # noqa: S101
        return self._posting

    async def _in_memory(self) -> Source:
        """The source; what is one block is read once, and sent from there."""
        size = self.source.identity.size
        if size > BLOCK or isinstance(self.source, BytesSource):
            return self.source
        block = memoryview(bytearray(size))
        await fill(self.source, self.context.readers, 0, block)
        return BytesSource(block, Identity(size), tells_changes=True, name=self.source.name)

    async def _send(self, source: Source) -> File:
        """Send it, and again while that can't make it twice."""
        context = self.context
        if math.isinf(context.client.clock.seconds_until(0)):  # the local clock may be wrong: ask for the server's
            await context.lost_files.now(self._retry)
        self._permit = self._permit or await self._permitted()
        async with context.connections.place() as place:
            attempt = PartAttempt(self._part_source(source), self.meter, self._span, place, self._check_same)
            sent = 0
            try:
                with context.lost_files.sending(self._content):
                    file = await self._deliver(attempt)
                sent, place.was_answered = self._span.length, True
            except BaseException as error:
                await self._record_end(error, attempt)
                raise
            finally:
                attempt.finish(sent)
        return file

    @property
    def _span(self) -> Range:
        return Range(0, self.source.identity.size)

    async def _deliver(self, attempt: PartAttempt) -> File:
        context, fields = self.context, self.fields
        request = api.create_file(
            file=attempt.new_body,
            filename=fields.filename,
            purpose=fields.purpose,
            mime_type=fields.mime_type,
            expires_after=fields.expires_after,
        )
        retry = Retry(
            context.max_retries,
            deadline=context.client.clock.now() + OUTAGE_SECONDS,
            wait_out_outages=True,
            answered=True,
            on_wait=self._wait,
            should_retry=partial(self._may_repeat, attempt),
            before_attempt=self._begin,
        )
        self._sending = retry
        try:
            file = await context.client.send(request, retry=retry, check=self._not_posted)
        finally:
            del self._sending  # it refers to this run and to the bytes, which would stay until the next collection
        context.lost_files.answered(file.id)
        context.ids.record_file_id(file.id, self._id)
        if self._permit is not None:
            context.limiter.accepted(self._permit)
        self._anchor(file)
        return file

    def _anchor(self, file: File) -> None:
        """Let the File give the server's time, if it is certain when it was made: some stamp it as its bytes begin."""
        clock = self.context.client.clock
        took = clock.elapsed() - self._begun_at
        if file.created_at is not None and not clock.is_anchored and took < CLOCK_SECONDS:
            clock.anchor(file.created_at)

    async def _begin(self) -> None:
        """Record, before its first byte goes, that an attempt may make the file."""
        await self.context.connections.may_begin()
        self._permit = self._permit or await self._permitted()
        with self.meter.on_our_side():
            self._posting = posting_record(
                self._id,
                key=self.key,
                place=self.place,
                fields=self.fields,
                settings=self.context.client.settings,
                size=self.source.identity.size,
                mtime_ns=self.source.identity.mtime_ns,
                inode=self.source.identity.inode,
                began=self.context.client.clock.now(),
                slowest=slowest_rate(self.context.throttle.rate, connections=self.context.connections.most),
                md5=self.digest.md5 or "",
                xxh3=self.digest.xxh3,
            )
            await self.log.append(self._posting)
        self._begun_at, self._waits = self.context.client.clock.elapsed(), False
        self.context.moved_files.began(self._posting)

    async def _permitted(self) -> Permit:
        limiter = self.context.limiter
        if not self.may_wait:
            permit = limiter.acquire_now(1)
            if permit is None:
                raise LeftToPartsError
            return permit
        if limiter.retry_after > 0 and limiter.rate:
            self.meter.enter(UploadPhase.SENDING, f"waits for the limit of {limiter.rate:,.0f} files a minute")
        return await limiter.acquire(1)

    def _may_repeat(self, attempt: PartAttempt, error: APIError) -> bool:
        if is_rate_limit(error):
            self._sending.progressed()  # the rate is the limiter's matter
            return self.may_wait
        return may_be_repeated(error, fully_sent=attempt.is_fully_sent)

    def _wait(self, error: APIError, delay: float) -> None:
        self._refused(error)
        self._waits = True
        self._waiting()(error, delay)

    def _refused(self, error: BaseException) -> None:
        if isinstance(error, RateLimitError) and self._permit is not None:
            self.context.limiter.refused(error, self._permit)
            self._permit = None

    async def _check_same(self, fingerprint: str) -> None:
        """Raise SourceChangedError where other bytes were sent than hashed, or the source has another size by now."""
        check_same(self.digest.fingerprint(self._span), fingerprint, self.source.name)
        if self._span.length > BLOCK:  # less was read at one time
            await check_unchanged(self.source, self.digest, self.context.readers, self.context.hashers)

    def _not_posted(self, file: File) -> str | None:
        ids = self.context.ids
        return not_posted(file, posting_id=self._id, content=self._content, files=ids.files, names=ids.names)

    async def _record_end(self, error: BaseException, attempt: PartAttempt) -> None:
        """Record what surely made nothing, so that nobody has to look for its file."""
        self._refused(error)
        if isinstance(error, APIError):
            self.context.connections.failed(error)
        if self._posting is None:
            return
        refused = self._waits or (isinstance(error, APIError) and made_nothing(error, fully_sent=True))
        if attempt.is_fully_sent and not refused:
            return
        posting, self._posting = self._posting, None
        self._id = new_id()
        with anyio.move_on_after(_LAST_WRITE, shield=True):
            try:
                await self.log.append(Refused(upload=posting.upload, status=getattr(error, "status_code", 0)))
            except JournalError as unwritten:  # the next run looks for its file
                log.warning("%s: its end could not be recorded: %s", posting.upload, unwritten)

    async def _after(self, error: APIError) -> OwnFile | None:
        """Find the file of a request whose response was lost. None: it was not made, and is sent again."""
        if self._posting is None:
            if not self.may_wait and (is_rate_limit(error) or may_go_in_parts(error)):
                raise LeftToPartsError from error
            raise error
        log.warning("%s: whether a file was made is not known: %s", self.source.name, error)
        posting, self._posting, self._permit = self._posting, None, None
        self._id = new_id()
        found = await self._find(posting, error)
        if found is not None:
            self.meter.done = self._span.length
        return found

    async def _find(self, posting: Posting, error: APIError | None = None) -> OwnFile | None:
        """Find its file and settle it. None: no file was made, as far as can be known, or the caller wants another."""
        context, name = self.context, self.source.name
        retry = Retry(context.max_retries, on_wait=self._waiting())
        self.slot.yield_slot()
        try:
            now = await context.lost_files.now(retry)
            timing, alike = context.client.timing, 1 + self._given_up
            lost = lost_request(
                posting, now=now, answer_limit=timing.file_answer, alike=alike, just_now=error is not None
            )
            seconds = max(0.0, lost.until + timing.file_search - now)
            self.meter.enter(
                UploadPhase.WAITING, f"its response was lost; looking for its file, {seconds:.0f} s at most"
            )
            self.meter.hold(seconds)
            found = await context.lost_files.find(lost, retry, taken=self.taken)
        finally:
            self.slot.begin(self.meter, self._span.length)
        if isinstance(found, OwnFile):
            log.info("%s: its response was lost, and its file is there: %s", name, found.file.id)
            context.ids.record_file_id(found.file.id, posting.upload)
            await self._settle_made(posting, found.file)
            return found
        if isinstance(found, OutcomeUnknown) and self.job.if_uploaded != "again":
            raise _unknown(posting, found) from (found.cause or error)
        assert isinstance(found, NotThere | OutcomeUnknown)  # noqa: S101 - what is left
        await self.log.append(Expired(upload=posting.upload, reason="its response was lost, and no file of it found"))
        self._given_up += 1
        self.why = "sending it again: no file that was made of it is listed"
        return None

    async def _settle_made(self, posting: Posting, file: File) -> None:
        """Settle the file that was made. Where that can't be, as after a lapsed lease, another run may make another."""
        try:
            await self._settle(posting, file)
        except JournalError:
            self.context.unrecorded.setdefault(self.key, []).append(file.id)
            log.warning("%s: %s was made of it, and the journal does not have it", self.source.name, file.id)
            raise

    async def _settle(self, posting: Posting, file: File) -> None:
        record = Completed(upload=posting.upload, file=to_json(file), md5=posting.md5, xxh3=posting.xxh3)
        is_result = self.digest.matches(posting)
        await (self.log.append_final(record) if is_result else self.log.append(record))


def _unknown(posting: Posting, found: OutcomeUnknown) -> CompletionUnknownError:
    candidates = ", ".join(found.candidates)
    what = f"what is listed may be it or another's ({candidates})" if candidates else "its file could not be looked for"
    unknown = CompletionUnknownError(
        f"{posting.filename} was sent by POST /files and its response was lost; {what}. Nothing was sent again. "
        'if_uploaded="again" (--if-uploaded again) sends it again all the same.',
        upload_id=posting.upload,
    )
    if candidates and found.cause is None:  # what is known now is all that will ever be known
        unknown.resumable, unknown.advice = False, COMPARE
    return unknown
