"""Deletes what is ours on the server and of no use any more, with what was sent and never written down."""

from __future__ import annotations

import logging

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import APIError
from asyncsdk.file_jobs import DeletedFile
from asyncsdk.images.batch.memory import BatchMemory
from asyncsdk.images.ledger.book import BatchBook

PAGE = 10_000
PURPOSES = ("vision", "batch")

logger = logging.getLogger(__name__)


async def clean(client: Client, memory: BatchMemory, prefix: str) -> None:
    """Delete files that no open batch needs, those that an answer was lost of by their names' `prefix`.

    What can't be deleted now stays in the ledger, and expires by itself. Raises LedgerError.
    """
    await memory.refresh()
    try:
        if not await memory.is_last():  # another process may need what it has just found: the last one cleans
            return
        spare = memory.book.stock.deletable(now=client.clock.now())
        if not await memory.set_aside(spare):  # nor does one refer to them that begins while they are deleted
            return
        await _delete(client, memory, list(dict.fromkeys([*memory.book.files, *spare])))
        if not memory.book.is_swept:
            strays = await _strays(client, prefix)
            await memory.refresh()
            if not await memory.is_last():
                return
            await _delete(client, memory, [file_id for file_id in strays if file_id not in _known(memory.book)])
            await memory.note({"t": "swept"})
    except APIError as error:
        logger.warning("files of ours are left on the server, which expire by themselves: %s", error)


async def _strays(client: Client, prefix: str) -> list[str]:
    """The files on the server that are ours by their names."""
    found = list[str]()
    for purpose in PURPOSES:
        async for file in client.pages(api.list_files(purpose=purpose, limit=PAGE)):
            if (file.filename or "").startswith(prefix):
                found.append(file.id)
    return found


def _known(book: BatchBook) -> set[str]:
    """Those that open batches need."""
    return {picture.file_id for picture in book.stock.pictures()} | {each.input_file for each in book.open.values()}


async def _delete(client: Client, memory: BatchMemory, file_ids: list[str]) -> None:
    if not file_ids:
        return
    gone = list[str]()

    def note(file: DeletedFile) -> None:
        if file.status != "failed":
            gone.append(file.id)

    try:
        await client.delete_files(file_ids, on_deleted=note)
    finally:
        await memory.note(*({"t": "removed", "file": file_id} for file_id in gone))
