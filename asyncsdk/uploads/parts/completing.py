"""Complete and cancel an upload, and what follows when the response to either is lost: nothing completed is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing, suppress
from functools import partial
from typing import NoReturn

import anyio
from attrs import define, evolve, frozen

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    CompletionUnknownError,
    ConfigurationError,
    JournalError,
    NotFoundError,
    ResponseMismatchError,
    UnusableClientError,
    UploadError,
    UploadNotFoundError,
)
from asyncsdk.models import File, Upload, to_json
from asyncsdk.retry import Retry, may_have_acted
from asyncsdk.uploads.advice import OF_ANOTHER_TIME
from asyncsdk.uploads.checksum import encoded_md5
from asyncsdk.uploads.journal import Cancelled, Completed, Completing, Expired, Log, Posting, Refused
from asyncsdk.uploads.parts.session import (
    SETTLED_AFTER,
    TRANSIENT,
    ForgottenError,
    Session,
    has_ended,
    may_mean_completed,
    raise_refusal,
)
from asyncsdk.uploads.response_checks import Content, Ids, Others, not_cancelled, not_completed
from asyncsdk.uploads.resuming.resume import Stage, replay

log = logging.getLogger(__name__)


@define(eq=False, kw_only=True)
class Completion:
    """Asks for one session's File. `outcome_unknown` once an earlier request may have been acted on.

    `others` asks what is known of other uploads than that of a `Completing`, as far as they became one of these Files
    or were created at one of these unix times; `ids` are those that this uploader holds.
    """

    client: Client
    log: Log
    session: Session
    retry: Retry
    content: Content
    ids: Ids
    others: Callable[[Completing, Collection[str | int]], Awaitable[Others]]
    outcome_unknown: bool = False

    async def ask(self, asked: Completing) -> Upload:
        """Return the completed Upload, its `file` set.

        Raises CompletionUnknownError as long as it can't be known whether the File was made,
        ForgottenError where it surely was not, and the server's own refusal of a first request.
        """
        md5 = None if asked.md5 is None or asked.md5_form == "off" else encoded_md5(asked.md5, asked.md5_form)
        request = api.complete_upload(self.session.upload_id, part_ids=asked.part_ids, md5=md5)
        retry = evolve(self.retry, on_wait=self._note)
        try:
            upload = await self.client.send(request, retry=retry, check=self._problem)
        except APIError as error:
            return await self._after(error, asked)
        if upload.file is None:
            return await self._look(APIResponseValidationError("the completed upload came without its file"), asked)
        return upload

    def _problem(self, upload: Upload) -> str | None:
        remembered = {str(each.file.get("id")): each.upload for each in self.log.records if isinstance(each, Completed)}
        files = self.ids.files | remembered
        if upload.file is not None and upload.file.id not in files:
            self.ids.record_file(upload)
        return not_completed(
            upload, upload_id=self.session.upload_id, content=self.content, files=files, names=self.ids.names
        )

    def _note(self, error: APIError, delay: float) -> None:
        self.outcome_unknown = self.outcome_unknown or may_have_acted(error)
        if self.retry.on_wait is not None:
            self.retry.on_wait(error, delay)

    async def _after(self, error: APIError, asked: Completing) -> Upload:
        outcome_unknown = self.outcome_unknown or may_have_acted(error)
        if isinstance(error, APIStatusError) and error.status_code < 500 and error.status_code != 408:
            if error.status_code not in {401, 403, 429}:
                return await (self._look(error, asked) if outcome_unknown else self._refused(error, asked))
            if not outcome_unknown:
                await self._raise_refusal(error, asked)
        elif isinstance(error, ResponseMismatchError):
            return await self._look(error, asked)
        elif outcome_unknown:
            raise self._unknown("its response was lost") from error
        raise error

    async def _refused(self, error: APIStatusError, asked: Completing) -> Upload:
        """The File, where something on the way sent the request twice and passed on the second response; else raises.

        A listed file that looks the same is not enough: a colleague may have sent one in the same second.
        """
        if not may_mean_completed(error):
            await self._raise_refusal(error, asked)
        try:
            listed = await self._listed(asked)
        except (APIError, UnusableClientError) as unseen:
            log.warning("%s: complete was refused, and the files could not be listed: %s", asked.upload, unseen)
            await self._raise_refusal(error, asked)
        own = self._own(listed)
        if own is None:
            await self._raise_refusal(error, asked, may_be_a_file=bool(listed.alike))
        return self._found(own, error)

    async def _raise_refusal(self, error: APIStatusError, asked: Completing, *, may_be_a_file: bool = True) -> NoReturn:
        await self.log.append(Refused(upload=self.session.upload_id, status=error.status_code))
        error.add_note(f"asked with {len(asked.part_ids)} parts of {self.content.size} bytes, md5 as {asked.md5_form}")
        if has_ended(error) and not may_be_a_file:
            await self.log.append(Expired(upload=self.session.upload_id, reason=str(error)))
        raise_refusal(error, self.session, self.client.clock, may_be_a_file=may_be_a_file)

    async def _look(self, error: APIError, asked: Completing) -> Upload:
        listed = await self._listed_until_found(asked)
        own = self._own(listed)
        if own is not None:
            return self._found(own, error)
        if listed.shared:
            gone = f"another call also used {self.session.upload_id}, with other content or for another source"
            raise ForgottenError(gone, upload_id=self.session.upload_id) from error
        if listed.alike:
            ids = ", ".join(file.id for file in listed.own or listed.alike)
            unknown = self._unknown(f"what is listed may be its own file or another's ({ids})")
            unknown.advice = "" if listed.own else OF_ANOTHER_TIME
            raise unknown from error
        if self.client.clock.seconds_until(self.session.expires_at + SETTLED_AFTER) > 0:
            raise self._unknown("refused in the end, and no file that may be its own is listed") from error
        if self.session.recalled:
            gone = f"{self.session.upload_id} expired and no file was made of it"
            raise ForgottenError(gone, upload_id=self.session.upload_id) from error
        raise self.session.expired() from error

    def _found(self, file: File, error: APIError) -> Upload:
        log.info("%s: complete was refused (%s), but its file is there", self.session.upload_id, error)
        upload = completed_upload(self.session.upload_id, file)
        self.ids.record_file(upload)
        return upload

    async def _listed_until_found(self, asked: Completing) -> _Listed:
        until = time.monotonic() + self.client.timing.file_search
        while True:
            try:
                listed = await self._listed(asked)
            except (APIError, UnusableClientError) as unseen:
                raise self._unknown("the files could not be listed to look for its own") from unseen
            if (listed.own and listed.sure) or listed.shared or time.monotonic() >= until:
                return listed
            await anyio.sleep(self.client.timing.file_search_interval)

    async def _listed(self, asked: Completing) -> _Listed:
        """The files that this upload may have become. The whole list is read: some servers don't keep its order.

        Raises:
            APIError: It could not be read, or its pages took longer than `Timing.file_search`.
        """
        request = api.list_files(purpose=self.content.purpose, order="desc")
        alike: list[File] = []
        until: float | None = None  # from the first page on, which has limits of its own
        async with aclosing(self.client.pages(request)) as files:
            async for file in files:
                until = until or time.monotonic() + self.client.timing.file_search
                if time.monotonic() > until:
                    raise APITimeoutError(
                        f"the list of files did not end within {self.client.timing.file_search:g} s",
                        request=request.name,
                        sent=False,
                    )
                if self._may_be(file):
                    alike.append(file)
        others = await self.others(asked, [self.session.created_at, *(file.id for file in alike)])  # known by now
        alike = [file for file in alike if file.id not in others.files]
        own = [file for file in alike if self._is_own(file)]
        sure = not others.shared and not any(others.may_have_made(file, self.content) for file in own)
        return _Listed(alike, own, others.shared, sure)

    def _own(self, listed: _Listed) -> File | None:
        return listed.own[0] if len(listed.own) == 1 and listed.sure else None

    def _may_be(self, file: File) -> bool:
        """Whether nothing speaks against `file` being made of this upload."""
        born = file.created_at
        in_time = born is None or self.session.created_at <= born <= self.session.expires_at
        return in_time and self.content.may_be(file)

    def _is_own(self, file: File) -> bool:
        """Whether `file` is trusted: OpenAI gives the File its upload's `created_at`, which another's lacks."""
        born_with_it = file.created_at == self.session.created_at
        return born_with_it and file.filename is not None and file.bytes is not None

    def _unknown(self, what: str) -> CompletionUnknownError:
        return CompletionUnknownError(
            f"complete of {self.session.upload_id} was sent and {what}; whether {self.content.filename} was made of "
            "it is not known yet.",
            upload_id=self.session.upload_id,
        )


@frozen
class _Listed:
    """Files that look `alike`, those of them that look like its `own`, and whether none of these may be another's."""

    alike: list[File]
    own: list[File]
    shared: bool
    sure: bool


def completed_upload(upload_id: str, file: File) -> Upload:
    """The Upload that the server would have returned, as far as it follows from its file."""
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


async def record_gone(claimed: Log, gone: UploadError) -> None:
    """Let the journal know where the server refused a part since the upload is gone: else it lists what can't go on.

    Not where complete was asked: what is not found then may have become a file.
    """
    upload_id = gone.upload_id or ""
    asked = any(isinstance(record, Completing) and record.upload == upload_id for record in claimed.records)
    if isinstance(gone.__cause__, APIStatusError) and not asked:
        with suppress(JournalError):  # what the server said is the error to raise
            await claimed.append(Expired(upload=upload_id, reason=str(gone)))


_CALL_AGAIN = "Make the upload call again, which looks for it."


async def cancelled(client: Client, claimed: Log, upload_id: str, ids: Ids) -> Upload:
    """Cancel `upload_id`, whose key is `claimed`, and record the result.

    Args:
        client: Sends the request.
        claimed: The journal's log of the upload's key.
        upload_id: The upload.
        ids: The ids that the other calls of this uploader hold.

    Returns:
        The Upload: cancelled, or completed with its file.

    Raises:
        AsyncSDKError: As `AsyncUploader.cancel` says.
    """
    recalled = replay(claimed.records)
    opened = None if recalled is None else recalled.opened
    if recalled is None or recalled.upload_id != upload_id or opened is None:
        raise ConfigurationError(f"another upload of that file has begun since {upload_id}. Nothing was sent.")
    if recalled.completed is not None:
        file = recalled.completed.file.get("id")
        raise ConfigurationError(f"{upload_id} is completed as {file}: delete that file instead. Nothing was sent.")
    if isinstance(opened, Posting):
        raise ConfigurationError(
            f"{upload_id} was sent by one request, which can't be cancelled. Nothing was sent. {_CALL_AGAIN}"
        )
    earlier = _MayHaveActed()
    try:
        upload = await client.send(
            api.cancel_upload(upload_id),
            retry=Retry(client.max_retries, on_wait=earlier.note),
            check=partial(not_cancelled, upload_id=upload_id, content=Content.of(opened), ids=ids),
        )
    except APIStatusError as error:
        may_be_a_file = recalled.stage is Stage.COMPLETING
        upload = await _after(error, claimed, upload_id, may_be_a_file=may_be_a_file, acted=earlier.value)
    if upload.file is not None or upload.status == "completed":
        await _settle_completed(claimed, upload_id, upload.file)
        ids.record_file(upload)
        log.warning("%s is not cancelled: complete came first, and its file is kept", upload_id)
    else:
        await claimed.append_final(Cancelled(upload=upload_id))
    return upload


async def _settle_completed(claimed: Log, upload_id: str, file: File | None) -> None:
    """Record as completed an upload whose complete succeeded and whose response was lost.

    Raises:
        CompletionUnknownError: Its file, or which content it has, is not known.
    """
    asked = [each for each in claimed.records if isinstance(each, Completing) and each.upload == upload_id]
    if file is None or len({(each.md5, each.xxh3) for each in asked}) != 1:
        made = "a file whose id was not given" if file is None else f"{file.id}, whose content is not known"
        raise CompletionUnknownError(
            f"{upload_id} is not cancelled: it was completed before, as {made}. {_CALL_AGAIN}", upload_id=upload_id
        )
    await claimed.append_final(Completed(upload=upload_id, file=to_json(file), md5=asked[0].md5, xxh3=asked[0].xxh3))


async def _after(error: APIStatusError, claimed: Log, upload_id: str, *, may_be_a_file: bool, acted: bool) -> Upload:
    """The cancelled Upload where an earlier attempt may have `acted`; else raises what the refusal means."""
    if error.status_code in TRANSIENT or error.status_code >= 500:
        raise error
    if may_be_a_file:
        raise CompletionUnknownError(
            f"{upload_id} can't be cancelled any more, and complete was asked of it: it may have become a file. "
            f"{_CALL_AGAIN}",
            upload_id=upload_id,
        ) from error
    if acted:
        return Upload(id=upload_id, object="upload", status="cancelled")
    if isinstance(error, NotFoundError):
        await claimed.append_final(Expired(upload=upload_id, reason="not found when it was to be cancelled"))
        raise UploadNotFoundError(f"{upload_id} was gone already: {error}", upload_id=upload_id) from error
    raise error


@define
class _MayHaveActed:
    """Whether the server may have acted on a cancel although no response came. A 409 means that it did not."""

    value: bool = False

    def note(self, error: APIError, _: float) -> None:
        is_conflict = isinstance(error, APIStatusError) and error.status_code == 409
        self.value = self.value or (may_have_acted(error) and not is_conflict)
