"""Reads an object by ranges, a few of them ahead, all of one version; or a small one as a whole."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from attrs import define, field

from asyncsdk.errors import RemoteError
from asyncsdk.remote.address import RemoteAddress
from asyncsdk.remote.failures import changed, cut_off, too_large
from asyncsdk.remote.stores import RANGES_AHEAD, RemoteStores, ask
from asyncsdk.tasks import Ahead

FIRST_RANGE = 64 << 10  # from its answer come size and version: little is lost where nothing more is wanted
RANGE = 4 << 20
MEMORY = 16 << 20  # of the ranges that are under way or wait to be taken, of all objects of a `RemoteStores`
SMALLEST_RANGE = 512 << 10


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

    async def first(self) -> Any:
        """The first bytes, out of the answer that opened it, once."""
        answer, self._first = self._first, None
        return None if answer is None else await self._body(answer, answer.range[1])

    async def range(self, start: int, end: int) -> Any:
        """The bytes from `start` to `end`, which support the buffer protocol.

        Raises RemoteError, with the reason "changed" for another version.
        """
        store, path = self._stores.open(self.address)
        options: dict[str, Any] = {"range": (start, end)}
        if self.etag is not None:
            options["if_match"] = self.etag
        answer = await self._asked(store.get_async(path, options=options))
        if (answer.meta["size"], answer.meta["e_tag"]) != (self.size, self._seen_etag):
            del answer  # and its connection: a traceback would keep both
            raise changed(self.address)
        return await self._body(answer, end - start)

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
class RemoteReader:
    """Bytes of an object in order, as an async iterator; ranges are asked for before they are wanted."""

    _object: RemoteObject
    _stores: RemoteStores
    _spans: Sequence[tuple[int, int]]
    _ahead: Ahead[Any] = field(init=False)
    _is_open: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self._stores.readers += 1
        self._ahead = Ahead(self._ranges(), self._stores.ahead)

    def __aiter__(self) -> RemoteReader:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._ahead)

    async def aclose(self) -> None:
        """Let go of what is under way."""
        if self._is_open:
            self._is_open = False
            self._stores.readers -= 1
            await self._ahead.aclose()

    def _ranges(self) -> Iterator[Coroutine[Any, Any, Any]]:
        """What to ask for next, when there is room for it: shorter ranges, where many objects are being read."""
        for start, end in self._spans:
            offset = start
            if not offset and self._object.has_first:
                yield self._object.first()
                offset = min(end, FIRST_RANGE)
            while offset < end:
                share = MEMORY // (self._stores.readers + RANGES_AHEAD)
                until = min(end, offset + max(SMALLEST_RANGE, min(RANGE, share)))
                yield self._object.range(offset, until)
                offset = until


async def read_whole(address: RemoteAddress, stores: RemoteStores, *, limit: int) -> bytes:
    """Read an object into memory, by one GET without a range, which every web server answers.

    Raises RemoteError; with the reason "too large" where it has more than `limit` bytes.
    """
    store, path = stores.open(address)
    answer = await ask(address, store.get_async(path))
    size = answer.meta["size"]
    if size > limit:
        raise too_large(address, size, limit)
    content = bytes(await ask(address, answer.bytes_async()))
    if len(content) != size:
        raise cut_off(address, size, len(content))
    return content


def _strong(etag: str | None) -> str | None:
    return None if etag is None or etag.startswith("W/") or not etag.strip('"') else etag
