"""Finds out what became of POST /files whose responses were lost: lists and reads back what `lost_files` asks for."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from functools import partial

import anyio
from attrs import define, evolve, field

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    NotFoundError,
    UnusableClientError,
)
from asyncsdk.http.response import Stream
from asyncsdk.models import File
from asyncsdk.retry import Retry
from asyncsdk.uploads.listing.listed import file_of, file_pages, is_newest_first, may_be_since, may_have
from asyncsdk.uploads.listing.rounds import Rounds
from asyncsdk.uploads.response_checks import MOST_FILES, Content
from asyncsdk.uploads.whole.lost_files import (
    CLOCK_SECONDS,
    ListAgain,
    Listing,
    LostRequest,
    NotThere,
    OutcomeUnknown,
    OwnFile,
    ReadFirst,
    Unreadable,
    Verdict,
    decide,
)

_ABOUT_THE_CALL = frozenset({401, 408, 409, 429})  # refusals that say nothing of the file

AsksTaken = Callable[[Sequence[str]], Awaitable[Collection[str]]]

log = logging.getLogger(__name__)


@define(eq=False)
class _OnItsWay:
    content: Content
    ended: asyncio.Event = field(factory=asyncio.Event)


@define(eq=False)
class LostFiles:
    """What became of the lost POST /files of one uploader, on one event loop.

    Only these know all that is needed: each POST /files is sent within `sending`, and each id that a response named is
    `answered`. Then no file is taken for the one of a lost request that is, or may be, that of another call.
    """

    _client: Client
    _taken: dict[str, None] = field(factory=dict, init=False)
    _lost: list[LostRequest] = field(factory=list, init=False)
    _on_their_way: list[_OnItsWay] = field(factory=list, init=False)
    _rounds: dict[str, Rounds[LostRequest, Listing]] = field(factory=dict, init=False)  # by purpose
    _asking_the_time: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def now(self, retry: Retry) -> float:
        """The server's unix time, for `LostRequest.began`. It is asked for where no response has come yet.

        Raises:
            APIError: The server could not be reached.
        """
        clock = self._client.clock
        async with self._asking_the_time:
            if math.isinf(clock.seconds_until(0)):
                with suppress(APIStatusError):  # a refusal has a date, too
                    await self._client.send(api.list_files(limit=1), retry=retry)
        return clock.now()

    @contextmanager
    def sending(self, content: Content) -> Iterator[None]:
        """The block in which a POST /files of `content` is sent, with its retries. `find` is called after it."""
        sent = _OnItsWay(content)
        self._on_their_way.append(sent)
        try:
            yield
        finally:
            self._on_their_way.remove(sent)
            sent.ended.set()

    def answered(self, file_id: str) -> None:
        """Note the file that a response named, so that it is never taken for that of another call."""
        self._taken[file_id] = None
        if len(self._taken) > MOST_FILES:
            del self._taken[next(iter(self._taken))]

    async def find(self, lost: LostRequest, retry: Retry, *, taken: AsksTaken | None = None) -> Verdict:
        """Find out what became of a request. It waits until `lost.settled_at` where nothing is listed that may be it.

        Args:
            lost: The request.
            retry: The budget for listing and reading back.
            taken: Asks which of some ids of files the journal knows as those of other calls.

        Returns:
            A verdict: OutcomeUnknown, with its `cause`, also where the server could not be asked. A file of OwnFile
            counts as `answered` from here on.
        """
        lost = evolve(lost, listed_within=self._client.timing.file_search)
        self._lost.append(lost)
        try:
            return await self._found(lost, retry, taken)
        finally:
            self._lost.remove(lost)

    async def _found(self, lost: LostRequest, retry: Retry, taken: AsksTaken | None) -> Verdict:
        read: dict[str, str | Unreadable] = {}
        candidates: tuple[str, ...] = ()
        try:
            listing = await self._listed(lost, retry)
            while True:
                maybe = [file.id for file in listing.files if lost.may_have_made(file)]
                known = await taken(maybe) if taken and maybe else ()
                step = decide(self._with_others(lost), listing, read, taken={*self._taken, *known})
                match step:
                    case ReadFirst(files):
                        candidates = tuple(file.id for file in files)
                        for file in files:
                            read[file.id] = await self._read_back(file.id, lost.content.size, retry)
                    case ListAgain(at):
                        await anyio.sleep(max(0.0, at - self._client.clock.now()))
                        listing = await self._listed(lost, retry)
                    case OwnFile(file, duplicates):
                        return self._claimed(lost, file, duplicates)
                    case NotThere() | OutcomeUnknown():
                        return step
        except (APIError, UnusableClientError) as error:
            log.warning("%s: what became of it could not be found out: %s", lost.content.filename, error)
            return OutcomeUnknown(candidates, error)

    def _with_others(self, lost: LostRequest) -> LostRequest:
        """The request, and how many with its content were lost in this process."""
        return evolve(lost, alike=sum(each.alike for each in self._same(lost)))

    def _same(self, lost: LostRequest) -> list[LostRequest]:
        return [each for each in self._lost if (each.content, each.md5) == (lost.content, lost.md5)]

    def _claimed(self, lost: LostRequest, file: File, duplicates: Sequence[str]) -> OwnFile:
        """Its file; what is left of the same content goes to the other calls that lost a request with it, first."""
        own = OwnFile(file, tuple(duplicates[len(self._same(lost)) - 1 :]))
        for file_id in (file.id, *own.duplicates):
            self.answered(file_id)
        return own

    async def _listed(self, lost: LostRequest, retry: Retry) -> Listing:
        """A listing that began after this call, with no file in it of a request that may still be answered."""
        rounds = self._rounds.setdefault(lost.content.purpose, Rounds())
        while True:
            for sent in self._alike_on_their_way(lost):
                await sent.ended.wait()
            listing = await rounds.ask(lost, partial(self._list, retry))
            if not self._alike_on_their_way(lost):
                return listing

    def _alike_on_their_way(self, lost: LostRequest) -> list[_OnItsWay]:
        return [sent for sent in self._on_their_way if sent.content == lost.content]

    async def _list(self, retry: Retry, asking: Sequence[LostRequest]) -> Listing:
        """List the files of one purpose, newest first, back to when the oldest request began."""
        began, oldest = await self.now(retry), min(lost.began for lost in asking) - CLOCK_SECONDS
        purpose, sizes = asking[0].content.purpose, {lost.content.size for lost in asking}
        files: list[File] = []
        until, in_order = math.inf, True
        async with aclosing(file_pages(self._client, retry, purpose=purpose, order="desc")) as pages:
            async for page in pages:
                files += [file_of(item) for item in page if may_be_since(item, oldest) and may_have(item, sizes)]
                in_order = in_order and is_newest_first(page)
                if in_order and not may_be_since(page[-1], oldest):
                    break
                until = min(until, time.monotonic() + self._client.timing.file_search)  # the first has its own limits
                if time.monotonic() > until:
                    return Listing(files=tuple(files), whole=False, began=began)
        return Listing(files=tuple(files), whole=True, began=began)

    async def _read_back(self, file_id: str, size: int, retry: Retry) -> str | Unreadable:
        try:
            return await self._client.receive(api.file_content(file_id), partial(_md5_of, size=size), retry=retry)
        except NotFoundError:
            return Unreadable.REFUSED if await self._is_there(file_id, retry) else Unreadable.GONE
        except APIStatusError as error:
            if error.status_code >= 500 or error.status_code in _ABOUT_THE_CALL:
                raise
            return Unreadable.REFUSED

    async def _is_there(self, file_id: str, retry: Retry) -> bool:
        """Whether it is only the content that the server does not have."""
        try:
            await self._client.send(api.retrieve_file(file_id), retry=retry)
        except NotFoundError:
            return False
        return True


async def _md5_of(chunks: Stream, *, size: int) -> str:
    """The md5 (hex) of a file of `size` bytes. Another number of them is another response: a page, or cut."""
    digest, done = hashlib.md5(usedforsecurity=False), 0
    async for chunk in chunks:
        done += len(chunk)
        if done > size:
            break
        digest.update(chunk)
    if done != size:
        raise APIResponseValidationError(
            f"the content that came has {'more' if done > size else done} bytes, and the file {size}.",
            request="GET /files/{file_id}/content",
            status_code=200,
        )
    return digest.hexdigest()
