"""However a paid response comes: each picture that is whole in it is kept byte for byte, and none is invented."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import ChargeUnknownError, CompletedImage, EditOutcome, ImageEdit, ImageEditor
from asyncsdk.images.sending import Event
from tests.raw_server import client_of, serving
from tests.stories.dresses import CASES, Case, answer_by_prompt
from tests.stories.edits import MODEL, PICTURE, all_of, take

Way = Callable[[ImageEditor, Case, Path], Awaitable[list[bytes]]]


def edit_of(case: Case, **fields: Any) -> ImageEdit:
    return ImageEdit(image=PICTURE, prompt=case.name, model=MODEL, n=case.count, id="a", **fields)


def kept_in(out: Path) -> dict[str, bytes]:
    """All pictures in a directory, by their names."""
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file() and path.suffix != ".jsonl"}


def raw_files_of(outcome: EditOutcome) -> list[Path]:
    return [] if outcome.problem is None else [Path(name) for name in outcome.problem.raw_files]


def names(stem: str, count: int) -> list[str]:
    return [f"{stem}.png", *(f"{stem}.{number}.png" for number in range(1, count))]


async def edited(editor: ImageEditor, case: Case, out: Path) -> list[bytes]:
    result = await editor.edit(edit_of(case))
    assert [image.raw for image in result.response.unreadable] == case.raw
    return [image.content or b"" for image in result.images]


async def edited_as_a_stream(editor: ImageEditor, case: Case, out: Path) -> list[bytes]:
    result = await editor.edit(edit_of(case, stream=True))
    assert [image.raw for image in result.response.unreadable] == case.raw
    return [image.content or b"" for image in result.images]


async def streamed(editor: ImageEditor, case: Case, out: Path) -> list[bytes]:
    found: list[Event] = []
    async with editor.stream(edit_of(case)) as pictures:
        if case.raw:
            with pytest.raises(ChargeUnknownError) as caught:
                await take(pictures, found)
            assert list(caught.value.raw) == case.raw
        else:
            await take(pictures, found)
    return [picture.content for picture in found if isinstance(picture, CompletedImage)]


async def edited_in_bulk(editor: ImageEditor, case: Case, out: Path) -> list[bytes]:
    async with editor.edit_many([edit_of(case)], out=out) as outcomes:
        [outcome] = await all_of(outcomes)
    assert outcome.status == ("uncertain" if case.raw else "done")
    assert [path.read_bytes() for path in raw_files_of(outcome)] == [raw for raw in case.raw if raw]
    kept = kept_in(out)
    return [kept.pop(path.name) for path in outcome.files] + list(kept.values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("way", [edited, edited_as_a_stream, streamed, edited_in_bulk])
async def test_every_whole_picture_is_kept_and_none_is_invented(way: Way, case: Case, tmp_path: Path) -> None:
    async with serving(answer_by_prompt) as server, client_of(server) as client:
        assert await way(ImageEditor(client), case, tmp_path) == case.whole
        assert len(server.requests) == 1


async def test_so_it_is_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(PICTURE)
    jobs = [
        {"image": "in.png", "prompt": case.name, "model": MODEL, "n": case.count, "id": f"job {number}"}
        for number, case in enumerate(CASES)
    ]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, jobs)))
    async with serving(answer_by_prompt) as server:
        environment = {**os.environ, "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": server.url, "NO_PROXY": "127.0.0.1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "asyncsdk", "edit-many", "jobs.jsonl", "--out", "out", cwd=tmp_path, env=environment
        )
        await process.wait()
        assert len(server.requests) == len(CASES)
    assert kept_in(tmp_path / "out") == {
        name: content
        for number, case in enumerate(CASES)
        for name, content in zip(names(f"job {number}", len(case.whole)), case.whole, strict=True)
    }
