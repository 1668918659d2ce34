"""Looks through a file of JSON lines before it is sent, in threads."""

from __future__ import annotations

from functools import partial

from asyncsdk.errors import SourceError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import MIB
from asyncsdk.uploads.job import UploadJob
from asyncsdk.uploads.jsonl.rules import JsonlCheck, is_jsonl, refusal
from asyncsdk.uploads.sources.source import Source

BLOCK = MIB


def is_looked_at(job: UploadJob, name: str) -> bool:
    """Whether a job wants its content to be looked at, where its source has this name: JSON lines for some purposes."""
    return job.check != "none" and is_jsonl(job.fields(name).filename, job.purpose)


async def inspect(source: Source, job: UploadJob, threads: DaemonThreadPool) -> None:
    """Look at `source` as far as the job wants, if it is for fine-tuning or a batch and has a filename in .jsonl.

    Raises:
        SourceError: The API would refuse it later, with the lines and what is wrong with them. Nothing was sent.
    """
    if not is_looked_at(job, source.name):
        return
    size = source.identity.size
    check = JsonlCheck(job.purpose, size)
    offset = 0
    while offset < size and not check.is_over:
        if job.check == "ends" and BLOCK <= offset < size - BLOCK:
            check.skip_to_end(await threads.run(partial(_read, source, size - BLOCK, BLOCK)))
            break
        offset += await threads.run(partial(_feed, check, source, offset, min(BLOCK, size - offset)))
    else:
        check.finish()
    if check.problems:
        raise SourceError(refusal(job.path() or source.name, job.purpose, check.problems))


def _read(source: Source, offset: int, length: int) -> bytes:
    block = bytearray(length)
    source.read(offset, memoryview(block))
    return bytes(block)


def _feed(check: JsonlCheck, source: Source, offset: int, length: int) -> int:
    check.feed(_read(source, offset, length))
    return length
