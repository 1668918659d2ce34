"""Edits that are paid and can't be saved where they were wanted: what came is on disk, and it is said where."""

from __future__ import annotations

import base64
import errno
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from PIL import Image

from asyncsdk import ChargeUnknownError, files, retry
from asyncsdk.cli import app
from asyncsdk.cli.edits import rescue
from asyncsdk.cli.signals import Stop
from asyncsdk.server import Fault, LocalServer
from asyncsdk.wal.segments import SEGMENT
from tests.cli.support import Ran, Run
from tests.stories.edits import PICTURE

pytestmark = pytest.mark.usefixtures("impatient", "otter")

ONE = ("edit", "otter.png", "--prompt", "x", "--model", "gpt-image-2", "--n", "2", "--out", "out")
MANY = ("edit-many", "otter.png", "--prompt", "x", "--model", "gpt-image-2", "--n", "2", "--out", "out")
WHOLE = {"b64_json": base64.b64encode(PICTURE).decode()}


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk takes no file below `out`."""
    save = files.save

    async def fails_in_out(path: Path, *arguments: Any, **named: Any) -> None:
        if "out" in path.parts and path.suffix in {".png", ".raw"}:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        await save(path, *arguments, **named)

    monkeypatch.setattr(files, "save", fails_in_out)


def url_of(server: LocalServer, path: str = "gone") -> str:
    return f"{server.url.removesuffix('/v1')}/{path}?sig=signature"


def answer(server: LocalServer, *items: dict[str, Any]) -> None:
    server.inject(Fault("edit", "answer", status=200, body={"created": 1, "data": list(items)}, every=1))


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that contains no picture at all."""

    async def send(*_: object, **__: object) -> None:
        error = ChargeUnknownError("the response can't be read: it may have been paid.")
        error.raw = (b"<html>",)
        raise error

    monkeypatch.setattr("asyncsdk.images.editor.send", send)
    monkeypatch.setattr("asyncsdk.images.bulk.worker.send", send)


def interrupted(server: LocalServer, stop: Stop, command: Sequence[str], *, signals: int) -> tuple[int, str]:
    """Run `command`, and send it signals while it fetches one of two pictures; its exit code, and the picture's URL."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/slow?sig=signature"
        answer(server, {"url": url}, WHOLE)
        ended = threading.Event()

        def interrupt() -> None:
            connection, _ = deaf.accept()
            with connection:
                for _ in range(signals):
                    stop.arrive(signal.SIGINT)
                    time.sleep(0.1)
                ended.wait(20)

        thread = threading.Thread(target=interrupt)
        thread.start()
        code = app.run(list(command), stop)
        ended.set()
        thread.join()
    return code, url


@pytest.fixture
def jobs(otter: Path) -> None:
    rows = [{"id": f"i{n}", "image": otter.name, "prompt": f"red {n}", "model": "gpt-image-2"} for n in range(30)]
    Path("jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def statuses(ran: Ran) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in ran.records:
        found.setdefault(record["status"], []).append(record["id"])
    return found


def break_at_the_third(monkeypatch: pytest.MonkeyPatch, deed: Any) -> None:
    save, calls = files.save, 0

    async def saving(path: Path, *arguments: Any, **named: Any) -> OSError | None:
        nonlocal calls
        calls += 1
        if calls == 3:
            deed()
        return await save(path, *arguments, **named)

    monkeypatch.setattr(files, "save", saving)


class TestOne:
    @pytest.mark.parametrize("is_first", [True, False])
    def test_a_picture_beside_a_lost_one_is_saved_and_told(
        self, run: Run, server: LocalServer, elsewhere: Path, *, is_first: bool
    ) -> None:
        lost = {"url": url_of(server)}
        answer(server, *((WHOLE, lost) if is_first else (lost, WHOLE)))
        kept = "out/otter.png" if is_first else "out/otter.1.png"
        ran = run(*ONE, "--json")
        [record] = ran.records
        assert (ran.code, record["status"], record["files"]) == (3, "uncertain", [kept])
        assert (record["error"]["type"], record["error"]["urls"]) == ("SaveError", [url_of(server)])
        assert Path(kept).read_bytes() == PICTURE
        assert f"\n  {url_of(server)}\n" in ran.err
        assert list(elsewhere.iterdir()) == []

    def test_files_are_on_standard_output_and_the_error_is_not(self, run: Run, server: LocalServer) -> None:
        answer(server, WHOLE, {"url": url_of(server)})
        ran = run(*ONE)
        assert (ran.code, ran.out) == (3, "out/otter.png\n")
        assert ran.err.startswith("error: the edit is done and paid, but only 1 of its 2 pictures could be saved")

    def test_where_nothing_can_be_fetched_it_is_said_with_every_url(self, run: Run, server: LocalServer) -> None:
        answer(server, {"url": url_of(server)}, {"url": url_of(server, "")})
        ran = run(*ONE, "--json")
        [record] = ran.records
        assert (ran.code, record["status"], record["files"]) == (3, "uncertain", [])
        assert record["error"]["urls"] == [url_of(server), url_of(server, "")]
        [raw] = record["error"]["raw_files"]
        assert (Path(raw).parent, b"<html" in Path(raw).read_bytes()) == (Path("out/.asyncsdk/raw"), True)
        assert run(*ONE).out == ""

    @pytest.mark.usefixtures("full")
    def test_what_a_full_disk_does_not_take_is_saved_elsewhere_and_the_lost_one_told(
        self, run: Run, server: LocalServer, elsewhere: Path
    ) -> None:
        answer(server, WHOLE, {"url": url_of(server)})
        ran = run(*ONE, "--json")
        [record] = ran.records
        [file] = elsewhere.rglob("*.png")
        assert (ran.code, record["status"], record["files"]) == (3, "uncertain", [str(file)])
        assert file.read_bytes() == PICTURE
        assert record["error"]["urls"] == [url_of(server)]
        assert f"Saved elsewhere: {file}" in ran.err

    @pytest.mark.usefixtures("full")
    def test_where_no_disk_takes_it_it_is_exit_3(
        self, run: Run, server: LocalServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(**_: object) -> str:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("asyncsdk.cli.edits.rescue.mkdtemp", refuse)
        answer(server, WHOLE)
        ran = run(*ONE, "--json")
        assert (ran.code, ran.records[0]["status"], ran.records[0]["files"]) == (3, "uncertain", [])
        assert "No space left on device" in ran.err

    @pytest.mark.usefixtures("unreadable")
    def test_a_response_that_is_no_picture_is_kept_beside_where_it_was_wanted(self, run: Run) -> None:
        ran = run(*ONE, "--json")
        raw = Path("out/.asyncsdk/raw/otter-1.raw")
        assert (ran.code, ran.records[0]["error"]["raw_files"]) == (3, [str(raw)])
        assert raw.read_bytes() == b"<html>"
        assert str(raw) in ran.err

    @pytest.mark.usefixtures("unreadable", "full")
    def test_a_response_that_is_no_picture_is_kept_elsewhere_if_need_be(self, run: Run, elsewhere: Path) -> None:
        ran = run(*ONE, "--json")
        [raw] = elsewhere.rglob("*.raw")
        assert (ran.code, ran.records[0]["error"]["raw_files"]) == (3, [str(raw)])
        assert str(raw) in ran.err

    def test_a_signal_while_a_picture_is_fetched_says_where_it_is(
        self, server: LocalServer, capfd: pytest.CaptureFixture[str], stop: Stop
    ) -> None:
        code, url = interrupted(server, stop, ONE, signals=1)
        assert code == 130
        assert f"\n  {url}\n" in capfd.readouterr().err
        assert Path("out/otter.1.png").read_bytes() == PICTURE


class TestMany:
    def test_a_picture_beside_a_lost_one_is_saved_and_told_everywhere(
        self, run: Run, server: LocalServer, elsewhere: Path
    ) -> None:
        answer(server, WHOLE, {"url": url_of(server)})
        ran = run(*MANY, "--json", "--gallery", "gallery.html")
        [record] = ran.records
        assert (ran.code, record["status"], record["files"]) == (3, "uncertain", ["out/otter.png"])
        assert record["error"]["urls"] == [url_of(server)]
        assert f"\n  {url_of(server)}\n" in ran.err
        assert "otter: paid but not saved: the edit is done and paid, but only 1 of its 2 pictures" in ran.err
        assert "1 paid but not saved. Details: out/failed.jsonl" in ran.err
        left = json.loads(Path("out/failed.jsonl").read_text())
        assert left["error"] == record["error"]
        page = Path("gallery.html").read_text()
        assert 'src="out/otter.png"' in page
        assert "only 1 of its 2 pictures" in page
        assert list(elsewhere.iterdir()) == []

    def test_the_next_run_sends_nothing_and_tells_the_same(self, run: Run, server: LocalServer) -> None:
        answer(server, WHOLE, {"url": url_of(server)})
        first, sent = run(*MANY, "--json"), server.calls["edit"]
        again = run(*MANY, "--json", "--gallery", "gallery.html")
        assert (again.code, server.calls["edit"]) == (3, sent)
        assert {**again.records[0], "usage": None} == {**first.records[0], "usage": None, "earlier": True}
        assert 'src="out/otter.png"' in Path("gallery.html").read_text()
        server.clear_faults()
        retried = run(*MANY, "--json", "--only", "uncertain", "--on-uncertain", "retry")
        assert (retried.code, retried.records[0]["files"]) == (0, ["out/otter.png", "out/otter.1.png"])
        assert not Path("out/failed.jsonl").exists()

    @pytest.mark.usefixtures("full")
    def test_what_a_full_disk_does_not_take_is_saved_elsewhere_and_the_lost_one_told(
        self, run: Run, server: LocalServer, elsewhere: Path
    ) -> None:
        answer(server, {"url": url_of(server)}, WHOLE, {"url": url_of(server, "")})
        ran = run(*MANY, "--json")
        [record] = ran.records
        [file], [raw] = elsewhere.rglob("*.png"), elsewhere.rglob("*.raw")
        assert (ran.code, record["files"], file.read_bytes()) == (3, [str(file)], PICTURE)
        assert record["error"]["urls"] == [url_of(server), url_of(server, "")]
        assert record["error"]["raw_files"] == [str(raw)]
        assert f"otter: its pictures are saved elsewhere: {file}, {raw}" in ran.err
        assert str(file) in json.loads(Path("out/failed.jsonl").read_text())["error"]["message"]

    @pytest.mark.usefixtures("full")
    def test_what_is_left_by_a_signal_is_saved_elsewhere_too_and_nothing_is_fetched_any_more(
        self, server: LocalServer, capfd: pytest.CaptureFixture[str], stop: Stop, elsewhere: Path
    ) -> None:
        began = time.monotonic()
        code, url = interrupted(server, stop, (*MANY, "--json"), signals=2)
        assert time.monotonic() - began < 10
        [file] = elsewhere.rglob("*.png")
        [record] = map(json.loads, capfd.readouterr().out.splitlines())
        assert (code, record["files"], file.read_bytes()) == (130, [str(file)], PICTURE)
        assert record["error"]["urls"] == [url]
        assert json.loads(Path("out/failed.jsonl").read_text())["error"] == record["error"]

    @pytest.mark.usefixtures("unreadable", "full")
    def test_a_response_that_is_no_picture_is_kept_elsewhere_if_need_be(self, run: Run, elsewhere: Path) -> None:
        ran = run(*MANY, "--json")
        [raw] = elsewhere.rglob("*.raw")
        assert (ran.code, ran.records[0]["error"]["raw_files"]) == (3, [str(raw)])

    def test_three_unusable_responses_in_a_row_stop_it_and_say_what_to_look_at(
        self, run: Run, server: LocalServer
    ) -> None:
        Path("jobs.jsonl").write_text("".join(f'{{"image": "otter.png", "prompt": "p{n}"}}\n' for n in range(9)))
        answer(server, {"url": url_of(server, "")})
        ran = run("edit-many", "jobs.jsonl", "--out", "out", "--concurrency", "1", "--json")
        assert (ran.code, server.calls["edit"], len(ran.records)) == (1, 3, 3)
        assert "6 not sent: see the error below." in ran.err
        assert "error: 3 responses in a row may have been paid and had no usable picture" in ran.err
        assert "out/.asyncsdk/raw: look at it" in ran.err


class TestADirectoryThatIsGoneOrFull:
    @pytest.mark.usefixtures("jobs", "elsewhere")
    def test_a_directory_that_is_renamed_is_not_made_again_and_all_that_is_paid_is_named(
        self, run: Run, server: LocalServer, tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        break_at_the_third(monkeypatch, lambda: (tmp_path / "out").rename(tmp_path / "moved"))
        ran = run(
            "edit-many", "jobs.jsonl", "--out", "out", "--json", "--concurrency", "2", "--gallery", "out/page.html"
        )
        assert ran.code == 1  # the same command by itself would pay again
        assert "Put the directory back where it was: the same command goes on and pays nothing twice" in ran.err
        assert "put the ledger back (see below) first." in ran.err
        assert "paid again): " not in ran.err
        assert not (tmp_path / "out").exists()
        found = statuses(ran)
        assert server.edits.edits == len(found["done"]) + len(found["uncertain"]) <= 6
        for name in found["uncertain"]:
            [path] = elsewhere.rglob(f"{name}.png")
            assert f"{name}: its pictures are saved elsewhere: {path}" in ran.err
            with Image.open(path) as picture:
                picture.load()
        [left] = elsewhere.rglob("failed.jsonl")
        assert {json.loads(line)["id"] for line in left.read_text().splitlines()} == set(found["uncertain"])
        assert str(left) in ran.err
        monkeypatch.undo()
        (tmp_path / "moved").rename(tmp_path / "out")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        again = run("edit-many", "jobs.jsonl", "--out", "out", "--json")
        assert again.code == 3
        assert server.edits.edits == 30

    @pytest.mark.usefixtures("jobs", "elsewhere")
    def test_a_ledger_that_is_removed_is_said_to_be_the_memory_of_what_was_paid(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        break_at_the_third(monkeypatch, lambda: shutil.rmtree(tmp_path / "out" / ".asyncsdk"))
        ran = run("edit-many", "jobs.jsonl", "--out", "out", "--json", "--concurrency", "1")
        assert ran.code == 1
        assert "it was removed" in ran.err
        assert "Without it nothing is remembered, and the same command would pay again for all" in ran.err

    @pytest.mark.usefixtures("jobs", "elsewhere")
    def test_what_could_not_be_rescued_is_tried_once_more_when_all_else_has_ended(
        self, run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retry, "FULL_SECONDS", 0.0)
        save, refused = files.save, [0]

        async def full(path: Path, *arguments: Any, **named: Any) -> OSError | None:
            if path.suffix == ".png":
                refused[0] += 1
                if path.parent.name == "out" or refused[0] < 3:
                    raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return await save(path, *arguments, **named)

        monkeypatch.setattr(files, "save", full)
        ran = run("edit-many", "jobs.jsonl", "--out", "out", "--json", "--concurrency", "1")
        assert ran.code == 3
        [name] = statuses(ran)["uncertain"]
        assert refused == [3]  # in its directory, elsewhere, and at the end
        [path] = elsewhere.rglob(f"{name}.png")
        assert f"{name}: its pictures are saved elsewhere: {path}" in ran.err
        assert "could not be wholly saved elsewhere" not in ran.err

    @pytest.mark.usefixtures("jobs", "elsewhere")
    def test_a_temporary_directory_that_can_not_be_made_for_a_moment_is_made_then(
        self, run: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save, tries = files.save, [0]

        async def full(path: Path, *arguments: Any, **named: Any) -> OSError | None:
            if path.parent.name == "out" and path.suffix == ".png":
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return await save(path, *arguments, **named)

        def make_late(prefix: str) -> str:
            tries[0] += 1
            if tries[0] < 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return mkdtemp(prefix=prefix)

        monkeypatch.setattr(files, "save", full)
        monkeypatch.setattr(rescue, "mkdtemp", make_late)
        ran = run("edit-many", "jobs.jsonl", "--out", "out", "--json", "--concurrency", "1")
        assert ran.code == 3
        assert len(list(elsewhere.rglob("i*.png"))) == 1


class TestTheNextRunAfterAFullDisk:
    """What a full disk did not take is saved elsewhere, which the ledger does not know: `failed.jsonl` does."""

    @pytest.fixture(autouse=True)
    def first(self, request: pytest.FixtureRequest, run: Run, server: LocalServer, elsewhere: Path) -> None:
        monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        for name in ("impatient", "otter"):
            request.getfixturevalue(name)
        monkeypatch.setattr(retry, "FULL_SECONDS", 0.0)
        with monkeypatch.context() as patch:
            save = files.save

            async def fails(path: Path, *arguments: Any, **named: Any) -> OSError | None:
                if "out" in path.parts and path.suffix == ".png":
                    raise OSError(errno.ENOSPC, "No space left on device", str(path))
                return await save(path, *arguments, **named)

            patch.setattr(files, "save", fails)
            ran = run(*MANY)
        self.places = sorted(map(str, elsewhere.rglob("*.png")), key=len)
        assert (ran.code, server.edits.edits, len(self.places)) == (3, 1, 2)
        assert "1 paid and saved elsewhere. Details: out/failed.jsonl" in ran.err
        assert "--on-uncertain retry" not in ran.err

    @pytest.mark.parametrize("is_cut_off", [True, False])
    def test_it_says_where_they_are_keeps_that_and_does_not_tell_to_pay_again(
        self, run: Run, server: LocalServer, *, is_cut_off: bool
    ) -> None:
        if is_cut_off:  # the disk did not take the end of the edit either
            [segment] = Path("out/.asyncsdk/ledger").glob(f"*{SEGMENT}")
            lines = segment.read_bytes().splitlines(keepends=True)
            assert b'"uncertain"' in lines[-1]
            segment.write_bytes(b"".join(lines[:-1]))
        for _ in range(3):
            again = run(*MANY)
            assert (again.code, server.edits.edits) == (3, 1)
            where = ", ".join(self.places)
            assert f"otter: paid and saved elsewhere: paid before; its pictures are in {where}." in again.err
            assert "1 paid and saved elsewhere. Details: out/failed.jsonl" in again.err
            assert "uncertain" not in again.err
            assert "--on-uncertain retry" not in again.err
            line = json.loads(Path("out/failed.jsonl").read_text())
            assert (line["files"], line["status"], line["error"]["code"]) == (
                self.places,
                "uncertain",
                "saved_elsewhere",
            )

    def test_failed_jsonl_as_a_source_knows_them_too(self, run: Run, server: LocalServer) -> None:
        Path("out/failed.jsonl").rename("saved.jsonl")  # as it is where the disk did not take it either
        again = run("edit-many", "saved.jsonl", "--out", "out")
        assert (again.code, server.edits.edits) == (3, 1)
        assert f"paid before; its pictures are in {', '.join(self.places)}." in again.err
        assert json.loads(Path("out/failed.jsonl").read_text())["files"] == self.places

    def test_where_some_are_not_there_any_more_it_says_so(self, run: Run, server: LocalServer) -> None:
        Path(self.places[0]).unlink()
        again = run(*MANY)
        assert (again.code, server.edits.edits) == (3, 1)
        assert "and 1 of 2 are not there any more" in again.err

    def test_where_the_user_asks_for_it_the_edit_is_sent_again(self, run: Run, server: LocalServer) -> None:
        again = run(*MANY, "--only", "uncertain", "--on-uncertain", "retry")
        assert (again.code, server.edits.edits) == (0, 2)
        assert not Path("out/failed.jsonl").exists()
