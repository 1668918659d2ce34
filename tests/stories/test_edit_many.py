"""Many edits in one run: in parallel, paced, each on its own, and what stops them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsdk import (
    AuthenticationError,
    ChargeUnknownError,
    Client,
    ConfigurationError,
    EditError,
    EditResult,
    ImageEdit,
    ImageEditor,
    InvalidEditError,
    LedgerBusyError,
    LimitReachedError,
    ModerationBlockedError,
)
from asyncsdk.images.bulk.delivery import LedgerWriter
from asyncsdk.images.bulk.policy import OnUncertain
from asyncsdk.server import Fault, LocalServer
from tests.stories.edits import MODEL, PICTURE, all_of, jobs, until
from tests.stories.pictures import photo


async def test_each_edit_is_done_once_and_its_picture_on_disk(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    async with editor.edit_many(jobs(20), out=out) as outcomes:
        found = await all_of(outcomes)
        assert outcomes.counts == {"done": 20}
        assert outcomes.images_made == 20
        assert outcomes.usage.total_tokens == sum(each.usage.total_tokens or 0 for each in found if each.usage)
    assert {path.name for path in out.glob("*.png")} == {f"{number}.png" for number in range(1, 21)}
    assert {each.id: each.files for each in found} == {str(n): (out / f"{n}.png",) for n in range(1, 21)}
    assert set(server.edits.by_prompt.values()) == {1}


async def test_the_edits_may_come_from_an_endless_source(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[ImageEdit]:
        nonlocal taken
        while True:
            taken += 1
            yield ImageEdit(image=PICTURE, prompt=f"beret {taken}", model=MODEL)

    async with editor.edit_many(endless(), out=out, concurrency=3) as outcomes:
        for _ in range(10):
            await anext(outcomes)
        assert taken <= 10 + 3 + 1
        while outcomes.in_flight + len(outcomes.abandoned) < 3:
            await anyio.sleep(0.01)
        outcomes.stop()
        rest = await all_of(outcomes)
    assert [each.status for each in rest] == ["done"] * 3
    assert server.edits.edits == 13


async def test_one_that_fails_does_not_stop_the_others(editor: ImageEditor, out: Path) -> None:
    edits = jobs(3)
    edits[1] = ImageEdit(image=PICTURE, prompt="something forbidden", model=MODEL, id="bad")
    edits.append(ImageEdit(image=out / "missing.png", prompt="a beret", model=MODEL, id="missing"))
    async with editor.edit_many(edits, out=out) as outcomes:
        found = {each.id: each for each in await all_of(outcomes)}
    assert Counter(each.status for each in found.values()) == {"done": 2, "refused": 2}
    assert isinstance(found["bad"].error, ModerationBlockedError)
    assert found["bad"].problem is not None
    assert found["bad"].problem.moderation is not None
    assert isinstance(found["missing"].error, InvalidEditError)


async def test_a_lost_answer_is_reported_and_the_others_go_on(tmp_path: Path, out: Path) -> None:
    lost = Fault("edit", "reset", at="done", every=4)
    async with LocalServer(tmp_path / "s", faults=[lost]) as server, Client("sk-1", base_url=server.url) as client:
        async with ImageEditor(client).edit_many(jobs(20), out=out, concurrency=4) as outcomes:
            found = await all_of(outcomes)
        uncertain = [each for each in found if each.status == "uncertain"]
        assert len(uncertain) == 5
        assert all(isinstance(each.error, ChargeUnknownError) for each in uncertain)
        assert set(server.edits.by_prompt.values()) == {1}


async def test_who_may_pay_twice_gets_every_picture(tmp_path: Path, out: Path) -> None:
    lost = Fault("edit", "reset", at="done", every=4)
    async with LocalServer(tmp_path / "s", faults=[lost]) as server, Client("sk-1", base_url=server.url) as client:
        async with ImageEditor(client).edit_many(jobs(20), out=out, on_uncertain="retry", concurrency=1) as outcomes:
            await all_of(outcomes)
            assert outcomes.counts == {"done": 20}
        assert server.edits.edits == 26


async def test_who_wants_to_stop_at_the_first_lost_answer_is_told(tmp_path: Path, out: Path) -> None:
    lost = Fault("edit", "reset", at="done", nth=3)
    async with LocalServer(tmp_path / "s", faults=[lost]) as server, Client("sk-1", base_url=server.url) as client:
        async with ImageEditor(client).edit_many(jobs(50), out=out, concurrency=2, on_uncertain="stop") as outcomes:
            with pytest.raises(ChargeUnknownError):
                await all_of(outcomes)
            assert outcomes.counts["uncertain"] == 1
        assert server.edits.edits <= 5


@pytest.mark.parametrize("on_uncertain", ["report", "retry"])
async def test_a_server_that_fails_again_and_again_does_not_make_the_whole_list_uncertain(
    tmp_path: Path, out: Path, on_uncertain: OnUncertain
) -> None:
    async with LocalServer(tmp_path / "s") as server, Client("sk-1", base_url=server.url) as client:
        editor = ImageEditor(client)
        server.inject(Fault("edit", "answer", status=500, every=1, times=1000))
        async with editor.edit_many(jobs(60), out=out, concurrency=4, on_uncertain=on_uncertain) as outcomes:
            found = await until(outcomes, EditError, match="10 edits in a row may have been paid.* 500")
        assert {each.status for each in found} == {"uncertain"}
        assert 10 <= server.calls["edit"] < 10 + 4
        server.clear_faults()
        async with editor.edit_many(jobs(60), out=out, concurrency=4) as outcomes:
            await all_of(outcomes)
            assert outcomes.counts == {"done": 60 - len(found), "uncertain": len(found)}


async def test_a_server_that_fails_often_and_not_always_does_not_stop_the_run(tmp_path: Path, out: Path) -> None:
    failing = Fault("edit", "answer", status=500, every=1, times=9)
    async with (
        LocalServer(tmp_path / "s", faults=[failing]) as server,
        Client("sk-1", base_url=server.url) as client,
        ImageEditor(client).edit_many(jobs(30), out=out, concurrency=1) as outcomes,
    ):
        for _ in range(3):
            found = [await anext(outcomes) for _ in range(10)]
            assert [each.status for each in found] == ["uncertain"] * 9 + ["done"]
            server.inject(failing)
        assert [outcome async for outcome in outcomes] == []


async def test_a_wrong_key_stops_all(tmp_path: Path, out: Path) -> None:
    async with LocalServer(tmp_path / "s", api_key="right") as server, Client("wrong", base_url=server.url) as client:
        async with ImageEditor(client).edit_many(jobs(50), out=out, concurrency=4) as outcomes:
            found = await until(outcomes, AuthenticationError)
        assert {each.status for each in found} == {"failed"}
        assert server.calls["edit"] <= 4


async def test_a_server_that_is_not_there_ends_the_run_in_seconds(out: Path, tmp_path: Path) -> None:
    async with LocalServer(tmp_path / "s") as server:
        url = server.url
    from asyncsdk import APIConnectionError

    async with Client("sk-1", base_url=url) as client, ImageEditor(client).edit_many(jobs(50), out=out) as outcomes:
        with anyio.fail_after(10), pytest.raises(APIConnectionError):
            await all_of(outcomes)


async def test_a_limit_stops_the_run_and_counts_over_reruns(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    async with editor.edit_many(jobs(20), out=out, max_edits=5) as outcomes:
        with pytest.raises(LimitReachedError):
            await all_of(outcomes)
        assert outcomes.counts["done"] == 5
    async with editor.edit_many(jobs(20), out=out, max_edits=7) as outcomes:
        with pytest.raises(LimitReachedError):
            await all_of(outcomes)
        assert outcomes.counts == {"skipped": 5, "done": 2}
    assert server.edits.edits == 7


async def test_tokens_are_a_limit_too(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    async with editor.edit_many(jobs(50), out=out, concurrency=1, max_tokens=1) as outcomes:
        with pytest.raises(LimitReachedError):
            await all_of(outcomes)
    assert server.edits.edits == 1


async def test_an_error_of_the_source_comes_out_after_what_is_in_flight(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    async def broken() -> AsyncIterator[ImageEdit]:
        for job in jobs(3):
            yield job
        while server.calls.get("edit", 0) < 3:
            await anyio.sleep(0.01)
        raise ZeroDivisionError("in the caller's own generator")

    async with editor.edit_many(broken(), out=out) as outcomes:
        with pytest.raises(ZeroDivisionError):
            await all_of(outcomes)
        assert outcomes.counts == {"done": 3}
    assert server.edits.edits == 3


async def test_what_is_no_edit_is_a_type_error(editor: ImageEditor, out: Path) -> None:
    async with editor.edit_many(["otter.png"], out=out) as outcomes:  # type: ignore[list-item]  # the mistake in question
        with pytest.raises(TypeError, match="ImageEdit"):
            await all_of(outcomes)


async def test_rate_limits_are_waited_out(tmp_path: Path, out: Path) -> None:
    refused = Fault("edit", "answer", every=10, status=429, headers={"retry-after-ms": "1"})
    async with (
        LocalServer(tmp_path / "s", faults=[refused]) as server,
        Client("sk-1", base_url=server.url) as client,
    ):
        async with ImageEditor(client).edit_many(jobs(60), out=out) as outcomes:
            await all_of(outcomes)
            assert outcomes.counts == {"done": 60}
        assert set(server.edits.by_prompt.values()) == {1}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault("edit", "answer", every=1, times=3, status=503, retry_after=1.5), "the server responded with 503"),
        (Fault("edit", "answer", every=1, times=3, status=429, retry_after=1.5), None),
    ],
    ids=["503", "429"],
)
async def test_what_waits_to_be_sent_again_is_counted_by_why(
    tmp_path: Path, out: Path, fault: Fault, why: str | None
) -> None:
    async with (
        LocalServer(tmp_path / "s", faults=[fault]) as server,
        Client("sk-1", base_url=server.url) as client,
        ImageEditor(client).edit_many(jobs(3), out=out, concurrency=3) as outcomes,
    ):
        while server.calls.get("edit", 0) < 3 or outcomes.in_flight:
            await anyio.sleep(0.01)
        assert outcomes.retrying == ({} if why is None else {why: 3})
        assert {each.status for each in await all_of(outcomes)} == {"done"}
        assert outcomes.retrying == {}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault("edit", "reset", at="done"), "the response was lost"),
        (Fault("edit", "answer", status=500), "the server responded with 500"),
    ],
    ids=["lost", "500"],
)
async def test_what_may_be_paid_and_is_sent_again_is_not_called_unconnected(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, why: str
) -> None:
    monkeypatch.setattr("asyncsdk.retry.backoff", lambda *_: 0.5)
    async with (
        LocalServer(tmp_path / "s", faults=[fault]) as server,
        Client("sk-1", base_url=server.url) as client,
        ImageEditor(client).edit_many(jobs(1), out=out, on_uncertain="retry") as outcomes,
    ):
        while not outcomes.retrying:
            await anyio.sleep(0.01)
        assert outcomes.retrying == {why: 1}
        assert [each.status for each in await all_of(outcomes)] == ["done"]


async def test_an_edit_that_the_lease_kept_back_is_not_called_unconnected(
    editor: ImageEditor, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.retry.backoff", lambda *_: 0.5)
    answers = iter((False,))
    monkeypatch.setattr(LedgerWriter, "may_send", property(lambda _: next(answers, True)))
    async with editor.edit_many(jobs(1), out=out) as outcomes:
        while not outcomes.retrying:
            await anyio.sleep(0.01)
        assert outcomes.retrying == {"the lease lapsed": 1}
        assert [each.status for each in await all_of(outcomes)] == ["done"]


async def test_what_a_stop_ends_waits_to_be_sent_again_no_more(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the ledger takes to record its end."""
    is_ending, may_end, end = anyio.Event(), anyio.Event(), LedgerWriter.end

    async def slow_end(self: LedgerWriter, *arguments: Any) -> None:
        is_ending.set()
        await may_end.wait()
        await end(self, *arguments)

    monkeypatch.setattr(LedgerWriter, "end", slow_end)
    async with (
        LocalServer(tmp_path / "s", faults=[Fault("edit", "answer", status=503, retry_after=60)]) as server,
        Client("sk-1", base_url=server.url) as client,
        ImageEditor(client).edit_many(jobs(1), out=out) as outcomes,
    ):
        while not outcomes.retrying:
            await anyio.sleep(0.01)
        outcomes.stop()
        await is_ending.wait()
        retrying = outcomes.retrying
        may_end.set()
        assert [each.status for each in await all_of(outcomes)] == ["failed"]
        assert retrying == {}


async def test_a_caller_may_keep_the_pictures(editor: ImageEditor, tmp_path: Path) -> None:
    kept = {}

    async def save(edit: ImageEdit, result: EditResult) -> None:
        kept[edit.prompt] = await result.contents()

    async with editor.edit_many(jobs(3), save=save, ledger=tmp_path / "ledger") as outcomes:
        await all_of(outcomes)
    async with editor.edit_many(jobs(4), save=save, ledger=tmp_path / "ledger") as outcomes:
        await all_of(outcomes)
        assert outcomes.counts == {"skipped": 3, "done": 1}
    assert len(kept) == 4


async def test_without_a_place_to_keep_them_nothing_is_written_down(editor: ImageEditor, server: LocalServer) -> None:
    for _ in range(2):
        async with editor.edit_many(jobs(3)) as outcomes:
            found = await all_of(outcomes)
            assert outcomes.counts == {"done": 3}
        assert all(each.result is not None and each.files == () for each in found)
    assert server.edits.edits == 6


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"on_uncertain": "perhaps"},
        {"only": ["sent"]},
        {"redo": "a"},
        {"max_edits": 0},
        {"images_per_minute": 0},
        {"ledger": "somewhere"},
        {"save": print},
    ],
    ids=str,
)
async def test_wrong_settings_are_refused_before_anything_is_sent(
    editor: ImageEditor, server: LocalServer, wrong: dict[str, object]
) -> None:
    with pytest.raises(ConfigurationError):
        async with editor.edit_many(jobs(1), **wrong):  # type: ignore[arg-type]  # the mistakes in question
            pass
    assert server.requests == []


async def test_two_runs_into_one_directory_do_not_meet(editor: ImageEditor, out: Path) -> None:
    async with editor.edit_many(jobs(1), out=out) as outcomes:
        with pytest.raises(LedgerBusyError):
            async with editor.edit_many(jobs(1), out=out):
                pass
        await all_of(outcomes)


class TestStopping:
    async def test_stop_awaits_what_is_in_flight_and_sends_nothing_new(self, tmp_path: Path, out: Path) -> None:
        async with (
            LocalServer(tmp_path / "s", edit_seconds=0.2) as server,
            Client("sk-1", base_url=server.url) as client,
        ):
            async with ImageEditor(client).edit_many(jobs(50), out=out, concurrency=4) as outcomes:
                await anext(outcomes)
                outcomes.stop()
                rest = await all_of(outcomes)
            assert {each.status for each in rest} == {"done"}
            assert len(rest) <= 4
            assert server.edits.edits == len(rest) + 1
            assert len(list(out.glob("*.png"))) == len(rest) + 1

    async def test_stop_does_not_wait_for_a_turn_that_is_far_away(self, tmp_path: Path, out: Path) -> None:
        async with LocalServer(tmp_path / "s") as server, Client("sk-1", base_url=server.url) as client:
            with anyio.fail_after(5):
                async with ImageEditor(client).edit_many(jobs(50), out=out, images_per_minute=1) as outcomes:
                    await anext(outcomes)
                    outcomes.stop()
                    assert await all_of(outcomes) == []
            async with ImageEditor(client).edit_many(jobs(50), out=out) as outcomes:
                await all_of(outcomes)
                assert outcomes.counts == {"skipped": 1, "done": 49}

    async def test_leaving_makes_what_is_in_flight_uncertain(self, tmp_path: Path, out: Path) -> None:
        async with (
            LocalServer(tmp_path / "s", edit_seconds=30) as server,
            Client("sk-1", base_url=server.url) as client,
        ):
            with anyio.fail_after(20):
                async with ImageEditor(client).edit_many(jobs(50), out=out, concurrency=4) as outcomes:
                    while server.calls.get("edit", 0) < 4:
                        await anyio.sleep(0.01)
                assert len(outcomes.abandoned) == 4
            async with ImageEditor(client).edit_many(jobs(4), out=out) as outcomes:
                found = await all_of(outcomes)
            assert {each.status for each in found} == {"uncertain"}

    async def test_a_source_that_gives_nothing_does_not_hold_up_a_stop(self, editor: ImageEditor, out: Path) -> None:
        async def silent() -> AsyncIterator[ImageEdit]:
            yield jobs(1)[0]
            await anyio.sleep_forever()

        with anyio.fail_after(3):
            async with editor.edit_many(silent(), out=out) as outcomes:
                await anext(outcomes)
                outcomes.stop()
                assert await all_of(outcomes) == []


class TestNames:
    async def test_names_that_collide_or_lead_out_are_refused_before_anything_is_sent(
        self, editor: ImageEditor, server: LocalServer, out: Path
    ) -> None:
        edits = [
            ImageEdit(image=PICTURE, prompt="1", model=MODEL, id="a", n=2),
            ImageEdit(image=PICTURE, prompt="2", model=MODEL, id="a.1"),
            ImageEdit(image=PICTURE, prompt="3", model=MODEL, id="A"),
            ImageEdit(image=PICTURE, prompt="4", model=MODEL, id="../a"),
            ImageEdit(image=PICTURE, prompt="5", model=MODEL, id="b\x00"),
        ]
        async with editor.edit_many(edits, out=out) as outcomes:
            await all_of(outcomes)
            assert outcomes.counts == {"done": 2, "refused": 3}
        assert server.edits.edits == 2
        assert sorted(path.name for path in out.glob("*.*")) == [".asyncsdk", "a.1.png", "a.png", "b%00.png"]

    async def test_a_source_picture_is_never_overwritten(
        self, editor: ImageEditor, server: LocalServer, out: Path
    ) -> None:
        out.mkdir()
        otter = photo(out / "otter.png")
        before = otter.read_bytes()
        async with editor.edit_many([ImageEdit(image=otter, prompt="x", model=MODEL, id="otter")], out=out) as outcomes:
            [refused] = await all_of(outcomes)
        assert refused.status == "refused"
        assert "is there already" in str(refused.error)
        assert otter.read_bytes() == before
        assert server.requests == []

    async def test_ids_make_folders(self, editor: ImageEditor, out: Path) -> None:
        edits = [ImageEdit(image=PICTURE, prompt="x", model=MODEL, id="summer/beach/1")]
        async with editor.edit_many(edits, out=out) as outcomes:
            [done] = await all_of(outcomes)
        assert done.files == (out / "summer" / "beach" / "1.png",)
        assert done.files[0].exists()


async def test_a_plan_tells_what_would_be_sent(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    edits = [*jobs(10, n=2), ImageEdit(image=out / "missing.png", prompt="x", model=MODEL)]
    plan = await editor.plan(edits, out=out, images_per_minute=5)
    assert (plan.to_send, plan.done, plan.uncertain, plan.input_images, plan.minutes) == (10, 0, 0, 20, 4.0)
    assert [each.status for each in plan.problems] == ["refused"]
    assert server.requests == []
    assert not out.exists()
    async with editor.edit_many(edits[:4], out=out) as outcomes:
        await all_of(outcomes)
    plan = await editor.plan(edits, out=out)
    assert (plan.to_send, plan.done, plan.minutes) == (6, 4, None)
