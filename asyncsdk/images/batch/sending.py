"""Sends batches: uploads pictures once each, uploads the input file, creates the batch, and finds one that was lost.

Each step is in the ledger before it is made or at once after it, so that a run that is killed goes on: see
`ledger/book.py`. All files have names that begin with the ledger's token, by which what was sent and not written down
is found on the server.
"""

from __future__ import annotations

import hashlib
import logging
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
from attrs import define, evolve, field, frozen

from asyncsdk import api, files
from asyncsdk.api import ImageFile, ImageRef, Purpose
from asyncsdk.batches import Batch
from asyncsdk.client import Client
from asyncsdk.errors import APIConnectionError, APIError, NotFoundError
from asyncsdk.file_match import SentFile, not_posted
from asyncsdk.images.batch.memory import BatchMemory
from asyncsdk.images.batch.requests import ENDPOINT
from asyncsdk.images.batch.rows import OpenPart, References
from asyncsdk.images.batch.search import CreateSearch
from asyncsdk.images.batch.stock import KEPT_SECONDS
from asyncsdk.images.ledger.book import BatchRecord
from asyncsdk.images.pictures import LoadedEdit
from asyncsdk.limiter import RateLimiter
from asyncsdk.models import File
from asyncsdk.paging import each_page
from asyncsdk.ratelimit import FILE_REQUESTS
from asyncsdk.retry import Retry, is_worth_retrying, may_have_acted

FILES_PER_MINUTE = 1_000.0
OUTPUT_SECONDS = 30 * 24 * 3600  # for which results stay: as long as the API allows
RETRIES = 10  # a batch costs nothing until it is created
PAGE = 100
MOST_SENT = 10_000  # ids that are kept, so that memory has a bound: responses cross within seconds

_LAPSED = "the lease of this process lapsed before a byte of the request for the batch went out. Nothing was sent."

_DELETED = "its pictures were deleted meanwhile, or expire too soon. Nothing was sent."

logger = logging.getLogger(__name__)


class NotCreatedError(APIConnectionError):
    """Another process may have called the batch lost by now, or has deleted its pictures: it is not created."""


@frozen
class OurNames:
    """The names of all files that any call with a ledger sends: they begin with its token."""

    prefix: str

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.startswith(self.prefix)


@define(eq=False, kw_only=True)
class BatchSender:
    """Sends what batches need, for one call."""

    client: Client
    memory: BatchMemory
    _limiter: RateLimiter = field(init=False)
    _turns: dict[str, anyio.Lock] = field(factory=dict, init=False)  # by the digest of a picture
    _sent: dict[str, str] = field(factory=dict, init=False)  # files of this call, and their names

    def __attrs_post_init__(self) -> None:
        self._limiter = RateLimiter(FILE_REQUESTS, FILES_PER_MINUTE)

    async def begin(self) -> None:
        """Give the ledger its token, if it has none."""
        if self.memory.book.token is None:
            await self.memory.note({"t": "batches", "token": uuid4().hex[:12]})

    @property
    def prefix(self) -> str:
        """What the names of all our files begin with."""
        return f"asyncsdk-{self.memory.book.token}-"

    async def references(self, loaded: LoadedEdit) -> References:
        """Where the pictures of an edit are on the server: those that are not there are uploaded. Raises APIError."""
        images = [await self._reference(picture) for picture in loaded.images]
        mask = None if loaded.mask is None else await self._reference(loaded.mask)
        given = (*loaded.images, loaded.mask)
        pairs = zip(given, (*images, mask), strict=True)
        ours = [there.file_id for one, there in pairs if there is not None and isinstance(one, ImageFile)]
        return References(images, mask, [file_id for file_id in ours if file_id is not None])

    async def _reference(self, picture: Any) -> ImageRef:
        if isinstance(picture, ImageRef):
            return picture
        digest = await files.in_thread(lambda: hashlib.sha256(picture.content).hexdigest())
        async with self._turns.setdefault(digest, anyio.Lock()):  # it is uploaded once, however many edits have it
            known = self.memory.book.stock.find(digest, now=self.client.clock.now())
            return ImageRef(file_id=await self._uploaded(picture, digest) if known is None else known.file_id)

    async def _uploaded(self, picture: ImageFile, digest: str) -> str:
        name = f"{self.prefix}{digest[:32]}.{picture.mime_type.rpartition('/')[2]}"
        file = await self._upload(picture.content, name, "vision", picture.mime_type)
        await self.memory.note({"t": "uploaded", "digest": digest, "file": file.id, "expires": file.expires_at})
        return str(file.id)

    async def create(self, part: OpenPart) -> tuple[BatchRecord, Batch | None] | None:
        """Create the batch of these rows. Returns it, and what the server says; None for that where it was lost.

        None, and fewer rows in the part, where some were another process's by then. Raises APIError where surely
        nothing was created: its rows are as they were; NotCreatedError where the rows that are left in the part need
        other lines.
        """
        key = uuid4().hex
        part.rows.sort(key=lambda row: row.item)  # so that the ledger knows the order of the lines
        file = await self._upload(part.content, f"{self.prefix}{key}.jsonl", "batch", "application/jsonl")
        intent = BatchRecord(
            key=key,
            number=0,
            model=part.model,
            edits=len(part.rows),
            input_file=file.id,
            intended_at=self.client.clock.now(),
            rounds=part.rounds,
        )
        record, lost = await self.memory.begin(intent, part.rows)
        if record is None:  # the file has lines that are others' by now: it is of no use
            part.rows = [row for row in part.rows if row.item not in lost]
            return None
        create = api.create_batch(
            input_file_id=file.id,
            endpoint=ENDPOINT,
            metadata=metadata_of(record, self.memory.book.token or ""),
            output_expires_after={"anchor": "created_at", "seconds": OUTPUT_SECONDS},
        )

        needs = [file_id for row in part.rows for file_id in row.needs]

        def require_all() -> None:
            if not self.memory.may_create(record):
                raise NotCreatedError(_LAPSED, request=create.name, sent=False)
            if not self.memory.book.stock.stays(needs, now=self.client.clock.now()):
                raise NotCreatedError(_DELETED, request=create.name, sent=False)

        retry = Retry(RETRIES, on_sent=require_all, should_retry=_may_help)
        try:
            batch = await self.client.send(create, retry=retry, check=lambda made: _is_anothers(made, file.id))
        except NotCreatedError:
            free = await self.memory.withdraw(record, [row.item for row in part.rows])
            part.rows = [row for row in part.rows if row.item in free]
            raise
        except APIError as error:
            if may_have_acted(error):
                logger.warning(
                    "batch %d: the answer to its create is lost (%s): it is looked for", record.number, error
                )
                return record, None
            await self.memory.withdraw(record, [])
            raise
        return await self.found(record, batch), batch

    async def found(self, record: BatchRecord, batch: Batch) -> BatchRecord:
        """Write down the server's id of a batch."""
        await self.memory.note({"t": "created", "batch": record.key, "id": batch.id})
        return evolve(record, batch_id=batch.id)

    async def look(self, record: BatchRecord) -> Batch | None:
        """The batch as it is now; None where the server does not know it, or does not list it. Raises APIError."""
        if record.batch_id is None:
            return await self._search(record)
        try:
            return await self.client.send(api.retrieve_batch(record.batch_id))
        except NotFoundError:
            return None

    async def _search(self, record: BatchRecord) -> Batch | None:
        """The batch of a create whose answer was lost, in the list."""
        metadata = metadata_of(record, self.memory.book.token or "")
        search = CreateSearch(input_file_id=record.input_file, metadata=metadata, intended_at=record.intended_at)
        async for page in each_page(self.client.send, api.list_batches(limit=PAGE)):
            search.look(page.data)
            if search.is_over:
                break
        found = sorted(search.found.values(), key=lambda each: each.created_at or 0)
        for other in found[1:]:
            await self._cancel(other)
        return found[0] if found else None

    async def _cancel(self, batch: Batch) -> None:
        """Cancel a second batch of one create, which something on the way repeated."""
        logger.warning("%s was created by a request that was repeated on its way: it is cancelled", batch.id)
        try:
            await self.client.send(api.cancel_batch(batch.id))
        except APIError as error:
            logger.warning("%s: not cancelled: %s", batch.id, error)

    async def _upload(self, content: bytes, name: str, purpose: Purpose, mime_type: str) -> File:
        """Upload a file, which costs nothing: another one that it may make is found later. Raises APIError."""
        request = api.create_file(
            file=content,
            filename=name,
            purpose=purpose,
            mime_type=mime_type,
            expires_after={"anchor": "created_at", "seconds": KEPT_SECONDS},
        )
        known: Any = {"content": SentFile(name, purpose, len(content)), "names": OurNames(self.prefix)}
        check = partial(not_posted, posting_id=name, files=self._sent, **known)
        permit = await self._limiter.acquire(1)
        file = await self.client.send(request, retry=Retry(RETRIES), check=check)
        self._limiter.accepted(permit)
        self._sent[file.id] = name
        if len(self._sent) > MOST_SENT:
            del self._sent[next(iter(self._sent))]
        return file


def metadata_of(record: BatchRecord, token: str) -> dict[str, str]:
    """What a batch is created with: the ledger, its number there, and the create."""
    return {"asyncsdk": token, "part": str(record.number), "create": record.key}


def _may_help(error: APIError) -> bool:
    return is_worth_retrying(error) and not isinstance(error, NotCreatedError)


def _is_anothers(batch: Batch, input_file: str) -> str | None:
    """What shows that the answer to a create is of another one."""
    if batch.input_file_id in {None, input_file}:
        return None
    return f"it is a batch of {batch.input_file_id}, and {input_file} was sent"
