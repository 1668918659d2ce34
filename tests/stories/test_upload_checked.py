"""Files of JSON lines that a caller wants looked at: what the API would refuse later is refused before it is sent."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import AsyncUploader, UploadJob
from asyncsdk.errors import ConfigurationError, SourceError
from asyncsdk.server import LocalServer

BAD = b'{"messages": []}\n\n{"messages": []}\n'
GOOD = BAD.replace(b"\n\n", b"\n")


def _written(content: bytes) -> Path:
    Path("t.jsonl").write_bytes(content)
    return Path("t.jsonl")


SOURCES: list[Callable[[bytes], Any]] = [
    lambda content: ("t.jsonl", content),
    lambda content: ("t.jsonl", io.BytesIO(content)),
    _written,
    lambda content: str(_written(content)),
]


@pytest.mark.parametrize("given", SOURCES, ids=["bytes", "file", "Path", "str"])
async def test_whatever_the_source_is_it_is_refused_with_its_line(
    uploader: AsyncUploader, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    before = dict(server.calls)
    with pytest.raises(SourceError) as raised:
        await uploader.upload(given(BAD), purpose="fine-tune")
    assert str(raised.value) == (
        "t.jsonl is not a file that fine-tuning takes:\n  line 2: it is blank\n"
        '  Correct it, or send it as it is with check="none". Nothing was sent.'
    )
    with pytest.raises(SourceError):
        await uploader.check(UploadJob(given(BAD), "fine-tune", check="full"))
    assert dict(server.calls) == before
    result = await uploader.upload(given(GOOD), purpose="fine-tune", check="full")
    assert result.file.bytes == len(GOOD)


async def test_it_is_not_looked_at_where_that_is_not_wanted(uploader: AsyncUploader) -> None:
    result = await uploader.upload(("t.jsonl", BAD), purpose="fine-tune", check="none")
    assert result.file.bytes == len(BAD)


async def test_of_many_the_bad_one_fails_alone(uploader: AsyncUploader) -> None:
    jobs = [UploadJob((f"{n}.jsonl", BAD if n == 1 else GOOD), "fine-tune") for n in range(3)]
    async with uploader.upload_many(jobs) as outcomes:
        errors = {outcome.job.describe(): outcome.error async for outcome in outcomes}
    assert {name: type(error) for name, error in errors.items() if error} == {"1.jsonl": SourceError}


async def test_another_word_is_refused(uploader: AsyncUploader) -> None:
    with pytest.raises(ConfigurationError, match="check must be 'none' or 'ends' or 'full', not 'all'"):
        await uploader.upload(("t.jsonl", GOOD), purpose="fine-tune", check="all")  # type: ignore[arg-type]  # on purpose
