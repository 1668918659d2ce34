"""Complete, asked once and believed only when it is sure: a lost answer is looked up, never guessed."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import anyio
from attrs import define, evolve

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    CompletionUnknownError,
)
from asyncsdk.journal import Completing, Expired, Log, Refused
from asyncsdk.models import File, Upload
from asyncsdk.retry import Retry, may_have_acted
from asyncsdk.uploads.digest import encoded_md5
from asyncsdk.uploads.session import SETTLED_AFTER, ForgottenError, Session, raise_refusal

log = logging.getLogger(__name__)

LOOK_SECONDS, LOOK_INTERVAL = 30.0, 2.0


@define(eq=False, kw_only=True)
class Completion:
    """Asks for one session's File. `doubtful` once an earlier asking may have been heard without our knowing."""

    client: Client
    log: Log
    session: Session
    retry: Retry
    filename: str
    purpose: str
    size: int
    files_known: Callable[[], Awaitable[set[str]]]
    doubtful: bool = False

    async def ask(self, asked: Completing) -> Upload:
        """Return the completed Upload, its `file` set.

        Raises CompletionUnknownError as long as it can't be known whether the File was made,
        ForgottenError where it surely was not, and the server's own refusal of a first asking.
        """
        md5 = None if asked.md5 is None or asked.md5_form == "off" else encoded_md5(asked.md5, asked.md5_form)
        request = api.complete_upload(self.session.upload_id, part_ids=asked.part_ids, md5=md5)
        try:
            upload = await self.client.send(request, retry=evolve(self.retry, on_wait=self._note))
        except APIError as error:
            return await self._after(error, asked)
        if upload.file is None:
            return await self._look(APIResponseValidationError("the completed upload came without its file"))
        if upload.file.bytes not in {None, self.size}:
            wrong = f"{upload.file.id} has {upload.file.bytes} bytes, not the {self.size} that were sent"
            await self.log.append(Expired(upload=self.session.upload_id, reason=wrong))
            raise APIResponseValidationError(f"{wrong}; delete it", request=request.name)
        return upload

    def _note(self, error: APIError, delay: float) -> None:
        self.doubtful = self.doubtful or may_have_acted(error)
        if self.retry.on_wait is not None:
            self.retry.on_wait(error, delay)

    async def _after(self, error: APIError, asked: Completing) -> Upload:
        if isinstance(error, APIStatusError) and error.status_code < 500 and error.status_code != 408:
            if not (self.doubtful or may_have_acted(error)):
                await self.log.append(Refused(upload=self.session.upload_id, status=error.status_code))
                error.add_note(f"asked with {len(asked.part_ids)} parts of {self.size} bytes, md5 as {asked.md5_form}")
                raise_refusal(error, self.session, self.client.clock)
            if error.status_code not in {401, 403, 429}:
                return await self._look(error)
        elif self.doubtful or may_have_acted(error):
            raise self._unknown("its answer was lost") from error
        raise error

    async def _look(self, error: APIError) -> Upload:
        like = await self._listed_until_found()
        own = [file for file in like if self._is_own(file)]
        if len(own) == 1:
            log.info("%s: complete was refused (%s), but its file is there", self.session.upload_id, error)
            return completed_upload(self.session.upload_id, own[0])
        if like:
            ids = ", ".join(file.id for file in own or like)
            raise self._unknown(f"what is listed may be its own file or somebody else's ({ids})") from error
        if self.client.clock.seconds_until(self.session.expires_at + SETTLED_AFTER) > 0:
            raise self._unknown("refused in the end, and no file that may be its own is listed") from error
        if self.session.recalled:
            gone = f"{self.session.upload_id} expired and no file was made of it"
            raise ForgottenError(gone, upload_id=self.session.upload_id) from error
        raise self.session.expired() from error

    async def _listed_until_found(self) -> list[File]:
        until = time.monotonic() + LOOK_SECONDS
        while True:
            try:
                like = await self._listed()
            except APIError as unseen:
                raise self._unknown("the files could not be listed to look for its own") from unseen
            if any(map(self._is_own, like)) or time.monotonic() >= until:
                return like
            await anyio.sleep(LOOK_INTERVAL)

    async def _listed(self) -> list[File]:
        """The files that this upload may have become. The whole list is read: some servers don't keep its order."""
        others = await self.files_known()
        async with aclosing(self.client.pages(api.list_files(purpose=self.purpose, order="desc"))) as files:
            return [file async for file in files if self._may_be(file) and file.id not in others]

    def _may_be(self, file: File) -> bool:
        """Whether nothing that is told of `file` speaks against it."""
        alike = file.filename in {None, self.filename} and file.bytes in {None, self.size}
        born = file.created_at
        return alike and (born is None or self.session.created_at <= born <= self.session.expires_at)

    def _is_own(self, file: File) -> bool:
        """Whether `file` is believed: OpenAI gives the File its upload's `created_at`, which a stranger's lacks."""
        told = (file.filename, file.bytes, file.created_at)
        return told == (self.filename, self.size, self.session.created_at)

    def _unknown(self, what: str) -> CompletionUnknownError:
        return CompletionUnknownError(
            f"complete of {self.session.upload_id} was asked and {what}; whether {self.filename} was made of it can't "
            "be told yet.",
            upload_id=self.session.upload_id,
        )


def completed_upload(upload_id: str, file: File) -> Upload:
    """The Upload that the server would have answered with, as far as its file tells."""
    return Upload(
        id=upload_id,
        object="upload",
        bytes=file.bytes,
        created_at=file.created_at,
        filename=file.filename,
        purpose=file.purpose,
        status="completed",
        file=file,
    )
