"""Looks through a file of JSON lines before it is sent, in threads."""

from __future__ import annotations

from functools import partial

from asyncsdk.errors import SourceError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import MIB
from asyncsdk.uploads.jsonl import Depth, JsonlCheck, is_jsonl, refusal
from asyncsdk.uploads.source import Source

BLOCK = MIB


async def inspect(
    source: Source, threads: DaemonThreadPool, *, name: str, filename: str, purpose: str, depth: Depth
) -> None:
    """Look at what is for fine-tuning or a batch and has a filename in .jsonl: its ends, or all of it.

    Args:
        source: What is to be sent.
        threads: For reading it.
        name: What it is called in the error.
        filename: Its name on the server.
        purpose: What it is for.
        depth: "ends" are the first MiB and the last line.

    Raises:
        SourceError: The API would refuse it later, with the lines and what is wrong with them. Nothing was sent.
    """
    if depth == "none" or not is_jsonl(filename, purpose):
        return
    size = source.identity.size
    check = JsonlCheck(purpose, size)
    offset = 0
    while offset < size and not check.is_over:
        if depth == "ends" and BLOCK <= offset < size - BLOCK:
            check.skip_to_end(await threads.run(partial(_read, source, size - BLOCK, BLOCK)))
            break
        offset += await threads.run(partial(_feed, check, source, offset, min(BLOCK, size - offset)))
    else:
        check.finish()
    if check.problems:
        raise SourceError(refusal(name, purpose, check.problems))


def _read(source: Source, offset: int, length: int) -> bytes:
    block = bytearray(length)
    source.read(offset, memoryview(block))
    return bytes(block)


def _feed(check: JsonlCheck, source: Source, offset: int, length: int) -> int:
    check.feed(_read(source, offset, length))
    return length
