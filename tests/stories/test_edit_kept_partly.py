"""A paid response of which something is missing: what is whole is kept, and the rest is named."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsdk import (
    APIResponseValidationError,
    Client,
    EditError,
    EditOutcome,
    EditResult,
    ImageEdit,
    ImageEditor,
    LedgerError,
    SaveError,
)
from tests.raw_server import client_of
from tests.stories.edits import MODEL, PICTURE, all_of, jobs, until
from tests.stories.gateway import PAGE, Gateway, gateway

BAD = ("gone", "page", "empty", "cut", "shut")
RAW: dict[str, list[bytes]] = {name: [] for name in BAD} | {"page": [PAGE], "cut": [PICTURE[: len(PICTURE) // 2]]}


def client_for(running: Gateway) -> Client:
    return client_of(running.server, max_retries=1)


def ledger_lines(out: Path) -> list[dict[str, object]]:
    [segment] = (out / ".asyncsdk" / "ledger").glob("*.jsonl")
    return [json.loads(line) for line in segment.read_text().splitlines()]


def raw_files(out: Path) -> list[Path]:
    return sorted((out / ".asyncsdk" / "raw").glob("*"))


async def run(running: Gateway, out: Path, count: int = 1, **options: object) -> list[EditOutcome]:
    async with client_for(running) as client:
        return await all_in(client, out, count, **options)


async def all_in(client: Client, out: Path, count: int = 1, **options: object) -> list[EditOutcome]:
    async with ImageEditor(client).edit_many(jobs(count, n=2), out=out, **options) as outcomes:  # type: ignore[arg-type]  # passed on
        return await all_of(outcomes)


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "second"])
@pytest.mark.parametrize("good", ["whole", "picture"])
@pytest.mark.parametrize("bad", BAD)
async def test_the_whole_picture_is_kept_under_its_number_and_the_other_is_written_down(
    out: Path, bad: str, good: str, *, is_first: bool
) -> None:
    names = (good, bad) if is_first else (bad, good)
    async with gateway(*names) as running:
        [found] = await run(running, out)
        url = running.url(bad)["url"]
    kept = out / ("1.png" if is_first else "1.1.png")
    assert (found.status, found.files, kept.read_bytes()) == ("uncertain", (kept,), PICTURE)
    assert isinstance(found.error, SaveError)
    assert (found.error.files, found.error.urls, found.error.in_memory) == ((kept,), (url,), False)
    assert found.problem is not None
    assert (found.problem.type, found.problem.urls) == ("SaveError", (url,))
    for told in (str(found.error), found.problem.message):
        assert all(text in told for text in (str(kept), url, "only 1 of its 2", "60 minutes"))
    last = ledger_lines(out)[-1]
    assert (last["t"], last["files"]) == ("uncertain", [kept.name])
    assert last["problem"]["urls"] == [url]  # type: ignore[index]  # an object
    assert [path.read_bytes() for path in raw_files(out)] == RAW[bad]
    assert found.problem.raw_files == tuple(map(str, raw_files(out)))
    assert all(str(path) in str(found.error) for path in raw_files(out))
    assert list(out.rglob("*.bin")) == []


@pytest.mark.parametrize("bad", BAD)
async def test_an_edit_of_which_nothing_is_a_picture_is_never_done(out: Path, bad: str) -> None:
    async with gateway(bad) as running:
        [found] = await run(running, out)
        assert (found.status, found.files) == ("uncertain", ())
        assert found.problem is not None
        assert found.problem.urls == (running.url(bad)["url"],)
        [again] = await run(running, out)
    assert (again.status, again.problem, running.edits) == ("uncertain", found.problem, 1)
    assert [path.name for path in out.iterdir()] == [".asyncsdk"]


async def test_what_is_raw_is_for_this_user_alone_and_never_overwritten(out: Path) -> None:
    async with gateway("page") as running:
        edits = [ImageEdit(image=PICTURE, prompt=f"beret {number}", id=f"a/..b{number}") for number in (1, 2)]
        for _ in range(2):
            async with client_for(running) as client:
                options: dict[str, object] = {"on_uncertain": "retry"}
                async with ImageEditor(client).edit_many(edits, out=out, **options) as outcomes:  # type: ignore[arg-type]  # passed on
                    await all_of(outcomes)
    folder = out / ".asyncsdk" / "raw"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in raw_files(out)} == {f"a_..b{name}.raw" for name in ("1-1", "1-2", "2-1", "2-2")}
    assert {stat.S_IMODE(path.stat().st_mode) for path in raw_files(out)} == {0o600}


async def test_a_ledger_elsewhere_has_what_is_raw_beside_it(out: Path, tmp_path: Path) -> None:
    async with gateway("whole", "page") as running:
        [found] = await run(running, out, ledger=tmp_path / "ledger")
    assert found.problem is not None
    assert found.problem.raw_files == (str(tmp_path / "ledger" / "raw" / "1-1.raw"),)
    assert [path.name for path in out.iterdir()] == ["1.png"]


async def test_a_partly_kept_edit_is_not_sent_again_but_by_retry_and_then_its_pictures_make_way(out: Path) -> None:
    async with gateway("whole", "gone") as running:
        [found] = await run(running, out)
        [again] = await run(running, out)
        assert (running.edits, again.status, again.files, again.problem) == (
            1,
            "uncertain",
            (out / "1.png",),
            found.problem,
        )
        running.items = lambda _, gateway: [gateway.url("picture"), gateway.url("picture")]
        [retried] = await run(running, out, only=["uncertain"], on_uncertain="retry")
        assert (running.edits, retried.status) == (2, "done")
        assert retried.files == (out / "1.png", out / "1.1.png")
        [moved] = (out / ".asyncsdk" / "replaced").iterdir()
        assert moved.name.endswith("-1.png")
        [last] = await run(running, out)
    assert (running.edits, last.status) == (2, "skipped")


async def test_a_url_that_turns_us_away_is_tried_again_and_each_has_its_own_tries(out: Path) -> None:
    async with gateway("gone", "picture") as running:
        running.turned_away = {"gone", "picture"}
        [found] = await run(running, out)
    assert found.files == (out / "1.1.png",)
    assert running.fetched == {"gone": 2, "picture": 2}


async def test_leaving_while_a_url_is_fetched_keeps_what_came_and_names_the_url(out: Path) -> None:
    async with gateway("slow", "whole") as running, client_for(running) as client:
        edits = ImageEditor(client).edit_many(jobs(1, n=2), out=out)
        async with edits as outcomes, anyio.create_task_group() as tasks:
            tasks.start_soon(all_of, outcomes)
            await running.reached.wait()
            assert (out / "1.1.png").read_bytes() == PICTURE, "before anything is fetched"
            tasks.cancel_scope.cancel()
        [left] = outcomes.abandoned
        assert (left.status, left.files) == ("uncertain", (out / "1.1.png",))
        assert left.problem is not None
        assert left.problem.urls == (running.url("slow")["url"],)
        assert ledger_lines(out)[-1]["files"] == ["1.1.png"]


async def test_the_callers_save_gets_no_edit_that_is_partly_on_disk(out: Path) -> None:
    async def save(edit: ImageEdit, result: EditResult) -> None:
        raise AssertionError("it is not done")

    async with gateway("whole", "gone") as running:
        [found] = await run(running, out, save=save)
    assert isinstance(found.error, SaveError)
    assert "404" in str(found.error)


async def test_what_the_callers_save_could_not_fetch_is_written_down(tmp_path: Path) -> None:
    async def save(edit: ImageEdit, result: EditResult) -> None:
        await result.save(tmp_path / "mine")

    async with gateway("whole", "page") as running, client_for(running) as client:
        options: dict[str, object] = {"save": save, "ledger": tmp_path / "ledger"}
        async with ImageEditor(client).edit_many(jobs(1, n=2), **options) as outcomes:  # type: ignore[arg-type]  # passed on
            [found] = await all_of(outcomes)
        assert (found.status, found.files) == ("uncertain", ())
        assert found.problem is not None
        assert found.problem.urls == (running.url("page")["url"],)
    assert str(tmp_path / "mine" / "edit.png") in found.problem.message


class TestOneEdit:
    @pytest.mark.parametrize("bad", BAD)
    async def test_saves_what_is_whole_before_it_raises(self, out: Path, bad: str) -> None:
        async with gateway(bad, "whole", "picture") as running, client_for(running) as client:
            result = await ImageEditor(client).edit(PICTURE, "a beret", model=MODEL, n=3)
            with pytest.raises(SaveError, match="only 2 of its 3 pictures") as caught:
                await result.save(out, name="beret")
            assert caught.value.urls == (running.url(bad)["url"],)
            with pytest.raises(SaveError):
                await result.save(out)
        assert caught.value.files == (out / "beret.1.png", out / "beret.2.png")
        assert caught.value.result is result
        assert all(path.read_bytes() == PICTURE for path in (out / "beret.1.png", out / "beret.2.png"))
        assert [path.read_bytes() for path in raw_files(out)] == RAW[bad] * 2
        assert caught.value.raw_files == tuple(out / ".asyncsdk" / "raw" / "beret-1.raw" for _ in RAW[bad])

    @pytest.mark.parametrize("bad", ["page", "empty", "cut"])
    async def test_never_gives_what_is_not_a_picture_as_content(self, bad: str) -> None:
        async with gateway(bad) as running, client_for(running) as client:
            result = await ImageEditor(client).edit(PICTURE, "a beret", model=MODEL)
            with pytest.raises(APIResponseValidationError, match="the picture's URL"):
                await result.contents()

    async def test_has_what_was_fetched_and_not_saved_in_memory(self, out: Path) -> None:
        async with gateway("picture") as running, client_for(running) as client:
            result = await ImageEditor(client).edit(PICTURE, "a beret", model=MODEL)
            out.write_text("not a directory")
            with pytest.raises(SaveError, match="in memory as long as"):
                await result.save(out)
        assert running.fetched == {"picture": 1}
        [path] = await result.save(out.parent / "elsewhere")
        assert path.read_bytes() == PICTURE

    async def test_shows_a_url_as_it_can_be_used_and_nothing_else(self, out: Path) -> None:
        async with gateway() as running, client_for(running) as client:
            odd = "http://me:pass@word@127.0.0.1:9/a b\nerror: all is lost\ud800"
            running.items = lambda _number, _gateway: [{"url": odd}]
            result = await ImageEditor(client).edit(PICTURE, "a beret", model=MODEL)
            with pytest.raises(SaveError) as caught:
                await result.save(out)
        assert caught.value.urls == ("http://127.0.0.1:9/a%20b%0Aerror:%20all%20is%20lost%ED%A0%80",)
        assert "word" not in str(caught.value)


class TestADiskThatFails:
    @pytest.mark.usefixtures("impatient")
    async def test_for_one_picture_takes_the_others(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        refuse(monkeypatch, "/1.png", errno.ENOSPC)
        async with gateway("whole", "picture", "gone") as running, client_for(running) as client:
            async with ImageEditor(client).edit_many(jobs(3, n=3), out=out, concurrency=1) as outcomes:
                [found] = await until(outcomes, SaveError, match="No space left")
            assert running.edits == 1
        assert found.files == (out / "1.1.png",)
        assert "in memory as long as" in str(found.error)
        assert isinstance(found.error, SaveError)
        assert isinstance(found.error.__cause__, OSError)

    async def test_for_what_is_raw_loses_no_picture(self, out: Path) -> None:
        (out / ".asyncsdk").mkdir(parents=True)
        (out / ".asyncsdk" / "raw").write_text("not a directory")
        async with (
            gateway("page", "whole") as running,
            client_for(running) as client,
            ImageEditor(client).edit_many(jobs(1, n=2), out=out) as outcomes,
        ):
            [found] = await until(outcomes, SaveError, match="Not a directory")
        assert found.files == (out / "1.1.png",)
        assert f"{out / '.asyncsdk' / 'raw'}: Not a directory" in str(found.error)

    async def test_to_move_an_older_picture_away_keeps_the_new_one_beside_it(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with gateway("picture") as running:
            await run(running, out)
            (out / "1.png").write_bytes(b"the older one")
            refuse(monkeypatch, "-1.png", errno.EACCES)
            [found] = await run(running, out, redo=["1"])
        assert (found.status, found.files) == ("done", (out / "1-2.png",))
        assert (out / "1.png").read_bytes() == b"the older one"


@pytest.mark.parametrize("names", [("page", "whole"), ("whole",)], ids=["what is raw", "an older picture"])
async def test_a_ledger_s_directory_that_is_gone_is_not_made_again(out: Path, names: tuple[str, ...]) -> None:
    """It could not be put back then."""
    async with gateway("picture") as running:
        await run(running, out)
    async with gateway(*names) as running, client_for(running) as client:
        make = running.items

        def take_it_away(number: int, gateway: Gateway) -> list[dict[str, Any]]:
            (out / ".asyncsdk").rename(out / "taken")
            return make(number, gateway)

        running.items = take_it_away
        async with ImageEditor(client).edit_many(jobs(1, n=2), out=out, redo=["1"]) as outcomes:
            with pytest.raises(LedgerError):
                await all_of(outcomes)
    assert not (out / ".asyncsdk").exists()


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Let the disk refuse to give a file a name that ends with this."""
    link, open_file = os.link, os.open

    def check(path: object) -> None:
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number), str(path))

    def linking(source: str, target: str, **more: bool) -> None:
        check(target)
        link(source, target, **more)

    def opening(path: str, *more: int, **named: int) -> int:
        check(path)
        return open_file(path, *more, **named)

    monkeypatch.setattr("os.link", linking)
    monkeypatch.setattr("os.open", opening)


class TestUnusableResponsesInARow:
    @pytest.mark.parametrize("bad", BAD)
    async def test_stop_the_run(self, out: Path, bad: str) -> None:
        async with gateway(bad) as running, client_for(running) as client:
            async with ImageEditor(client).edit_many(jobs(9), out=out, concurrency=1) as outcomes:
                found = await until(outcomes, Exception, match="3 responses in a row")
            assert (len(found), running.edits) == (3, 3)
        assert {each.status for each in found} == {"uncertain"}
        assert len(raw_files(out)) == 3 * len(RAW[bad])

    @pytest.mark.parametrize("bad", BAD)
    async def test_are_named_where_they_are(self, out: Path, bad: str) -> None:
        async with gateway(bad) as running, client_for(running) as client:
            async with ImageEditor(client).edit_many(jobs(9), out=out, concurrency=1) as outcomes:
                with pytest.raises(EditError, match="These edits stay uncertain") as caught:
                    await all_of(outcomes)
            url = running.url(bad)["url"]
        said = str(caught.value)
        assert said.count(url) == 3
        assert "60 minutes" in said
        assert "base URL" not in said
        assert (str(out / ".asyncsdk" / "raw") in said) == bool(raw_files(out))

    async def test_are_counted_from_the_last_good_one(self, out: Path) -> None:
        async with gateway() as running, client_for(running) as client:
            running.items = lambda number, gateway: [gateway.url("page" if number % 3 else "picture")]
            async with ImageEditor(client).edit_many(jobs(8), out=out, concurrency=1) as outcomes:
                await all_of(outcomes)
                assert outcomes.counts == {"uncertain": 6, "done": 2}

    async def test_are_not_those_that_the_disk_did_not_take(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        refuse(monkeypatch, ".png", errno.ENAMETOOLONG)
        async with gateway("picture") as running, client_for(running) as client:
            async with ImageEditor(client).edit_many(jobs(5), out=out, concurrency=1) as outcomes:
                await all_of(outcomes)
            assert running.edits == 5
