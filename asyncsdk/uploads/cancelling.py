"""Ending an upload on the server, and settling the journal: never at the cost of what was completed."""

from __future__ import annotations

import logging
from functools import partial

from attrs import define

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import (
    APIError,
    APIStatusError,
    CompletionUnknownError,
    ConfigurationError,
    NotFoundError,
    UploadNotFoundError,
)
from asyncsdk.journal import Cancelled, Completed, Completing, Expired, Log
from asyncsdk.models import File, Upload, to_json
from asyncsdk.retry import Retry, may_have_acted
from asyncsdk.uploads.answers import Content, Ids, not_cancelled
from asyncsdk.uploads.resume import Stage, recall
from asyncsdk.uploads.session import TRANSIENT

log = logging.getLogger(__name__)
_CALL_AGAIN = "Make the upload call again, which looks for it."


async def cancelled(client: Client, claimed: Log, upload_id: str, ids: Ids) -> Upload:
    """Cancel `upload_id`, whose key is `claimed`, and settle what became of it.

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
    recalled = recall(claimed.records)
    opened = None if recalled is None else recalled.opened
    if recalled is None or recalled.upload_id != upload_id or opened is None:
        raise ConfigurationError(f"another upload of that file has begun since {upload_id}. Nothing was sent.")
    if recalled.completed is not None:
        file = recalled.completed.file.get("id")
        raise ConfigurationError(f"{upload_id} is completed: it is {file}, which can be deleted. Nothing was sent.")
    doubt = _Doubt()
    try:
        upload = await client.send(
            api.cancel_upload(upload_id),
            retry=Retry(client.max_retries, on_wait=doubt.note),
            check=partial(not_cancelled, upload_id=upload_id, content=Content.of(opened), ids=ids),
        )
    except APIStatusError as error:
        may_be_a_file = recalled.stage is Stage.COMPLETING
        upload = await _after(error, claimed, upload_id, may_be_a_file=may_be_a_file, heard=doubt.heard)
    if upload.file is not None or upload.status == "completed":
        await _settle_completed(claimed, upload_id, upload.file)
        ids.learn(upload)
        log.warning("%s is not cancelled: complete came first, and its file is kept", upload_id)
    else:
        await claimed.settle(Cancelled(upload=upload_id))
    return upload


async def _settle_completed(claimed: Log, upload_id: str, file: File | None) -> None:
    """Settle an upload that turns out to be completed, whose answer was lost.

    Raises:
        CompletionUnknownError: Its file, or which content it has, is not known.
    """
    asked = [each for each in claimed.records if isinstance(each, Completing) and each.upload == upload_id]
    if file is None or len({(each.md5, each.xxh3) for each in asked}) != 1:
        made = "a file whose id was not given" if file is None else f"{file.id}, whose content can't be told"
        raise CompletionUnknownError(
            f"{upload_id} is not cancelled: it was completed before, as {made}. {_CALL_AGAIN}", upload_id=upload_id
        )
    await claimed.settle(Completed(upload=upload_id, file=to_json(file), md5=asked[0].md5, xxh3=asked[0].xxh3))


async def _after(error: APIStatusError, claimed: Log, upload_id: str, *, may_be_a_file: bool, heard: bool) -> Upload:
    """The cancelled Upload where our own asking was `heard` and its answer lost; else raises what the refusal means."""
    if error.status_code in TRANSIENT or error.status_code >= 500:
        raise error
    if may_be_a_file:
        raise CompletionUnknownError(
            f"{upload_id} can't be cancelled any more, and complete was asked of it: it may have become a file. "
            f"{_CALL_AGAIN}",
            upload_id=upload_id,
        ) from error
    if heard:
        return Upload(id=upload_id, object="upload", status="cancelled")
    if isinstance(error, NotFoundError):
        await claimed.settle(Expired(upload=upload_id, reason="not found when it was to be cancelled"))
        raise UploadNotFoundError(f"{upload_id} was gone already: {error}", upload_id=upload_id) from error
    raise error


@define
class _Doubt:
    """Whether an asking may have been heard although no answer came. A plain no, such as 409, is an answer."""

    heard: bool = False

    def note(self, error: APIError, _: float) -> None:
        said_no = isinstance(error, APIStatusError) and error.status_code < 500 and error.status_code != 408
        self.heard = self.heard or (may_have_acted(error) and not said_no)
