"""Ending an upload on the server, and settling the journal: never at the cost of what was completed."""

from __future__ import annotations

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import CompletionUnknownError, ConfigurationError, NotFoundError, UploadNotFoundError
from asyncsdk.journal import Cancelled, Expired, Log
from asyncsdk.models import Upload
from asyncsdk.uploads.resume import Stage, recall


async def cancelled(client: Client, log: Log, upload_id: str) -> Upload:
    """Cancel `upload_id`, whose key is claimed as `log`. Raises as `AsyncUploader.cancel` says."""
    recalled = recall(log.records)
    if recalled is not None and recalled.completed is not None:
        file = recalled.completed.file.get("id")
        raise ConfigurationError(f"{upload_id} is completed: it is {file}, which can be deleted. Nothing was sent.")
    try:
        upload = await client.send(api.cancel_upload(upload_id))
    except NotFoundError as error:
        if recalled is not None and recalled.stage is Stage.COMPLETING:
            raise CompletionUnknownError(
                f"{upload_id} is gone, and complete was asked of it: it may have become a file. Make the upload call "
                "again, which looks for it.",
                upload_id=upload_id,
            ) from error
        await log.settle(Expired(upload=upload_id, reason="not found when it was to be cancelled"))
        raise UploadNotFoundError(f"{upload_id} was gone already: {error}", upload_id=upload_id) from error
    await log.settle(Cancelled(upload=upload_id))
    return upload
