"""Reads an object by ranges, a few of them ahead, all of one version; or a small one as a whole."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from attrs import define, field

from asyncsdk.errors import RemoteError
from asyncsdk.remote.address import RemoteAddress
from asyncsdk.remote.failures import changed, cut_off, no_name, too_large
from asyncsdk.remote.stores import RANGES_AHEAD, RemoteStores, ask
from asyncsdk.tasks import Ahead

FIRST_RANGE = 64 << 10  # from its answer come size and version: little is lost where nothing more is wanted
RANGE = 2 << 20
MEMORY = 8 << 20  # of the ranges that are under way or wait to be taken, of all objects of a `RemoteStores`
SMALLEST_RANGE = 512 << 10
LONGEST_RANGE = 256 << 20  # for stores that take long to begin an answer; only the first of it is read before its turn
CHUNK = 1 << 20
SLOW_TO_BEGIN = 0.2  # seconds


@define(eq=False)
class RemoteObject:
    """An object of one version: it was found by a ranged GET, and what comes from another version is refused.

    `etag` is None where the store gives none, or a weak one: then only the size can be compared.
    """

    address: RemoteAddress
    size: int
    etag: str | None
    _seen_etag: str | None = field(repr=False)  # a weak one is compared, too, and not sent
    _stores: RemoteStores = field(repr=False)
    _first: Any = field(repr=False)  # the answer that the first bytes are in, until they were read

    @classmethod
    async def open(cls, address: RemoteAddress, stores: RemoteStores, *, first: int = FIRST_RANGE) -> RemoteObject:
        """Ask for its `first` bytes. Raises RemoteError where it can't be read, and where it is empty ("empty")."""
        store, path = stores.open(address)
        answer = await ask(address, store.get_async(path, options={"range": (0, first)}))
        size, etag = answer.meta["size"], answer.meta["e_tag"]
        return cls(address, size, _strong(etag), etag, stores, answer)

    def read(self, spans: Sequence[tuple[int, int]] | None = None) -> RemoteReader:
        """Read it, or the `spans` (start and end) of it, once and in order; `aclose` the reader in the end."""
        return RemoteReader(self, self._stores, [(0, self.size)] if spans is None else spans)

    @property
    def has_first(self) -> bool:
        """Whether nobody took the bytes of the answer that opened it."""
        return self._first is not None

    async def first(self) -> RangePart:
        """The first bytes, out of the answer that opened it, once; asked for again where that was left for too long."""
        answer, self._first = self._first, None
        length = answer.range[1]
        try:
            content = await self._body(answer, length)
        except RemoteError as error:
            if not _may_be_asked_again(error):
                raise
            del answer
            return await self.begin(0, length)
        return RangePart(content, length, length)

    async def begin(self, start: int, end: int) -> RangePart:
        """Ask for the bytes from `start` to `end`: all of them, or of a long range the first.

        Raises RemoteError, with the reason "changed" for another version.
        """
        began = time.monotonic()
        answer = await self._answer(start, end)
        answered = time.monotonic()
        if end - start <= RANGE:
            content, rest = await self._body(answer, end - start), None
        else:
            rest = answer.stream(min_chunk_size=CHUNK)
            content = await self.next_of(rest)
        if not content:
            raise cut_off(self.address, end - start, 0)
        seconds = (time.monotonic() - answered) / len(content) * RANGE
        return RangePart(content, start + len(content), end, rest, is_slow_to_begin=_is_slow(answered - began, seconds))

    async def next_of(self, stream: Any) -> Any:
        """The next bytes of an answer; None at its end."""
        return await self._asked(anext(stream, None))

    async def _answer(self, start: int, end: int) -> Any:
        store, path = self._stores.open(self.address)
        options: dict[str, Any] = {"range": (start, end)}
        if self.etag is not None:
            options["if_match"] = self.etag
        answer = await self._asked(store.get_async(path, options=options))
        if (answer.meta["size"], answer.meta["e_tag"]) != (self.size, self._seen_etag):
            del answer  # and its connection: a traceback would keep both
            raise changed(self.address)
        return answer

    async def _body(self, answer: Any, length: int) -> Any:
        content = await self._asked(answer.bytes_async())
        if len(content) != length:
            raise cut_off(self.address, length, len(content))
        return content

    async def _asked(self, work: Any) -> Any:
        try:
            return await ask(self.address, work)
        except RemoteError as error:
            if error.reason in {"empty", "missing"}:  # it was there, and had these bytes
                failure = changed(self.address)
            else:
                raise
        raise failure


@define(eq=False)
class RangePart:
    """Bytes of a range, up to `offset`, and the answer that the rest of it comes from, where there is more."""

    content: Any
    offset: int
    end: int
    rest: Any = None
    is_slow_to_begin: bool = False


@define(eq=False)
class RemoteReader:
    """Bytes of an object in order, as an async iterator; ranges are asked for before they are wanted."""

    _object: RemoteObject
    _stores: RemoteStores
    _spans: Sequence[tuple[int, int]]
    _ahead: Ahead[RangePart] = field(init=False)
    _part: RangePart = field(factory=lambda: RangePart(None, 0, 0), init=False)
    _length: int = field(default=RANGE, init=False)  # of the ranges to ask for
    _is_open: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self._stores.readers += 1
        self._ahead = Ahead(self._ranges(), self._stores.ahead)

    def __aiter__(self) -> RemoteReader:
        return self

    async def __anext__(self) -> Any:
        if self._part.offset < self._part.end:
            return await self._go_on(self._part)
        is_waited_for = not self._ahead.is_ready
        self._part = await anext(self._ahead)
        if is_waited_for and self._part.is_slow_to_begin:
            self._length = min(4 * self._length, LONGEST_RANGE)
        return self._given(self._part)

    async def aclose(self) -> None:
        """Let go of what is under way."""
        if self._is_open:
            self._is_open = False
            self._part = RangePart(None, 0, 0)
            self._stores.readers -= 1
            await self._ahead.aclose()

    async def _go_on(self, part: RangePart) -> Any:
        """More of a long range; where its answer ends too soon, it is asked for once more from there."""
        content = None
        try:
            content = await self._object.next_of(part.rest)
        except RemoteError as error:
            if not _may_be_asked_again(error):
                raise
        if not content:
            part = self._part = await self._object.begin(part.offset, part.end)
            return self._given(part)
        part.offset += len(content)
        return content

    def _given(self, part: RangePart) -> Any:
        content, part.content = part.content, None
        return content

    def _ranges(self) -> Iterator[Coroutine[Any, Any, RangePart]]:
        """What to ask for next, when there is room for it: shorter ranges, where many objects are being read."""
        for start, end in self._spans:
            offset = start
            if not offset and self._object.has_first:
                yield self._object.first()
                offset = min(end, FIRST_RANGE)
            while offset < end:
                share = max(SMALLEST_RANGE, MEMORY // (self._stores.readers + RANGES_AHEAD))
                until = min(end, offset + (min(RANGE, share) if self._length == RANGE else self._length))
                yield self._object.begin(offset, until)
                offset = until


async def look(address: RemoteAddress, stores: RemoteStores) -> bytes | None:
    """The first bytes of an object; None where there is none. Raises RemoteError where that can't be known."""
    try:
        part = await (await RemoteObject.open(address, stores)).first()
    except RemoteError as error:
        if error.reason in {"missing", "empty"}:
            return b"" if error.reason == "empty" else None
        raise
    return bytes(part.content)


async def read_whole(address: RemoteAddress, stores: RemoteStores, *, limit: int) -> bytes:
    """Read an object into memory, by one GET without a range, which every web server answers.

    Raises RemoteError; with the reason "too large" where it has more than `limit` bytes.
    """
    store, path = stores.open(address)
    if not (address.name or address.is_web):
        raise no_name(address)
    answer = await ask(address, store.get_async(path))
    size = answer.meta["size"]
    if size > limit:
        raise too_large(address, size, limit)
    content = bytes(await ask(address, answer.bytes_async()))
    if len(content) != size:
        raise cut_off(address, size, len(content))
    return content


def _may_be_asked_again(error: RemoteError) -> bool:
    """Whether what an answer did not bring may come by another one, of the same version."""
    return error.resumable and error.reason != "changed"


def _is_slow(latency: float, seconds: float) -> bool:
    """Whether an answer takes so long to begin that few long ones are better; `seconds` are those of a short one."""
    return latency > max(SLOW_TO_BEGIN, 2 * seconds)


def _strong(etag: str | None) -> str | None:
    return None if etag is None or etag.startswith("W/") or not etag.strip('"') else etag
