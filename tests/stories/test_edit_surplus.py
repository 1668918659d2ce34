"""A response with more pictures than were asked for: all are kept, and none takes the name of another edit's."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk import Client, EditOutcome, ImageEdit, ImageEditor
from tests.raw_server import Talk, client_of, reply, serving
from tests.stories.dresses import PICTURES, b64
from tests.stories.edits import MODEL, PICTURE, all_of

TWO = {"data": [{"b64_json": b64(content)} for content in PICTURES[:2]]}
ONE = {"data": [{"b64_json": b64(PICTURES[2])}]}


async def handle(talk: Talk) -> None:
    """Two pictures for the edit with the id `a`, of which one was asked for, and one for any other."""
    while True:
        request = await talk.hear()
        await talk.say(reply(200, TWO if b"prompt of a\r" in request.body else ONE))


async def run(client: Client, out: Path, *ids: str, **options: object) -> dict[str, EditOutcome]:
    edits = [ImageEdit(image=PICTURE, prompt=f"prompt of {id_}", id=id_, model=MODEL) for id_ in ids]
    async with ImageEditor(client).edit_many(edits, out=out, **options) as outcomes:  # type: ignore[arg-type]  # passed on
        return {outcome.id: outcome for outcome in await all_of(outcomes)}


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
async def test_the_picture_of_another_edit_stays_where_it_is(tmp_path: Path, suffix: str) -> None:
    async with serving(handle) as server, client_of(server) as client:
        [other] = (await run(client, tmp_path, "a.1")).values()
        assert other.files == (tmp_path / "a.1.png",)
        if suffix != ".png":  # another kind of picture has the same name, too
            (tmp_path / "a.1.png").rename(tmp_path / "a.1.jpg")
        ended = await run(client, tmp_path, "a")
        assert (ended["a"].status, ended["a"].displaced) == ("done", ())
        assert [path.read_bytes() for path in ended["a"].files] == PICTURES[:2]
        assert (tmp_path / f"a.1{suffix}").read_bytes() == PICTURES[2]
        again = await run(client, tmp_path, "a", "a.1")
        assert len(server.requests) == 2
    assert {outcome.status for outcome in again.values()} == {"skipped"}
    assert again["a"].files == ended["a"].files
    assert not set(again["a"].files) & set(other.files)


async def test_an_edit_that_is_on_its_way_keeps_its_name(tmp_path: Path) -> None:
    async with serving(handle) as server, client_of(server) as client:
        ended = await run(client, tmp_path, "a.1", "a", concurrency=2)
    assert ended["a.1"].files == (tmp_path / "a.1.png",)
    assert (ended["a.1"].displaced, ended["a"].displaced) == ((), ())
    assert (tmp_path / "a.1.png").read_bytes() == PICTURES[2]
    assert [path.read_bytes() for path in ended["a"].files] == PICTURES[:2]


async def test_a_picture_that_makes_way_for_an_edit_that_waited_for_its_turn_is_found_by_the_ledger(
    tmp_path: Path,
) -> None:
    async with serving(handle) as server, client_of(server) as client:
        ended = await run(client, tmp_path, "a", "a.1", concurrency=2, images_per_minute=20)
        [moved] = ended["a.1"].displaced
        again = await run(client, tmp_path, "a", "a.1")
        assert len(server.requests) == 2
    assert again["a"].files == (tmp_path / "a.png", moved)
    assert [path.read_bytes() for path in again["a"].files] == PICTURES[:2]
    assert again["a.1"].files == (tmp_path / "a.1.png",)
    assert (tmp_path / "a.1.png").read_bytes() == PICTURES[2]
