"""An object of a bucket or of a web server as a source: a stream with ranges, of one version, known by its ETag."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import anyio
from attrs import define, field

from asyncsdk.counts import counted
from asyncsdk.errors import AsyncSDKError, ConfigurationError, RemoteError, SourceError
from asyncsdk.given import unpacked
from asyncsdk.remote.address import RemoteAddress, remote_address
from asyncsdk.remote.failures import before_sending, remote_error
from asyncsdk.remote.reading import RemoteObject, RemoteReader
from asyncsdk.uploads.advice import without_threads
from asyncsdk.uploads.chunking import LARGEST_STREAM_PART, Range, checked_size, gaps
from asyncsdk.uploads.context import UploadContext
from asyncsdk.uploads.job import UploadJob
from asyncsdk.uploads.method import check_method
from asyncsdk.uploads.sources.readers import Identity, Source
from asyncsdk.uploads.sources.spool import SPOOL, spooled
from asyncsdk.uploads.sources.stream import PATIENCE, Producer
from asyncsdk.uploads.sources.stream_source import StreamSource

IN_MEMORY = LARGEST_STREAM_PART  # bytes: what is longer is written to a file without a name, where all is needed first
_USAGE = frozenset({"no credentials", "bad options"})


@define(eq=False)
class _ObjectReading:
    """Opens the object as a stream, again if need be."""

    remote: RemoteObject
    spans: Sequence[Range] | None = None  # None: all of it

    def __call__(self) -> RemoteReader:
        return self.remote.read(None if self.spans is None else [(span.offset, span.end) for span in self.spans])


@define(eq=False, kw_only=True)
class RemoteSource(StreamSource):
    """An object of one version. Where all of it is needed first, it is brought here, and read from here then."""

    reading: _ObjectReading
    _copy: Source | None = field(default=None, init=False)
    _is_in_memory: bool = field(default=False, init=False)

    @property
    def is_begun(self) -> bool:
        return self.position > 0 or self.reading.spans is not None

    @property
    def is_at_hand(self) -> bool:
        return self._is_in_memory or self._copy is not None

    def pass_over(self, held: Iterable[Range]) -> None:
        """Read all but `held`. To be called before anything is read."""
        self.reading.spans = gaps(self.identity.size, held)

    async def begin_again(self) -> None:
        await super().begin_again()
        self.reading.spans = None

    async def bring(self, context: UploadContext, advanced: Callable[[int], object]) -> None:
        """Read all of it, into memory or into a file without a name; `advanced` is called with the bytes of that file.

        Raises SourceError where there is no room for it, and what reading it raises.
        """
        if self.is_at_hand:
            return
        if self.identity.size <= IN_MEMORY:
            await self.fill(Range(0, self.identity.size), whole=True)
            await self.check_end()
            self._is_in_memory = True
            return
        if context.spool is None:
            raise SourceError(
                f"{self.name} has to be kept on disk, to be looked at or sent by one request, and the journal has no "
                f"directory for it. Set {SPOOL} to one, or send it in parts (method='uploads', check='none'). "
                "Nothing was sent."
            )
        with without_threads():
            self._copy = await spooled(
                await self.stream(), context.spool, context.readers, advanced, announced=self.identity.size
            )
        await super().aclose()

    def read(self, offset: int, view: memoryview) -> None:
        (super().read if self._copy is None else self._copy.read)(offset, view)

    def read_now(self, offset: int, view: memoryview) -> bool:
        return (super().read_now if self._copy is None else self._copy.read_now)(offset, view)

    def close(self) -> None:
        super().close()
        if self._copy is not None:
            self._copy.close()


def address_of(job: UploadJob) -> RemoteAddress | None:
    """The address of a job's source; None where that is not a URL. Raises ConfigurationError for a bad URL."""
    content = unpacked(job.source).content
    return remote_address(content) if isinstance(content, str) else None


async def open_object(
    address: RemoteAddress, job: UploadJob, context: UploadContext, on_silence: Callable[[str], object]
) -> RemoteSource:
    """Open the object at `address`: its first bytes are asked for. Where that takes long, `on_silence` is called.

    Raises SourceError or ConfigurationError where it can't be uploaded, RemoteError where its store can't be reached.
    """
    name = _name_of(address, job)
    remote = await _asked(address, context, on_silence, partial(RemoteObject.open, address, context.stores))
    size = checked_size(remote.size, name)
    if job.size is not None and job.size != size:
        raise SourceError(f"{name} has {counted(size, 'byte')}, not the {job.size:,} of size=. Nothing was sent.")
    check_method(job.method, size, name)
    reading = _ObjectReading(remote)
    producer = Producer(given=reading, name=name, threads=context.stream_readers, patience=PATIENCE * context.stall)
    return RemoteSource(
        producer=producer,
        identity=Identity(size, etag=remote.etag),
        memory=context.stream_memory,
        place=address.shown if remote.etag is not None and address.is_named_by_path else None,
        reading=reading,
    )


async def check_object(address: RemoteAddress, job: UploadJob, context: UploadContext) -> None:
    """Look at the object without reading more than a byte of it. Raises as `open_object` does."""
    name = _name_of(address, job)
    opened = partial(RemoteObject.open, address, context.stores, first=1)
    remote = await _asked(address, context, lambda _: None, opened)
    checked_size(remote.size, name)
    check_method(job.method, remote.size, name)


def _name_of(address: RemoteAddress, job: UploadJob) -> str:
    if not address.name:
        raise SourceError(
            f"{address} is a folder, not an object: the command `asyncsdk upload {address}` sends what is below it. "
            "Nothing was sent."
        )
    return job.fields(address.name).filename


async def _asked(
    address: RemoteAddress,
    context: UploadContext,
    on_silence: Callable[[str], object],
    ask: Callable[[], Awaitable[RemoteObject]],
) -> RemoteObject:
    note = f"its store has given nothing for {context.stall:g} s"
    silence = asyncio.get_running_loop().call_later(context.stall, on_silence, note)
    try:
        with anyio.move_on_after(PATIENCE * context.stall):
            return await ask()
    except RemoteError as error:
        raise _refused(error) from error
    finally:
        silence.cancel()
    message = (
        f"{address.store} gave nothing for {PATIENCE * context.stall:g} s: the source has stalled, not the connection "
        "to the server. Nothing was sent. Try again later."
    )
    raise remote_error(message, address.shown, "stalled", again=True)


def _refused(error: RemoteError) -> AsyncSDKError:
    """The error of an object that can't be opened."""
    if error.reason == "empty":
        return SourceError(f"{error.url} is empty; an upload needs at least one byte. Nothing was sent.")
    return before_sending(error, kind=ConfigurationError if error.reason in _USAGE else SourceError)
