"""What an earlier run paid and is not there any more, and what it left on its way: told, and not sent by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncsdk import Client, ImageEditor
from asyncsdk.images.ledger.file import open_ledger
from asyncsdk.server import LocalServer
from tests.raw_server import answering, client_of
from tests.stories.edits import all_of, done, jobs


@pytest.mark.parametrize("is_empty", [False, True], ids=["missing", "empty"])
async def test_a_paid_picture_that_is_gone_is_told_and_sent_again_only_by_redo(
    client: Client, server: LocalServer, out: Path, *, is_empty: bool
) -> None:
    editor = ImageEditor(client)
    async with editor.edit_many(jobs(2), out=out) as outcomes:
        await all_of(outcomes)
    (out / "1.png").write_bytes(b"") if is_empty else (out / "1.png").unlink()
    async with editor.edit_many(jobs(2), out=out) as outcomes:
        found = {each.id: each for each in await all_of(outcomes)}
    assert [(found[name].status, found[name].is_gone, found[name].files) for name in "12"] == [
        ("skipped", True, ()),
        ("skipped", False, (out / "2.png",)),
    ]
    assert found["1"].problem is not None
    assert str(out / "1.png") in found["1"].problem.message
    plan = await editor.plan(jobs(2), out=out)
    assert (plan.to_send, plan.done, [each.id for each in plan.problems]) == (0, 1, ["1"])
    assert server.edits.edits == 2
    async with editor.edit_many(jobs(2), out=out, redo=["1"]) as outcomes:
        assert {each.id: each.status for each in await all_of(outcomes)} == {"1": "done", "2": "skipped"}
    assert server.edits.edits == 3
    assert (out / "1.png").stat().st_size > 0


async def test_of_several_pictures_the_one_that_is_gone_is_named_and_the_others_are_told(out: Path) -> None:
    async with answering(done(2)) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(1, n=2), out=out) as outcomes:
            await all_of(outcomes)
        (out / "1.1.png").unlink()
        async with ImageEditor(client).edit_many(jobs(1, n=2), out=out) as outcomes:
            [found] = await all_of(outcomes)
    assert (found.files, found.is_gone) == ((out / "1.png",), True)


async def test_an_edit_that_a_killed_run_left_on_its_way_says_so(
    client: Client, server: LocalServer, out: Path
) -> None:
    [edit] = jobs(1)
    async with ImageEditor(client).edit_many([edit], out=out) as outcomes:
        await all_of(outcomes)
    [segment] = (out / ".asyncsdk" / "ledger").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(line for line in lines if json.loads(line).get("t") != "done"))  # killed before that
    async with open_ledger(out / ".asyncsdk") as ledger:
        assert [state.status for _, state in ledger.index.states.items()] == ["sent"]
    async with ImageEditor(client).edit_many([edit], out=out) as outcomes:
        [left] = await all_of(outcomes)
    assert left.status == "uncertain"
    assert left.problem is not None
    assert (left.problem.type, left.problem.retryable) == ("ChargeUnknownError", False)
    assert left.problem.message == "the run ended while this edit was in flight: it may have been paid."
    assert server.edits.edits == 1
