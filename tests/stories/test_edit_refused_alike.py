"""What the server refuses in every edit: a run ends after ten of them, and goes on once the cause is gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import BadRequestError, Client, EditError, ImageEdit, ImageEditor
from asyncsdk.server import Fault, LocalServer
from tests.stories.edits import MODEL, PICTURE, all_of, jobs, until

AT_ONCE = 4
ALIKE = "10 edits in a row were refused in the same way, and none was done between"


def error(**fields: Any) -> dict[str, Any]:
    whole = {"message": "no", "type": "invalid_request_error", "param": None, "code": None} | fields
    return {"error": whole}


def refusing(status: int = 400, **fields: Any) -> Fault:
    return Fault("edit", "answer", status=status, body=error(**fields), every=1, times=1000)


async def test_a_field_that_the_server_refuses_ends_the_run_after_ten_edits(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    async with editor.edit_many(jobs(60, quality="best"), out=out, concurrency=AT_ONCE) as outcomes:
        found = await until(outcomes, EditError, match=f"(?s){ALIKE}.* 400 invalid_value: .*'best'.*another `quality`")
    assert {each.status for each in found} == {"refused"}
    assert 10 <= len(found) < 10 + AT_ONCE
    assert server.calls["edit"] == len(found)
    assert server.edits.edits == 0
    async with editor.edit_many(jobs(60, quality="low"), out=out, concurrency=AT_ONCE) as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"done": 60}


async def test_the_same_call_goes_on_with_the_others_and_sends_what_was_refused_if_asked(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    server.inject(refusing(param="background", code="invalid_value"))
    async with editor.edit_many(jobs(40), out=out, concurrency=1) as outcomes:
        found = await until(outcomes, EditError, match=ALIKE)
    assert (len(found), isinstance(found[0].error, BadRequestError)) == (10, True)
    async with editor.edit_many(jobs(40), out=out, concurrency=1) as outcomes:
        found = await until(outcomes, EditError, match=ALIKE)
        assert Counter(each.is_earlier for each in found) == {True: 10, False: 10}
        assert outcomes.counts == {"refused": 20}  # those of before are not sent, and do not count
    assert server.calls["edit"] == 20
    server.clear_faults()
    async with editor.edit_many(jobs(40), out=out) as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"refused": 20, "done": 20}
    async with editor.edit_many(jobs(40), out=out, only=["refused"]) as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"done": 20}
    assert set(server.edits.by_prompt.values()) == {1}


@pytest.mark.parametrize(
    "refusal",
    [
        refusing(param="model", code="invalid_value", message="Value must be 'dall-e-2'."),
        refusing(404, param="background", message="Not offered in this region."),
    ],
)
async def test_once_the_account_has_access_the_same_call_sends_all(
    editor: ImageEditor, server: LocalServer, out: Path, refusal: Fault
) -> None:
    server.inject(refusal)
    async with editor.edit_many(jobs(40), out=out, concurrency=AT_ONCE) as outcomes:
        found = await until(outcomes, EditError, match=f"(?s){ALIKE}.*the same call goes on, with these too")
    assert {each.status for each in found} == {"failed"}
    server.clear_faults()
    async with editor.edit_many(jobs(40), out=out, only=["failed"]) as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"done": len(found)}
    async with editor.edit_many(jobs(40), out=out) as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"skipped": len(found), "done": 40 - len(found)}


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (400, {"param": "image[0]", "code": "unsupported_file_mimetype"}),
        (400, {"code": "invalid_image_file", "message": "Invalid image file or mode for image 1."}),
        (400, {"code": "moderation_blocked", "type": "image_generation_user_error"}),
        (413, {}),
    ],
)
async def test_pictures_that_are_refused_themselves_do_not_end_the_run(
    editor: ImageEditor, server: LocalServer, out: Path, status: int, fields: dict[str, Any]
) -> None:
    server.inject(refusing(status, **fields))
    async with editor.edit_many(jobs(30), out=out, concurrency=AT_ONCE) as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"refused": 30}


def rows() -> Iterator[ImageEdit]:
    """Nine rows with a quality that there is not, then one with one that there is, and so on."""
    for number in count(1):
        quality = "low" if number % 10 == 0 else "best"
        yield ImageEdit(image=PICTURE, prompt=f"beret {number}", model=MODEL, quality=quality)


async def test_rows_of_which_some_are_done_between_go_on(editor: ImageEditor, out: Path) -> None:
    edits = [edit for edit, _ in zip(rows(), range(40), strict=False)]
    async with editor.edit_many(edits, out=out, concurrency=1) as outcomes:
        found = await all_of(outcomes)
    assert Counter(each.status for each in found) == {"refused": 36, "done": 4}


async def test_what_is_paid_takes_its_time_and_rows_that_are_refused_at_once_wait_for_it(out: Path) -> None:
    edits = [edit for pair in zip(jobs(20), jobs(20, quality="best"), strict=True) for edit in pair]
    async with (
        LocalServer(edit_seconds=0.5) as server,
        Client("sk-test", base_url=server.url) as client,
        ImageEditor(client).edit_many(edits, out=out, concurrency=32) as outcomes,
    ):
        found = await all_of(outcomes)
    assert {each.status for each in found[:10]} == {"refused"}
    assert outcomes.counts == {"refused": 20, "done": 20}


async def test_one_that_takes_long_is_not_awaited_for_long(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    server.inject(Fault("edit", "stall", seconds=2.0, nth=1))
    async with editor.edit_many(jobs(500, quality="best"), out=out, concurrency=AT_ONCE) as outcomes:
        await until(outcomes, EditError, match=r"\d+ edits in a row were refused in the same way")
    assert 10 <= outcomes.counts["refused"] < 10 * AT_ONCE + AT_ONCE


async def test_what_was_lost_before_it_was_refused_does_not_count(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    server.inject(Fault("edit", "reset", at="done", nth=1, every=2))
    server.inject(
        Fault("edit", "answer", status=400, body=error(param="background", code="invalid_value"), nth=2, every=2)
    )
    async with editor.edit_many(jobs(15), out=out, concurrency=1, on_uncertain="retry") as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"uncertain": 15}
    assert server.calls["edit"] == 30


async def test_rows_that_are_refused_in_different_ways_go_on(editor: ImageEditor, out: Path) -> None:
    fields: list[dict[str, Any]] = [{"quality": "best"}, {"background": "green"}]
    edits = [
        ImageEdit(image=PICTURE, prompt=f"beret {number}", model=MODEL, **fields[number % 2]) for number in range(30)
    ]
    async with editor.edit_many(edits, out=out, concurrency=1) as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"refused": 30}
