"""Deletes what is ours on the server and of no use any more, with what was sent and never written down."""

from __future__ import annotations

import logging

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import APIError
from asyncsdk.file_jobs import DeletedFile
from asyncsdk.images.batch.memory import BatchLedger

PAGE = 10_000
PURPOSES = ("vision", "batch")

logger = logging.getLogger(__name__)


async def clean(client: Client, ledger: BatchLedger, prefix: str) -> None:
    """Delete files that no open batch needs, those that an answer was lost of by their names' `prefix`.

    What can't be deleted now stays in the ledger, and expires by itself. Raises LedgerError.
    """
    book = ledger.book
    try:
        await _delete(client, ledger, [*book.files, *book.stock.deletable(now=client.clock.now())])
        if not book.is_swept:
            await _delete(client, ledger, await _strays(client, ledger, prefix))
            await ledger.note({"t": "swept"})
    except APIError as error:
        logger.warning("files of ours are left on the server, which expire by themselves: %s", error)


async def _strays(client: Client, ledger: BatchLedger, prefix: str) -> list[str]:
    """The files of ours that the ledger does not know."""
    book = ledger.book
    known = {picture.file_id for picture in book.stock.pictures()} | {each.input_file for each in book.open.values()}
    found = list[str]()
    for purpose in PURPOSES:
        async for file in client.pages(api.list_files(purpose=purpose, limit=PAGE)):
            if (file.filename or "").startswith(prefix) and file.id not in known:
                found.append(file.id)
    return found


async def _delete(client: Client, ledger: BatchLedger, file_ids: list[str]) -> None:
    if not file_ids:
        return
    gone = list[str]()

    def note(file: DeletedFile) -> None:
        if file.status != "failed":
            gone.append(file.id)

    try:
        await client.delete_files(file_ids, on_deleted=note)
    finally:
        await ledger.note(*({"t": "removed", "file": file_id} for file_id in gone))
