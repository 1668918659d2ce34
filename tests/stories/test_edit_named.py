"""Edits and their names over several runs: each finds its own picture again, and none is lost or told for another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk import Client, EditOutcome, ImageEdit, ImageEditor
from asyncsdk.server import Fault, LocalServer
from tests.stories.pictures import png

PICTURE = png()


def job(prompt: str, **fields: object) -> ImageEdit:
    return ImageEdit(image=PICTURE, prompt=prompt, model="gpt-image-2", **fields)  # type: ignore[arg-type]  # passed on


async def run(editor: ImageEditor, *edits: ImageEdit, **options: object) -> list[EditOutcome]:
    async with editor.edit_many(edits, **options) as outcomes:  # type: ignore[arg-type]  # passed on
        return sorted([outcome async for outcome in outcomes], key=lambda outcome: outcome.id)


def told(found: list[EditOutcome]) -> list[tuple[str, str]]:
    return [(outcome.id, outcome.status) for outcome in found]


async def test_an_equal_edit_at_the_top_is_paid_and_the_others_keep_theirs(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    before = await run(editor, job("p", id="a"), job("p", id="b"), out=out)
    again = await run(editor, job("p", id="new"), job("p", id="a"), job("p", id="b"), out=out)
    assert told(again) == [("a", "skipped"), ("b", "skipped"), ("new", "done")]
    assert [outcome.files for outcome in again[:2]] == [outcome.files for outcome in before]
    assert again[2].files == (out / "new.png",)
    assert server.edits.by_prompt == {"p": 3}


async def test_a_renamed_edit_is_known_by_its_content(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    await run(editor, job("p", id="a"), job("p", id="b"), out=out)
    again = await run(editor, job("p", id="c"), job("p", id="b"), out=out)
    assert told(again) == [("b", "skipped"), ("c", "skipped")]
    assert again[1].files == (out / "a.png",)
    plan = await editor.plan([job("p", id="c"), job("p", id="d"), job("p", id="e")], out=out)
    assert (plan.done, plan.to_send) == (2, 1)
    assert server.edits.by_prompt == {"p": 2}


async def test_a_picture_that_made_way_is_told_where_it_lies(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    [sunny] = await run(editor, job("sunny", id="beach"), out=out)
    picture = sunny.files[0].read_bytes()
    [rainy] = await run(editor, job("rainy", id="beach"), out=out)
    assert rainy.files == sunny.files
    [again] = await run(editor, job("sunny", id="beach"), out=out)
    assert again.status == "skipped"
    assert [path.read_bytes() for path in again.files] == [picture]
    assert again.files != rainy.files
    assert server.edits.edits == 2


async def test_numbers_of_two_lists_do_not_collide(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    edits = [job("a", line=1), job("b", line=2), job("c", line=1), job("d", line=2)]
    first = await run(editor, *edits, out=out)
    assert {outcome.status for outcome in first} == {"done"}
    assert len({path for outcome in first for path in outcome.files}) == 4
    again = await run(editor, *edits, out=out)
    assert {outcome.status for outcome in again} == {"skipped"}
    assert [outcome.files for outcome in again] == [outcome.files for outcome in first]
    other_way = await run(editor, *edits[2:], *edits[:2], out=out)
    assert {outcome.status for outcome in other_way} == {"skipped"}
    assert server.edits.edits == 4


async def test_redone_within_a_second_all_older_pictures_are_kept(editor: ImageEditor, out: Path) -> None:
    await run(editor, job("p", id="a"), out=out)
    for _ in range(3):
        await run(editor, job("p", id="a"), out=out, redo=["a"])
    assert len(list((out / ".asyncsdk" / "replaced").iterdir())) == 3


async def test_a_file_where_a_folder_is_needed_is_told_before_anything_is_paid(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    out.mkdir()
    (out / "a").write_text("mine")
    [refused] = await run(editor, job("p", id="a/b/c"), out=out)
    assert refused.status == "refused"
    assert refused.problem is not None
    assert f"{out / 'a'} is there already" in refused.problem.message
    assert server.edits.edits == 0


async def test_a_file_that_comes_in_the_way_while_it_is_paid_does_not_hold_it_up_for_ever(
    editor: ImageEditor, out: Path
) -> None:
    result = await editor.edit(PICTURE, "p", model="gpt-image-2")
    out.mkdir()
    (out / "a").write_text("mine")
    with pytest.raises(Exception, match="could not be saved"):
        await result.save(out, name="a/b")
    assert (out / "a").read_text() == "mine"


async def test_one_that_was_never_done_does_not_hide_its_equal(tmp_path: Path, out: Path) -> None:
    busy = Fault("edit", "answer", status=429, body={"error": {"message": "Limit 5, Requested 10", "code": "x"}})
    async with LocalServer(tmp_path / "s", faults=[busy]) as server, Client("sk-1", base_url=server.url) as client:
        editor = ImageEditor(client)
        first = await run(editor, job("p", id="a"), job("p", id="b"), out=out, concurrency=1)
        assert told(first) == [("a", "failed"), ("b", "done")]
        again = await run(editor, job("p", id="b"), job("p", id="a"), out=out)
        assert told(again) == [("a", "done"), ("b", "skipped")]
        assert server.edits.by_prompt == {"p": 2}
