"""Sends the parts of one upload in parallel while the source is hashed; a part counts once it is in the journal."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from anyio.abc import TaskGroup
from attrs import define, field

from asyncsdk import api, tasks
from asyncsdk.client import Client
from asyncsdk.errors import APIStatusError, PayloadTooLargeError, ResponseMismatchError
from asyncsdk.models import UploadPart
from asyncsdk.retry import Retry
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.body import PartAttempt, PartSource
from asyncsdk.uploads.checksum import ContentHash, check_same
from asyncsdk.uploads.chunking import BLOCK, Pending, Range, covers, fitting_part_size, gaps
from asyncsdk.uploads.journal import Log, Part
from asyncsdk.uploads.pacing.connections import Connections, PartPlace
from asyncsdk.uploads.parts.session import Session, raise_refusal
from asyncsdk.uploads.progress import Meter
from asyncsdk.uploads.response_checks import not_this_part
from asyncsdk.uploads.resuming.resume import non_overlapping, span_of

log = logging.getLogger(__name__)

FRUITLESS_ROUNDS = 2  # one may be lost to a source that changed before, or to responses that were crossed once


@define(eq=False, kw_only=True)
class Sending:
    """Sends what `session` lacks. `connections` are those of all uploads of an uploader.

    Parts are of `part_size`; with `fit`, smaller ones on a slow connection.
    """

    client: Client
    log: Log
    session: Session
    part_source: PartSource
    hashers: DaemonThreadPool
    digest: ContentHash
    retry: Retry
    connections: Connections
    meter: Meter
    part_size: int
    fit: bool
    _own: set[str] = field(factory=set, init=False)

    async def finish(self) -> list[Part]:
        """Return the parts that make up the whole source, in order, each checked against the hashing pass.

        What earlier runs sent is trusted until the hashing pass has read it; where that disagrees, or two parts
        have one id, those bytes go in another round. Raises SourceChangedError where bytes changed under this very run,
        ResponseMismatchError where `FRUITLESS_ROUNDS` in a row brought nothing that counts, RuntimeError
        where a round ends without an error and without a part, which only a cancellation by nobody here can do.
        """
        held = non_overlapping(self.session.parts)
        fruitless = 0
        while fruitless < FRUITLESS_ROUNDS:
            self._count(held)
            pending = Pending(self.part_size, gaps(self.digest.size, map(span_of, held)))
            wanted, sent, known = pending.pieces(), len(self.session.parts), _size_of(held)
            await self._round(pending, held)
            if not self.digest.done or (wanted and len(self.session.parts) == sent):
                raise RuntimeError("parts were to be sent, and none was: something in it ended as if cancelled")
            self.part_size = pending.part_size
            held = non_overlapping(part for part in self.session.parts if self._still_matches(part))
            if covers(self.digest.size, [span_of(part) for part in held]):
                self._count(held)
                return held
            fruitless = 0 if _size_of(held) > known else fruitless + 1
            name = self.part_source.source.name
            log.info("%s has changed, or ids of its parts came twice; what is in doubt is sent again", name)
        raise ResponseMismatchError(
            f"the server gives several parts of {self.session.upload_id} the same id, time after time, so that it "
            "can't be known which bytes a part holds. Nothing was completed. Something between here and the server "
            "may join concurrent requests: try one part at a time, with concurrency=1 (--concurrency 1)."
        )

    async def _round(self, pending: Pending, held: list[Part]) -> None:
        spans = [span_of(part) for part in held]
        hashing = partial(self.digest.read, self.part_source.source, self.hashers, self.meter.set_hashed, spans)
        if self.digest.size <= BLOCK:  # at once or one after the other: tasks for that cost more than to hash it
            await tasks.await_foreign(hashing())
            await tasks.await_foreign(self._work(pending))
            return
        async with tasks.group() as group:
            group.start_soon(hashing)
            for _ in range(min(self.connections.most, pending.pieces())):
                group.start_soon(self._work, pending, group)

    async def _work(self, pending: Pending, group: TaskGroup | None = None) -> None:
        while pending.pieces():  # or else it would wait for a connection and have nothing to send
            async with self.connections.place() as place:
                piece = pending.take(self._at_most(pending))
                if piece is None:
                    return
                if not await self._send(piece, pending, place):
                    assert group is not None, "a block is never too large: it can't be halved"  # noqa: S101
                    group.start_soon(self._work, pending, group)

    def _at_most(self, pending: Pending) -> int:
        share = self.meter.left // self.connections.limit
        return fitting_part_size(pending.part_size, self.meter.flow, share) if self.fit else pending.part_size

    async def _send(self, piece: Range, pending: Pending, place: PartPlace) -> bool:
        """Send a piece; False if it was too large and went back, to be sent as two by two workers."""
        if not self.session.unverified and self.client.clock.is_past(self.session.expires_at):
            raise self.session.expired()  # whether an unverified one has ended is for the server to say
        attempt = PartAttempt(self.part_source, self.meter, piece, place)
        confirmed = 0
        try:
            part = await self._deliver(attempt)
            confirmed, place.was_answered = piece.length, True
        except PayloadTooLargeError:
            if not pending.shrink_below(piece.length):
                raise
            log.warning(
                "%s: parts of %d bytes are refused as too large; smaller ones from now on",
                self.session.upload_id,
                piece.length,
            )
            pending.put_back(piece)
            return False
        else:
            check_same(self.digest.fingerprint(piece), part.xxh3, self.part_source.source.name)
            return True
        finally:
            attempt.finish(confirmed)

    async def _deliver(self, attempt: PartAttempt) -> Part:
        request = api.add_upload_part(self.session.upload_id, data=attempt.new_body)
        try:
            answer = await self.client.send(request, retry=self.retry, check=self._problem)
        except APIStatusError as error:
            raise_refusal(error, self.session, self.client.clock)
        if answer.id in self._own:
            log.warning("%s: two parts were given the id %s: both are sent again", self.session.upload_id, answer.id)
        span = attempt.span
        part = Part(
            upload=self.session.upload_id,
            offset=span.offset,
            length=span.length,
            id=answer.id,
            xxh3=attempt.body.fingerprint,
        )
        with self.meter.on_our_side():
            await self.log.append(part)
        self.digest.record(span, attempt.body.blocks)
        self.meter.set_hashed(self.digest.hashed)
        self._own.add(part.id)
        self.session.parts.append(part)
        self._confirm(answer)
        self.retry.progressed()
        log.debug("%s: part %s holds %d bytes from %d", part.upload, part.id, part.length, part.offset)
        return part

    def _problem(self, part: UploadPart) -> str | None:
        return not_this_part(part, upload_id=self.session.upload_id)

    def _confirm(self, answer: UploadPart) -> None:
        """The server took a part: the upload is there, and the response has the server's time."""
        if answer.created_at is not None and not self.client.clock.is_anchored:
            self.client.clock.anchor(answer.created_at)
        self.session.verified = True
        self.retry.deadline = float(self.session.expires_at)

    def _still_matches(self, part: Part) -> bool:
        read = self.digest.fingerprint(span_of(part))
        if part.id in self._own:
            check_same(read, part.xxh3, self.part_source.source.name)
        return read == part.xxh3

    def _count(self, held: list[Part]) -> None:
        self.meter.set_confirmed(_size_of(held), _size_of(part for part in held if part.id not in self._own))


def _size_of(parts: Iterable[Part]) -> int:
    """How many bytes `parts` hold."""
    return sum(part.length for part in parts)
