"""Ending an upload on the server, and settling the journal: never at the cost of what was completed."""

from __future__ import annotations

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
from asyncsdk.journal import Cancelled, Expired, Log
from asyncsdk.models import Upload
from asyncsdk.retry import Retry, may_have_acted
from asyncsdk.uploads.answers import not_this_upload
from asyncsdk.uploads.resume import Stage, recall
from asyncsdk.uploads.session import TRANSIENT


async def cancelled(client: Client, log: Log, upload_id: str) -> Upload:
    """Cancel `upload_id`, whose key is claimed as `log`. Raises as `AsyncUploader.cancel` says."""
    recalled = recall(log.records)
    if recalled is None or recalled.upload_id != upload_id:
        raise ConfigurationError(f"another upload of that file has begun since {upload_id}. Nothing was sent.")
    if recalled.completed is not None:
        file = recalled.completed.file.get("id")
        raise ConfigurationError(f"{upload_id} is completed: it is {file}, which can be deleted. Nothing was sent.")
    doubt = _Doubt()
    try:
        upload = await client.send(
            api.cancel_upload(upload_id),
            retry=Retry(client.max_retries, on_wait=doubt.note),
            check=partial(not_this_upload, upload_id=upload_id),
        )
    except APIStatusError as error:
        may_be_a_file = recalled.stage is Stage.COMPLETING
        upload = await _after(error, log, upload_id, may_be_a_file=may_be_a_file, heard=doubt.heard)
    await log.settle(Cancelled(upload=upload_id))
    return upload


async def _after(error: APIStatusError, log: Log, upload_id: str, *, may_be_a_file: bool, heard: bool) -> Upload:
    """The cancelled Upload where our own asking was `heard` and its answer lost; else raises what the refusal means."""
    if error.status_code in TRANSIENT or error.status_code >= 500:
        raise error
    if may_be_a_file:
        raise CompletionUnknownError(
            f"{upload_id} can't be cancelled any more, and complete was asked of it: it may have become a file. Make "
            "the upload call again, which looks for it.",
            upload_id=upload_id,
        ) from error
    if heard:
        return Upload(id=upload_id, object="upload", status="cancelled")
    if isinstance(error, NotFoundError):
        await log.settle(Expired(upload=upload_id, reason="not found when it was to be cancelled"))
        raise UploadNotFoundError(f"{upload_id} was gone already: {error}", upload_id=upload_id) from error
    raise error


@define
class _Doubt:
    """Whether an asking may have been heard although no answer came. A plain no, such as 409, is an answer."""

    heard: bool = False

    def note(self, error: APIError, _: float) -> None:
        said_no = isinstance(error, APIStatusError) and error.status_code < 500 and error.status_code != 408
        self.heard = self.heard or (may_have_acted(error) and not said_no)
