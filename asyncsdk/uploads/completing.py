"""Complete, asked once and believed only when it is sure: a lost answer is looked up, never guessed."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from functools import partial

import anyio
from attrs import define

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    CompletionUnknownError,
    RedirectError,
)
from asyncsdk.journal import Completing, Log, Refused
from asyncsdk.models import File, Upload
from asyncsdk.retry import Retry
from asyncsdk.uploads.digest import encoded_md5
from asyncsdk.uploads.session import SETTLED_AFTER, ForgottenError, Session, may_have_acted, raise_refusal

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
        told = self.retry.on_wait
        self.retry.on_wait = partial(self._note, told)
        try:
            upload = await self.client.send(request, retry=self.retry)
        except APIError as error:
            return await self._after(error, asked)
        finally:
            self.retry.on_wait = told
        if upload.file is None:
            return await self._look(APIResponseValidationError("the completed upload came without its file"))
        if upload.file.bytes not in {None, self.size}:
            raise APIResponseValidationError(
                f"{upload.file.id} has {upload.file.bytes} bytes, not the {self.size} that were sent; delete it",
                request=request.name,
            )
        return upload

    def _note(self, told: Callable[[APIError, float], None] | None, error: APIError, delay: float) -> None:
        self.doubtful = self.doubtful or may_have_acted(error)
        if told is not None:
            told(error, delay)

    async def _after(self, error: APIError, asked: Completing) -> Upload:
        if isinstance(error, APIStatusError) and error.status_code < 500 and error.status_code != 408:
            if not self.doubtful:
                await self.log.append(Refused(upload=self.session.upload_id, status=error.status_code))
                error.add_note(f"asked with {len(asked.part_ids)} parts of {self.size} bytes, md5 as {asked.md5_form}")
                raise_refusal(error, self.session, self.client.clock)
            if error.status_code not in {401, 403, 429}:
                return await self._look(error)
        elif self.doubtful or (may_have_acted(error) and not isinstance(error, RedirectError)):
            raise self._unknown("its answer was lost") from error
        raise error

    async def _look(self, error: APIError) -> Upload:
        like = await self._listed_until_found()
        if len(like) == 1:
            log.info("%s: complete was refused (%s), but its file is there", self.session.upload_id, error)
            return completed_upload(self.session.upload_id, like[0])
        if like:
            ids = ", ".join(file.id for file in like)
            raise self._unknown(f"more than one file may be its own ({ids})") from error
        if self.client.clock.seconds_until(self.session.expires_at + SETTLED_AFTER) > 0:
            raise self._unknown("asked again it was refused, and no file that may be its own is listed") from error
        if self.session.recalled:
            gone = f"{self.session.upload_id} expired and no file was made of it"
            raise ForgottenError(gone, upload_id=self.session.upload_id) from error
        raise self.session.expired() from error

    async def _listed_until_found(self) -> list[File]:
        until = time.monotonic() + LOOK_SECONDS
        while True:
            try:
                like = candidates(await self._listed(), self.session)
            except APIError as unseen:
                raise self._unknown("the files could not be listed to look for its own") from unseen
            if like or time.monotonic() >= until:
                return like
            await anyio.sleep(LOOK_INTERVAL)

    async def _listed(self) -> list[File]:
        like: list[File] = []
        others = await self.files_known()
        async with aclosing(self.client.pages(api.list_files(purpose=self.purpose, order="desc", limit=100))) as files:
            async for file in files:
                if file.created_at is not None and file.created_at < self.session.created_at:
                    break
                if file.filename == self.filename and file.bytes == self.size and file.id not in others:
                    like.append(file)
        return like

    def _unknown(self, what: str) -> CompletionUnknownError:
        return CompletionUnknownError(
            f"complete of {self.session.upload_id} was asked and {what}; whether the file was made can't be told yet. "
            "Nothing will be sent twice: make the same call again in a while.",
            upload_id=self.session.upload_id,
        )


def candidates(like: Iterable[File], session: Session) -> list[File]:
    """Which of the files that look alike this upload may have become.

    OpenAI gives the File its upload's `created_at`; where none has that, it is one made while the upload lived.
    """
    files = list(like)
    same = [file for file in files if file.created_at == session.created_at]
    return same or [file for file in files if session.created_at <= (file.created_at or 0) <= session.expires_at]


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
