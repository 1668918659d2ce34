"""One upload from start to end: replay the journal, create, hash and send, complete, record the result."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from typing import ClassVar

from attrs import define, field

from asyncsdk import api, tasks
from asyncsdk.errors import APIError, UploadExpiredError, UploadNotFoundError
from asyncsdk.events import UploadPhase
from asyncsdk.models import File, Upload, to_json
from asyncsdk.uploads.checksum import check_its_content, check_unchanged
from asyncsdk.uploads.job import UploadResult
from asyncsdk.uploads.journal import Completed, Completing, Expired, Opened, Part
from asyncsdk.uploads.parts.completing import Completion, record_gone
from asyncsdk.uploads.parts.deadline import FASTER, watch_deadline
from asyncsdk.uploads.parts.sending import Sending
from asyncsdk.uploads.parts.session import ForgottenError, Session, opened_record
from asyncsdk.uploads.response_checks import Others, not_created
from asyncsdk.uploads.resuming.moved import NothingToResumeError, can_go_on, note, why_from_start
from asyncsdk.uploads.resuming.resume import ResumeState, Stage, replay, why_again
from asyncsdk.uploads.reuse import SourceRun, reporting

log = logging.getLogger(__name__)

COMPLETE_AGAIN_SECONDS = 60.0  # how long a repeated complete may be retried, though the hour is over


@define(eq=False, kw_only=True)
class UploadRun(SourceRun):
    """A run through the Uploads API. `others` asks what is known of other uploads than the one of a `Completing`."""

    part_size: int
    others: Callable[[Completing, Collection[str | int]], Awaitable[Others]]
    _held: list[str] = field(factory=list, init=False)
    _current: Session | None = field(default=None, init=False)
    _sends: ClassVar[type[Sending]] = Sending

    @property
    def _if_too_slow(self) -> str:
        """What to do where the connection is too slow."""
        return FASTER

    async def result(self) -> UploadResult:
        """Upload the file, from wherever the journal says that it stopped."""
        try:
            with reporting(self.meter, self.context.client.timing.deadline_check):
                if self.moved is not None:
                    await self._check_moved(self.moved)
                return await self._go_on(replay(self._records))
        except ForgottenError as gone:
            log.warning("%s: %s; starting again", self.source.name, gone)
            await self.log.append(Expired(upload=gone.upload_id, reason=str(gone)))
            return await self._send_again(f"starting again: {gone.upload_id} is gone")
        except (UploadExpiredError, UploadNotFoundError) as gone:
            await record_gone(self.log, gone)
            raise
        finally:
            for upload_id in self._held:
                self.context.ids.uploads.pop(upload_id, None)

    def report_kept(self) -> None:
        """Report, once the claim is over, what was kept: also parts whose records were still on their way to the disk.

        Without it the last report would be up to a tenth of a second old.
        """
        session = self._current
        if session is None or self.meter.upload_id != session.upload_id:
            return
        state = replay(record for record in self.log.records if record.upload == session.upload_id)
        counted = {part.id for part in session.parts}
        self.meter.done += sum(part.length for part in (state.parts if state else ()) if part.id not in counted)
        self.meter.report()

    async def _go_on(self, recalled: ResumeState | None) -> UploadResult:
        session = await self._session(recalled)
        if session is None or recalled is None:
            return await self._send_again(why_again(recalled, asked=not self.job.resume) or self.why)
        if recalled.completing is not None:
            found = await self._ask_again(session, recalled.completing)
            if found is not None:
                return found
            return await self._send_again("the file has changed since it was completed")
        held = recalled.bytes_held
        log.info("%s: going on with %s, %d bytes are there", self.source.name, session.upload_id, held)
        self.meter.done = self.meter.resumed = held
        self.meter.enter(UploadPhase.SENDING, self._how_it_goes_on(session))
        return await self._send_all(session)

    def _how_it_goes_on(self, session: Session) -> str:
        if self.moved is None:
            return f"going on with {session.upload_id}" if self.meter.done else ""
        words = note(self.moved, self.source.name)
        log.info("%s %s", self.source.name, words)
        return words

    async def _check_moved(self, moved: Opened) -> None:
        """Raise OtherContentError where `moved` is another file's, NothingToResumeError where it can't go on."""
        state = replay(self._records)
        if state is not None:
            self.meter.enter(UploadPhase.CHECKING, f"comparing {self.source.name} with {moved.upload}")
            await check_its_content(self.source, self.digest, state, self.context.hashers, self.meter.set_hashed)
        if not can_go_on(self.log.records, moved.upload, now=self.context.client.clock.now()):
            raise NothingToResumeError(why_from_start(self.log.records, moved.upload))

    async def _send_again(self, why: str) -> UploadResult:
        """Return the File if it is there, else send all into a new upload. One that was moved is left to its call."""
        found = await self._still_there()
        if found is not None:
            return found
        await self._start_over()
        if self.moved is not None:
            raise NothingToResumeError(why)
        return await self._send_all(await self._create(why))

    async def _session(self, recalled: ResumeState | None) -> Session | None:
        """The recalled upload, if this run may go on with it."""
        if recalled is None or recalled.opened is None or recalled.stage not in {Stage.PENDING, Stage.COMPLETING}:
            return None
        opened, asked = recalled.opened, recalled.completing is not None
        if not asked and (not self.job.resume or await self._is_over(opened)):
            return None
        session = Session(
            opened.upload,
            opened.created_at,
            opened.expires_at,
            recalled=True,
            parts=list(recalled.parts),
            refused=recalled.refused,
        )
        self._hold(opened)
        self._adopt(session)
        return session

    async def _is_over(self, opened: Opened) -> bool:
        """Whether its hour is over: by the local clock, which may be ahead, and by the server's, which is asked."""
        clock = self.context.client.clock
        if clock.local() < opened.expires_at:
            return False
        with suppress(APIError):  # a refusal has a date, too
            await self.context.client.send(api.list_files(limit=1), retry=self._retry)
        return clock.is_past(opened.expires_at)

    async def _create(self, why: str) -> Session:
        size, fields = self.source.identity.size, self.fields
        self._retry.deadline, self._retry.kept_until = math.inf, -math.inf
        if why:
            log.info("%s: %s", self.source.name, why)
        self.meter.enter(UploadPhase.SENDING, why)
        self.context.ids.record_name(fields.filename)
        upload = await self.context.client.send(
            api.create_upload(
                bytes=size,
                filename=fields.filename,
                mime_type=fields.mime_type,
                purpose=fields.purpose,
                expires_after=fields.expires_after,
            ),
            retry=self._retry,
            check=self._not_created,
        )
        opened = opened_record(
            upload,
            key=self.key,
            place=self.place,
            fields=self.fields,
            settings=self.context.client.settings,
            identity=self.source.identity,
            now=self.context.client.clock.now(),
        )
        self.context.client.clock.anchor(opened.created_at)
        self._hold(opened)  # before anything is awaited, for its id may come twice
        await self.log.append(opened)
        self.context.moved_files.began(opened)
        session = Session(upload.id, opened.created_at, opened.expires_at, recalled=False)
        self._adopt(session)
        return session

    def _not_created(self, upload: Upload) -> str | None:
        known = {*self.context.ids.uploads, *(record.upload for record in self.log.records)}
        self.context.ids.record_file(upload)
        return not_created(upload, content=self._content, known=known, ids=self.context.ids)

    def _hold(self, opened: Opened) -> None:
        self._held.append(opened.upload)
        self.context.ids.uploads[opened.upload] = opened

    def _adopt(self, session: Session) -> None:
        self._current = session
        self.meter.upload_id, self.meter.expires_at = session.upload_id, session.expires_at
        self._retry.kept_until = float(session.expires_at)
        self._retry.deadline = math.inf if session.unverified else self._retry.kept_until

    async def _send_all(self, session: Session) -> UploadResult:
        is_over = self.meter.state is UploadPhase.RETRYING  # why it waited is not why it sends
        self.meter.enter(UploadPhase.SENDING, "" if is_over else self.meter.note)
        client = self.context.client
        async with tasks.group() as background:
            limited = partial(watch_deadline, limit_rate=self.context.throttle.rate, advice=self._if_too_slow)
            background.start_soon(limited, session, self.meter, client.clock, client.timing)
            parts = await self._sending(session).finish()
            await check_unchanged(self.source, self.digest, self.context.readers, self.context.hashers)
            asked = self._asking(session, parts)
            await self.log.append(asked)
            upload = await self._completion(session).ask(asked)
            background.cancel_scope.cancel()
        return self._result(upload, await self._settle(upload, asked, is_result=True))

    def _sending(self, session: Session) -> Sending:
        context = self.context
        return self._sends(
            client=context.client,
            log=self.log,
            session=session,
            part_source=self._part_source(self.source),
            hashers=context.hashers,
            digest=self.digest,
            retry=self._retry,
            connections=context.connections,
            meter=self.meter,
            part_size=self.part_size,
            fit=context.part_size is None,
        )

    def _asking(self, session: Session, parts: list[Part]) -> Completing:
        return Completing(
            upload=session.upload_id,
            part_ids=tuple(part.id for part in parts),
            md5=self.digest.md5,
            md5_form=self.context.md5_form,
            xxh3=self.digest.xxh3 if self.digest.done else None,
        )

    async def _ask_again(self, session: Session, asked: Completing) -> UploadResult | None:
        """Repeat a complete whose response was lost; None if its File holds other content than the source now."""
        self._count_as_there()
        is_result = await self._is_of_source(asked)
        self._retry.deadline = max(session.expires_at, self.context.client.clock.now() + COMPLETE_AGAIN_SECONDS)
        upload = await self._completion(session, outcome_unknown=True).ask(asked)
        file = await self._settle(upload, asked, is_result=is_result)
        return self._result(upload, file) if is_result else None

    def _completion(self, session: Session, *, outcome_unknown: bool = False) -> Completion:
        self.meter.enter(UploadPhase.COMPLETING)
        return Completion(
            client=self.context.client,
            log=self.log,
            session=session,
            retry=self._retry,
            content=self._content,
            ids=self.context.ids,
            others=self.others,
            outcome_unknown=outcome_unknown,
        )

    async def _settle(self, upload: Upload, asked: Completing, *, is_result: bool) -> File:
        file = upload.file
        assert file is not None  # noqa: S101 - a completion returns it
        self.context.lost_files.answered(file.id)
        record = Completed(upload=asked.upload, file=to_json(file), md5=asked.md5, xxh3=asked.xxh3)
        await (self.log.append_final(record) if is_result else self.log.append(record))
        return file
