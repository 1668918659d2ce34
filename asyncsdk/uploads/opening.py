"""Opens the source of a job: a file, bytes, or a stream, which is spooled where all of it is needed first."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath

from attrs import define

from asyncsdk.counts import counted
from asyncsdk.errors import ConfigurationError, SourceError, UploadError
from asyncsdk.events import Progress, UploadPhase
from asyncsdk.given import opens_stream, unpacked
from asyncsdk.uploads.advice import FROM_BEGINNING, without_threads
from asyncsdk.uploads.chunking import checked_size, is_whole
from asyncsdk.uploads.context import UploadContext
from asyncsdk.uploads.job import UploadJob
from asyncsdk.uploads.jsonl.inspection import inspect, is_looked_at
from asyncsdk.uploads.method import UploadMethod, check_method, choose
from asyncsdk.uploads.pacing.admission import Slot
from asyncsdk.uploads.progress import Meter
from asyncsdk.uploads.sources.remote_source import address_of, check_object, open_object
from asyncsdk.uploads.sources.source import Source, is_for_streaming, open_source
from asyncsdk.uploads.sources.spool import spooled
from asyncsdk.uploads.sources.stream import PATIENCE, Producer, check_stream, measured
from asyncsdk.uploads.sources.stream_source import StreamSource

_PLACEHOLDER = re.compile("<.*>$")  # `<stdin>`


@define(eq=False)
class _Reading:
    """Reports how much of a stream was spooled, and that its source is silent."""

    _meter: Meter

    @classmethod
    def of(cls, job: UploadJob, context: UploadContext, report: Callable[[Progress], object] | None) -> _Reading:
        interval = context.client.timing.report_interval
        return cls(Meter(job.describe(), 1, report, report_interval=interval, state=UploadPhase.WAITING))

    def advanced(self, size: int) -> None:
        so_far = f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size:,} bytes"
        self._meter.total, self._meter.note = size, f"{so_far} read so far"
        self._meter.tick()

    def silent(self, note: str) -> None:
        self._meter.enter(UploadPhase.WAITING, note)


async def opened(
    job: UploadJob,
    context: UploadContext,
    method: UploadMethod,
    slot: Slot,
    report: Callable[[Progress], object] | None,
    *,
    is_compared: bool = False,
) -> Source:
    """Open the source of `job`, checked as far as it can be before it is sent; `let_go` of it in the end.

    While a stream is spooled its `slot` is left to others, and `report` is called. What `is_compared` with an upload
    that is there has to be read before it is sent. An object in a store is looked at by its call, once it is known not
    to be done already. Raises what `check` does, and UploadError for a stream that can't be read.
    """
    if (address := address_of(job)) is not None:
        reading = _Reading.of(job, context, report)

        def leave(note: str) -> None:
            slot.yield_slot()
            reading.silent(note)

        return await open_object(address, job, context, leave)
    if is_for_streaming(job.source):
        producer, size = await _announced(job, context)
        if size is not None and not is_compared and _goes_straight(job, context, method, size, producer.name):
            return StreamSource.of(producer, size, context.stream_memory)
        slot.yield_slot()
        source = await _spooled(producer, size, context, _Reading.of(job, context, report))
    else:
        source = await _of_file(job, context)
    try:
        await _look(source, job, context)
    except BaseException:
        source.close()
        raise
    return source


async def let_go(source: Source) -> None:
    """Close what was opened."""
    source.close()
    if isinstance(source, StreamSource):
        await source.aclose()


async def check(job: UploadJob, context: UploadContext) -> None:
    """Check a job. Of a stream nothing is read, and of an object a byte.

    Raises:
        SourceError: Its source can't be uploaded.
        ConfigurationError: A field of it is wrong.
        RemoteError: The store of an object can't be reached.
    """
    if (address := address_of(job)) is not None:
        await check_object(address, job, context)
        return
    if is_for_streaming(job.source):
        await _announced(job, context)
        return
    source = await _of_file(job, context)
    try:
        await _look(source, job, context)
    finally:
        source.close()


async def _of_file(job: UploadJob, context: UploadContext) -> Source:
    _checked_announcement(job.size)
    with without_threads():
        source = await open_source(job.source, context.readers)
    has = source.identity.size
    if job.size is not None and job.size != has:
        source.close()
        raise SourceError(f"{source.name} has {counted(has, 'byte')}, not the {job.size:,} of size=. Nothing was sent.")
    return source


async def _look(source: Source, job: UploadJob, context: UploadContext) -> None:
    check_method(job.method, source.identity.size, source.name)
    await inspect(source, job, context.readers)


async def _announced(job: UploadJob, context: UploadContext) -> tuple[Producer, int | None]:
    """The stream of `job`, of which nothing is read, and its size, where that is known."""
    named = unpacked(job.source)
    stream = named.content
    names = (getattr(stream, name, None) for name in ("filename", "name"))  # a part of a form has its field's name, too
    own = next((PurePath(name).name for name in names if isinstance(name, str) and not _PLACEHOLDER.match(name)), None)
    name = job.filename or named.name or own
    if not name:
        raise ConfigurationError(
            f"the given {type(stream).__name__} has no name: pass filename=, or ('train.jsonl', stream). "
            "Nothing was sent."
        )
    size = _checked_announcement(job.size)
    if not opens_stream(stream):
        check_stream(stream, name)
        size = await measured(stream) if size is None else size
    if size is not None:
        checked_size(size, name)
    check_method(job.method, size or 1, name)
    job.fields(name)
    return Producer(given=stream, name=name, threads=context.stream_readers, patience=PATIENCE * context.stall), size


def _checked_announcement(size: object) -> int | None:
    if size is None or (is_whole(size) and size >= 0):  # type: ignore[operator]  # it is an int
        return size  # type: ignore[return-value]
    raise ConfigurationError(
        f"size must be an integer of 0 or more, the bytes of the source, not {size!r}. Nothing was sent."
    )


async def _spooled(producer: Producer, size: int | None, context: UploadContext, reading: _Reading) -> Source:
    producer.on_silence = reading.silent
    try:
        stream = await producer.open()
        try:
            with without_threads():
                return await spooled(stream, context.spool, context.readers, reading.advanced, announced=size)
        finally:
            await stream.aclose()
    except UploadError as error:
        again = "" if producer.opens_again else FROM_BEGINNING
        error.advice = error.advice or f"Nothing was sent yet. Repeat the call{again}."
        error.resumable = error.resumable and producer.opens_again  # what is left of it would be sent as if it were all
        raise


def _goes_straight(job: UploadJob, context: UploadContext, method: UploadMethod, size: int, name: str) -> bool:
    """Whether it is sent as it comes: by parts, with nothing that has to read all of it before."""
    chosen = choose(
        method,
        size=size,
        up_to=context.single_request_up_to,
        md5_is_asked=context.md5_is_asked,
        must_wait=False,
    )
    return chosen == "uploads" and not is_looked_at(job, name)
