"""What is paid is kept: on disk, in memory where the disk fails, and the ledger knows of it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import (
    ChargeUnknownError,
    ConfigurationError,
    EditError,
    EditResult,
    ImageEdit,
    ImageEditor,
    LimitReachedError,
    SaveError,
)
from asyncsdk.server import LocalServer
from tests.raw_server import RawServer, answering, client_of, reply
from tests.stories.edits import MODEL, PICTURE, TOKENS, all_of, done, jobs, until

FailFor = Callable[[str, int], None]


@pytest.fixture
def fail_for(monkeypatch: pytest.MonkeyPatch) -> FailFor:
    """Let the disk refuse to give a picture its name: `name` is the end of its path."""
    link, open_file = os.link, os.open

    def fail(name: str, number: int) -> None:
        def refuse(path: object) -> None:
            if str(path).endswith(name):
                raise OSError(number, os.strerror(number), str(path))

        def linking(source: str, target: str, **more: bool) -> None:
            refuse(target)
            link(source, target, **more)

        def opening(path: str, *more: int, **named: int) -> int:
            refuse(path)
            return open_file(path, *more, **named)

        monkeypatch.setattr("os.link", linking)
        monkeypatch.setattr("os.open", opening)

    return fail


@pytest.mark.usefixtures("impatient")
async def test_a_full_disk_stops_all_and_keeps_the_pictures_in_memory(
    editor: ImageEditor, server: LocalServer, out: Path, fail_for: FailFor
) -> None:
    fail_for(".png", errno.ENOSPC)
    async with editor.edit_many(jobs(30), out=out, concurrency=2) as outcomes:
        found = await until(outcomes, SaveError, match="No space left")
        assert outcomes.images_made == len(found) == server.edits.edits
    assert {each.status for each in found} == {"uncertain"}
    assert all(each.result is not None and each.result.images for each in found)
    assert 1 <= server.edits.edits <= 2
    assert list((out / ".asyncsdk" / "drafts").iterdir()) == []


@pytest.mark.usefixtures("impatient")
async def test_of_several_pictures_those_on_disk_are_told_and_so_is_what_it_cost(
    editor: ImageEditor, out: Path, fail_for: FailFor
) -> None:
    fail_for("1.1.png", errno.ENOSPC)
    async with editor.edit_many(jobs(1, n=2), out=out) as outcomes:
        [found] = await until(outcomes, SaveError, match="only 1 of its 2 pictures")
        assert (outcomes.images_made, outcomes.usage.total_tokens) == (2, found.usage and found.usage.total_tokens)
    assert found.files == (out / "1.png",)
    assert isinstance(found.error, SaveError)
    assert found.error.files == found.files
    assert str(out / "1.png") in str(found.error)
    assert found.files[0].exists()


@pytest.mark.usefixtures("impatient")
async def test_what_was_paid_and_not_saved_counts_against_the_tokens_of_later_runs(
    editor: ImageEditor, server: LocalServer, out: Path, fail_for: FailFor
) -> None:
    fail_for("1.png", errno.ENOSPC)
    async with editor.edit_many(jobs(1), out=out) as outcomes:
        await until(outcomes, SaveError)
    async with editor.edit_many(jobs(2), out=out, max_tokens=1) as outcomes:
        [uncertain] = await until(outcomes, LimitReachedError)
    assert uncertain.status == "uncertain"
    assert uncertain.usage is not None
    assert server.edits.edits == 1


async def test_a_picture_with_a_name_that_the_disk_does_not_take_stops_no_other(
    editor: ImageEditor, out: Path, fail_for: FailFor
) -> None:
    fail_for("2.png", errno.ENAMETOOLONG)
    async with editor.edit_many(jobs(4), out=out, concurrency=1) as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"done": 3, "uncertain": 1}


@pytest.mark.parametrize(
    "error", [ValueError("the database says no"), ConnectionResetError(104, "reset"), TimeoutError("too slow")]
)
async def test_what_the_caller_can_not_keep_is_told_and_stops_no_other(
    editor: ImageEditor, tmp_path: Path, error: Exception
) -> None:
    async def save(edit: ImageEdit, result: EditResult) -> None:
        if edit.prompt == "beret 2":
            raise error

    async with editor.edit_many(jobs(5), save=save, ledger=tmp_path / "ledger", concurrency=1) as outcomes:
        found = {each.id: each for each in await all_of(outcomes)}
        assert outcomes.counts == {"done": 4, "uncertain": 1}
        assert outcomes.images_made == 5
    assert isinstance(found["2"].error, SaveError)
    assert found["2"].error.__cause__ is error
    assert found["2"].result is not None
    assert found["2"].files == ()


def full() -> SaveError:
    error = SaveError("paid, and not kept")
    error.__cause__ = OSError(errno.ENOSPC, "full")
    return error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.EROFS, "read-only"), full()])
async def test_a_disk_on_which_the_caller_can_keep_nothing_stops_the_run(
    editor: ImageEditor, server: LocalServer, tmp_path: Path, error: Exception
) -> None:
    async def save(edit: ImageEdit, result: EditResult) -> None:
        raise error

    async with editor.edit_many(jobs(40), save=save, ledger=tmp_path / "ledger", concurrency=2) as outcomes:
        found = await until(outcomes, SaveError)
    assert len(found) == server.edits.edits <= 3
    assert all(isinstance(each.error, SaveError) and each.error.in_memory for each in found)


async def test_a_caller_who_can_keep_nothing_three_times_in_a_row_pays_no_more(
    editor: ImageEditor, server: LocalServer, tmp_path: Path
) -> None:
    calls: list[EditResult] = []

    async def save(edit: ImageEdit, result: EditResult) -> None:
        calls.append(result)
        if len(calls) != 3:
            raise ValueError("the database says no")

    async with editor.edit_many(jobs(40), save=save, ledger=tmp_path / "ledger", concurrency=1) as outcomes:
        found = await until(outcomes, EditError, match=r"`save` failed for 3 paid edits in a row.*database says no")
    assert len(found) == server.edits.edits == 6


async def test_a_cancellation_out_of_the_callers_own_part_is_a_failure_of_that_edit_alone(
    editor: ImageEditor, tmp_path: Path
) -> None:
    async def save(edit: ImageEdit, result: EditResult) -> None:
        if edit.prompt == "beret 2":
            raise asyncio.CancelledError  # as an awaited task of the caller's does that somebody cancelled

    async with editor.edit_many(jobs(5), save=save, ledger=tmp_path / "ledger", concurrency=2) as outcomes:
        found = {each.id: each for each in await all_of(outcomes)}
        assert outcomes.counts == {"done": 4, "uncertain": 1}
    assert isinstance(found["2"].error, SaveError)
    assert "nobody here had cancelled it" in str(found["2"].error)


async def test_pictures_that_are_on_disk_are_told_where_the_callers_own_part_fails(
    editor: ImageEditor, out: Path
) -> None:
    async def save(edit: ImageEdit, result: EditResult) -> None:
        raise ValueError("the database says no")

    async with editor.edit_many(jobs(1), out=out, save=save) as outcomes:
        [found] = await all_of(outcomes)
    assert found.files == (out / "1.png",)
    assert found.files[0].exists()
    assert "which are on disk" in str(found.error)
    assert "could not be saved" not in str(found.error)
    async with editor.edit_many(jobs(1), out=out, save=save) as outcomes:
        [again] = await all_of(outcomes)
    assert again.status == "uncertain"


async def test_pictures_behind_an_address_that_does_not_answer_are_not_called_in_memory(out: Path) -> None:
    there = {"data": [{"url": "http://me:password@127.0.0.1:9/picture.png?sig=signature"}]}
    async with (
        answering(reply(200, there)) as server,
        client_of(server, max_retries=0) as client,
        ImageEditor(client).edit_many(jobs(1), out=out) as outcomes,
    ):
        [found] = await all_of(outcomes)
    assert found.status == "uncertain"
    assert "60 minutes" in str(found.error)
    assert "in memory" not in str(found.error)
    assert "http://127.0.0.1:9/picture.png?sig=signature" in str(found.error)
    assert "password" not in str(found.error)
    assert found.result is not None
    assert found.result.images[0].url is not None


async def test_fewer_pictures_than_were_asked_for_are_done_and_told(out: Path) -> None:
    async with answering(done(1)) as server, client_of(server) as client:
        for status in ("done", "skipped"):
            async with ImageEditor(client).edit_many(jobs(1, n=2), out=out) as outcomes:
                [found] = await all_of(outcomes)
            assert found.status == status
            assert found.files == (out / "1.png",)
            assert found.problem is not None
            assert found.problem.message.startswith("1 of 2 pictures came")
            assert not found.problem.retryable


class TestAnAnswerWithoutAPicture:
    @pytest.fixture(params=[[], [{}], [{"b64_json": None}]], ids=json.dumps)
    async def empty(self, request: pytest.FixtureRequest) -> AsyncIterator[RawServer]:
        async with answering(reply(200, {"data": request.param, "usage": {"total_tokens": TOKENS}})) as server:
            yield server

    @pytest.mark.parametrize("kept", ["out", "save", "nowhere"])
    async def test_is_uncertain_and_not_done(self, empty: RawServer, tmp_path: Path, kept: str) -> None:
        async def save(edit: ImageEdit, result: EditResult) -> None:
            raise AssertionError("there is nothing to save")

        where = {"out": {"out": tmp_path / "out"}, "save": {"save": save, "ledger": tmp_path}, "nowhere": {}}[kept]
        async with client_of(empty) as client, ImageEditor(client).edit_many(jobs(1), **where) as outcomes:  # type: ignore[arg-type]  # passed on
            [found] = await all_of(outcomes)
        assert found.status == "uncertain"
        assert "without a picture" in str(found.error)
        assert len(empty.requests) == 1

    async def test_is_an_error_of_one_edit_too(self, empty: RawServer) -> None:
        async with client_of(empty) as client:
            with pytest.raises(ChargeUnknownError, match="without a picture"):
                await ImageEditor(client).edit(PICTURE, "a beret", model=MODEL)


async def test_a_place_that_takes_no_picture_is_refused_before_anything_is_paid(
    editor: ImageEditor, server: LocalServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(ConfigurationError, match="Nothing was sent"):
        async with editor.edit_many(jobs(4), out=tmp_path / "file" / "out", ledger=tmp_path / "ledger"):
            pass
    assert server.requests == []


async def test_an_id_through_a_link_into_what_can_not_be_looked_at_is_refused_before_anything_is_paid(
    editor: ImageEditor, server: LocalServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir()
    (out / "link").symlink_to(out.parent)
    stat = os.stat

    def refusing(path: Any, *more: Any, **named: Any) -> os.stat_result:  # root, who may run this, sees all
        if str(path).endswith("/link"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *more, **named)

    monkeypatch.setattr(os, "stat", refusing)
    edits = [ImageEdit(image=PICTURE, prompt="a beret", id=name, model=MODEL) for name in ("link/x", "y")]
    async with editor.edit_many(edits, out=out) as outcomes:
        assert {each.id: each.status for each in await all_of(outcomes)} == {"link/x": "refused", "y": "done"}
    assert server.edits.edits == 1


async def test_looking_whether_a_place_can_be_written_leaves_nothing_there(editor: ImageEditor, out: Path) -> None:
    async with editor.edit_many([], out=out, ledger=out.parent / "ledger"):
        assert list(out.iterdir()) == []
