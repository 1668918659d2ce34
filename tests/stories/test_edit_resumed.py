"""A run of edits that was stopped goes on: what is paid is not paid again, and the same jobs are known again."""

from __future__ import annotations

import os
import time
from pathlib import Path

from asyncsdk import Client, EditOutcome, ImageEdit, ImageEditor
from asyncsdk.server import Fault, LocalServer
from tests.stories.pictures import photo, png

MODEL = "gpt-image-2"
PICTURE = png()


def job(prompt: str, **fields: object) -> ImageEdit:
    return ImageEdit(image=PICTURE, prompt=prompt, model=MODEL, **fields)  # type: ignore[arg-type]  # passed on


async def run(editor: ImageEditor, edits: list[ImageEdit], **options: object) -> dict[str, EditOutcome]:
    async with editor.edit_many(edits, **options) as outcomes:  # type: ignore[arg-type]  # passed on
        return {outcome.id: outcome async for outcome in outcomes}


def statuses(found: dict[str, EditOutcome]) -> dict[str, str]:
    return {name: outcome.status for name, outcome in found.items()}


async def test_what_is_done_is_skipped_with_its_files_and_its_cost(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    first = await run(editor, [job("a"), job("b")], out=out)
    again = await run(editor, [job("a"), job("b")], out=out)
    assert statuses(again) == {"1": "skipped", "2": "skipped"}
    assert again["1"].files == first["1"].files
    assert again["1"].usage is not None
    assert first["1"].usage is not None
    assert again["1"].usage.total_tokens == first["1"].usage.total_tokens
    assert server.edits.edits == 2


async def test_a_line_at_the_top_pays_for_that_line_alone(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    before = await run(editor, [job("a"), job("b")], out=out)
    kept = {path: path.read_bytes() for outcome in before.values() for path in outcome.files}
    again = await run(editor, [job("new"), job("a"), job("b")], out=out)
    assert sorted(statuses(again).values()) == ["done", "skipped", "skipped"]
    assert server.edits.by_prompt == {"a": 1, "b": 1, "new": 1}
    assert {path: path.read_bytes() for path in kept} == kept
    [new] = [outcome for outcome in again.values() if outcome.status == "done"]
    assert new.files[0].exists()
    assert new.files[0] not in kept
    third = await run(editor, [job("new"), job("a"), job("b")], out=out)
    assert set(statuses(third).values()) == {"skipped"}


async def test_equal_jobs_are_told_apart_by_their_order(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    await run(editor, [job("a", id="x"), job("a", id="y")], out=out)
    assert server.edits.by_prompt == {"a": 2}
    again = await run(editor, [job("a", id="x"), job("a", id="y"), job("a", id="z")], out=out)
    assert statuses(again) == {"x": "skipped", "y": "skipped", "z": "done"}
    assert server.edits.by_prompt == {"a": 3}


async def test_the_content_counts_not_the_path(
    editor: ImageEditor, server: LocalServer, out: Path, tmp_path: Path
) -> None:
    otter = photo(tmp_path / "otter.png", (16, 16))
    await run(editor, [ImageEdit(image=otter, prompt="a", model=MODEL, id="o")], out=out)
    moved = otter.rename(tmp_path / "moved.png")
    again = await run(editor, [ImageEdit(image=moved, prompt="a", model=MODEL, id="o")], out=out)
    assert statuses(again) == {"o": "skipped"}
    photo(moved, (16, 16), seed=2)
    other = await run(editor, [ImageEdit(image=moved, prompt="a", model=MODEL, id="o")], out=out)
    assert statuses(other) == {"o": "done"}
    assert server.edits.edits == 2


async def test_an_older_picture_of_the_same_id_is_moved_aside(editor: ImageEditor, out: Path) -> None:
    first = await run(editor, [job("a", id="x")], out=out)
    old = first["x"].files[0].read_bytes()
    second = await run(editor, [job("b", id="x")], out=out)
    assert second["x"].files == first["x"].files
    assert second["x"].files[0].read_bytes() != old
    [aside] = (out / ".asyncsdk" / "replaced").iterdir()
    assert aside.read_bytes() == old


async def test_what_failed_is_sent_again_and_what_was_refused_is_not(tmp_path: Path, out: Path) -> None:
    busy = Fault("edit", "answer", status=429, body={"error": {"message": "Limit 5, Requested 10", "code": "x"}})
    async with LocalServer(tmp_path / "s", faults=[busy]) as server, Client("sk-1", base_url=server.url) as client:
        editor, edits = ImageEditor(client), [job("a"), job("forbidden")]
        first = await run(editor, edits, out=out, concurrency=1)
        assert statuses(first) == {"1": "failed", "2": "refused"}
        second = await run(editor, edits, out=out)
        assert statuses(second) == {"1": "done", "2": "refused"}
        assert second["2"].problem is not None
        assert second["2"].problem.moderation is not None
        assert server.calls["edit"] == 3
        third = await run(editor, edits, out=out, redo=["2"])
        assert statuses(third) == {"1": "skipped", "2": "refused"}
        assert server.calls["edit"] == 4
        only = await run(editor, edits, out=out, only=["refused"])
        assert statuses(only) == {"2": "refused"}
        assert server.calls["edit"] == 5


async def test_an_uncertain_edit_waits_for_a_decision(tmp_path: Path, out: Path) -> None:
    lost = Fault("edit", "reset", at="done")
    async with LocalServer(tmp_path / "s", faults=[lost]) as server, Client("sk-1", base_url=server.url) as client:
        editor = ImageEditor(client)
        assert statuses(await run(editor, [job("a")], out=out)) == {"1": "uncertain"}
        again = await run(editor, [job("a")], out=out)
        assert statuses(again) == {"1": "uncertain"}
        assert again["1"].problem is not None
        assert server.edits.by_prompt == {"a": 1}
        assert (await editor.plan([job("a")], out=out)).uncertain == 1
        retried = await run(editor, [job("a")], out=out, only=["uncertain"], on_uncertain="retry")
        assert statuses(retried) == {"1": "done"}
        assert server.edits.by_prompt == {"a": 2}


async def test_a_redo_is_done_once(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    first = await run(editor, [job("a", id="x"), job("b", id="y")], out=out)
    asked = time.time()
    again = await run(editor, [job("a", id="x"), job("b", id="y")], out=out, redo=["x"], redo_before=asked)
    assert statuses(again) == {"x": "done", "y": "skipped"}
    third = await run(editor, [job("a", id="x"), job("b", id="y")], out=out, redo=["x"], redo_before=asked)
    assert statuses(third) == {"x": "skipped", "y": "skipped"}
    assert server.edits.by_prompt == {"a": 2, "b": 1}
    assert third["x"].files == first["x"].files


async def test_a_directory_that_was_moved_is_still_known(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    await run(editor, [job("a")], out=out)
    moved = Path(os.fspath(out) + "-moved")
    out.rename(moved)
    again = await run(editor, [job("a")], out=moved)
    assert statuses(again) == {"1": "skipped"}
    assert again["1"].files == (moved / "1.png",)
    assert server.edits.edits == 1


async def test_the_one_of_equal_jobs_that_failed_is_sent_again_by_its_name(tmp_path: Path, out: Path) -> None:
    busy = Fault("edit", "answer", nth=2, status=429, body={"error": {"message": "Limit 5, Requested 10", "code": "x"}})
    async with LocalServer(tmp_path / "s", faults=[busy]) as server, Client("sk-1", base_url=server.url) as client:
        editor, edits = ImageEditor(client), [job("a", id="x"), job("a", id="y")]
        assert statuses(await run(editor, edits, out=out, concurrency=1)) == {"x": "done", "y": "failed"}
        assert statuses(await run(editor, edits[1:], out=out)) == {"y": "done"}
        assert server.edits.by_prompt == {"a": 2}
        assert statuses(await run(editor, edits[::-1], out=out)) == {"x": "skipped", "y": "skipped"}
        assert {path.name for path in out.glob("*.png")} == {"x.png", "y.png"}
