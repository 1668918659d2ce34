"""What fails after the answer to an edit: few descriptors, no memory, a full disk, a directory that is gone."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from asyncsdk import Client, EditOutcome, ImageEditor, LedgerError, RequestEvent, SaveError
from asyncsdk.errors import AsyncSDKError, EditError
from asyncsdk.server import Fault, LocalServer
from tests.stories.edits import jobs, until

PAID = 150
THREADS = {"asyncsdk-saving", "asyncsdk-ledger"}
CONCURRENCY = 4
LEAST = 5  # failures, however slow the machine is: so often one edit tries while a disk is full for two seconds


@define(eq=False)
class Failing:
    """Lets calls to the disk fail once it is `armed`: all for some seconds, `LEAST` of them, then every so many."""

    code: int
    seconds: float = 0.0
    every: int = 0
    armed: bool = False
    calls: int = 0
    failures: int = 0
    _until: float = field(default=0.0, init=False)

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread().name in THREADS and self._fails():
                self.failures += 1
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **options)

        return call

    def _fails(self) -> bool:
        if not self.armed:
            return False
        self.calls += 1
        self._until = self._until or time.monotonic() + self.seconds
        is_begun = time.monotonic() < self._until or self.failures < LEAST
        return is_begun or bool(self.every and self.calls % self.every == 0)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server") as running:
        yield running


@pytest.mark.parametrize(
    ("failing", "calls"),
    [
        (Failing(errno.EMFILE, 0.5, 31), ["open"]),
        (Failing(errno.ENFILE, 0.5, 31), ["open"]),
        (Failing(errno.EAGAIN, 0.5, 31), ["open", "write"]),
        (Failing(errno.ENOMEM, 0.5, 31), ["open", "write"]),
        (Failing(errno.EINTR, 0.5, 31), ["open", "write", "fdatasync"]),
        (Failing(errno.ENOSPC, 2.0), ["open", "write", "fdatasync", "link"]),
        (Failing(errno.EDQUOT, 2.0), ["open", "write", "fdatasync", "link"]),
        (Failing(errno.EINVAL, 999.0), ["fsync"]),  # as file systems say that sync no directories
    ],
    ids=lambda value: errno.errorcode[value.code] if isinstance(value, Failing) else "-".join(value),
)
async def test_what_passes_is_waited_for_and_all_that_is_paid_is_kept(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: Failing, calls: list[str]
) -> None:
    for name in calls:
        monkeypatch.setattr(os, name, failing.wrap(getattr(os, name)))

    def begin(_: RequestEvent) -> None:  # with the first answer: until then nothing is paid
        failing.armed = True

    async with (
        Client("sk-test", base_url=server.url, on_event=begin) as client,
        ImageEditor(client).edit_many(jobs(PAID), out=tmp_path / "out", concurrency=16) as outcomes,
    ):
        found = [outcome async for outcome in outcomes]
    assert Counter(outcome.status for outcome in found) == {"done": PAID}
    assert all(path.stat().st_size for outcome in found for path in outcome.files)
    assert server.edits.edits == PAID
    assert failing.failures >= LEAST  # or nothing was tried


Deed = Callable[[Path], object]


def rename(out: Path) -> None:
    out.rename(out.with_name("moved"))


def remove(out: Path) -> None:
    out.rename(out.with_name("trash"))  # at once, whatever is written there meanwhile
    shutil.rmtree(out.with_name("trash"), ignore_errors=True)


def remove_the_ledger(out: Path) -> None:
    (out / ".asyncsdk").rename(out.with_name("trash"))
    shutil.rmtree(out.with_name("trash"), ignore_errors=True)


def unlink_the_segment(out: Path) -> None:
    for path in (out / ".asyncsdk" / "ledger").iterdir():
        path.unlink()


def replace_by_a_link(out: Path) -> None:
    rename(out)
    out.with_name("elsewhere").mkdir()
    out.symlink_to(out.with_name("elsewhere"))


def replace_by_another(out: Path) -> None:
    rename(out)
    out.mkdir()


def replace_the_drafts_by_a_link(out: Path) -> None:
    (out / ".asyncsdk" / "drafts").rename(out.with_name("trash"))
    out.with_name("elsewhere").mkdir()
    (out / ".asyncsdk" / "drafts").symlink_to(out.with_name("elsewhere"))


def put_back(out: Path) -> None:
    """As it was, where it is anywhere."""
    if out.with_name("moved").exists():
        if out.is_symlink():
            out.unlink()
        elif out.exists():
            out.rmdir()
        out.with_name("moved").rename(out)
    if (out / ".asyncsdk" / "drafts").is_symlink():
        (out / ".asyncsdk" / "drafts").unlink()


@define(eq=False)
class MidRun:
    """Does something to `out` once some edits have been answered, and counts those paid until then."""

    deed: Deed
    out: Path
    server: LocalServer
    paid: int | None = None

    def note(self, event: RequestEvent) -> None:
        if self.paid is None and event.status == 200 and self.server.edits.edits >= 10:
            self.deed(self.out)
            self.paid = self.server.edits.edits

    async def run(self, **options: Any) -> tuple[list[EditOutcome], AsyncSDKError | None]:
        found: list[EditOutcome] = []
        async with Client("sk-test", base_url=self.server.url, on_event=self.note) as client:
            editor = ImageEditor(client)
            async with editor.edit_many(jobs(60), out=self.out, concurrency=CONCURRENCY, **options) as outcomes:
                try:
                    async for outcome in outcomes:
                        found.append(outcome)  # noqa: PERF401 - a comprehension would lose what came before the error
                except AsyncSDKError as error:
                    return found, error
        return found, None


DEEDS: dict[Deed, type[AsyncSDKError]] = {
    rename: LedgerError,
    remove: LedgerError,
    remove_the_ledger: LedgerError,
    unlink_the_segment: LedgerError,
    replace_by_a_link: LedgerError,
    replace_by_another: LedgerError,
    replace_the_drafts_by_a_link: SaveError,
}
GONE = {remove, remove_the_ledger, unlink_the_segment}  # and with it the memory of what was paid


@pytest.mark.parametrize("deed", DEEDS, ids=[deed.__name__ for deed in DEEDS])
async def test_once_the_directory_is_not_what_it_was_no_more_is_paid(
    server: LocalServer, tmp_path: Path, deed: Deed
) -> None:
    story = MidRun(deed, tmp_path / "out", server)
    found, reason = await story.run()
    assert story.paid is not None
    assert server.edits.edits <= story.paid + CONCURRENCY + 1
    assert isinstance(reason, DEEDS[deed])
    moved = tmp_path / "moved" if (tmp_path / "moved").exists() else tmp_path / "out"
    for outcome in found:
        is_on_disk = bool(outcome.files) and all((moved / path.name).exists() for path in outcome.files)
        is_in_memory = isinstance(outcome.error, SaveError) and outcome.result is not None
        assert is_on_disk or is_in_memory or deed is remove
    assert len(found) == server.edits.edits  # what is paid is told
    if isinstance(reason, LedgerError):
        assert "Put the directory back" in str(reason)
        assert not reason.resumable
    assert not (tmp_path / "elsewhere").exists() or not list((tmp_path / "elsewhere").iterdir())
    if deed in GONE:
        return
    put_back(tmp_path / "out")
    again, reason = await story.run()
    assert reason is None
    assert Counter(outcome.status for outcome in again).keys() <= {"done", "skipped", "uncertain"}
    assert max(server.edits.by_prompt.values()) == 1


async def test_a_ledger_elsewhere_notices_that_the_pictures_directory_is_another(
    server: LocalServer, tmp_path: Path
) -> None:
    story = MidRun(rename, tmp_path / "out", server)
    _, reason = await story.run(ledger=tmp_path / "ledger")
    assert story.paid is not None
    assert server.edits.edits <= story.paid + CONCURRENCY + 1
    assert isinstance(reason, LedgerError)
    assert not (tmp_path / "out").exists()
    put_back(tmp_path / "out")
    await story.run(ledger=tmp_path / "ledger")
    assert max(server.edits.by_prompt.values()) == 1


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.ESTALE, errno.EACCES, errno.EPERM])
async def test_a_disk_that_takes_nothing_more_stops_the_run_and_what_is_paid_is_in_memory(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    failing = Failing(code, 999.0, armed=True)

    def break_it(_: Path) -> None:  # as after a remount; the system refuses a real one while a ledger is open there
        for name in ("open", "write", "mkdir", "link", "rename", "replace", "unlink", "fdatasync", "fsync"):
            monkeypatch.setattr(os, name, failing.wrap(getattr(os, name)))

    story = MidRun(break_it, tmp_path / "out", server)
    found, reason = await story.run()
    monkeypatch.undo()
    assert story.paid is not None
    assert server.edits.edits <= story.paid + CONCURRENCY + 1
    assert isinstance(reason, LedgerError | SaveError)
    assert len(found) == server.edits.edits
    assert all(outcome.result is not None for outcome in found)
    assert {outcome.status for outcome in found} <= {"done", "uncertain"}
    again, reason = await story.run()
    assert reason is None
    assert len(again) == 60
    assert max(server.edits.by_prompt.values()) == 1


async def test_a_directory_that_can_not_be_synced_stops_the_run_and_what_is_on_disk_is_done(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def break_it(_: Path) -> None:
        failing = Failing(errno.EIO, 999.0, armed=True)
        monkeypatch.setattr(os, "fsync", failing.wrap(os.fsync))

    story = MidRun(break_it, out, server)
    found, reason = await story.run()
    assert isinstance(reason, SaveError)
    assert reason.files
    assert "saved" in str(reason)
    assert {outcome.status for outcome in found} == {"done"}
    assert len(list(out.glob("*.png"))) == len(found) == server.edits.edits
    monkeypatch.undo()
    again, reason = await story.run()
    assert reason is None
    assert Counter(outcome.status for outcome in again)["skipped"] == len(found)
    assert server.edits.edits == 60


@pytest.mark.usefixtures("impatient")
async def test_what_others_hold_is_had_once_they_have_ended(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(errno.EMFILE, 999.0)
    monkeypatch.setattr(os, "open", failing.wrap(os.open))
    server.inject(Fault("edit", "stall", at="after", nth=1, seconds=1.5))  # longer than is waited while others run

    def note(event: RequestEvent) -> None:
        if event.method == "POST":  # not the look at the model, before any edit
            failing.armed = server.edits.edits < 2 or event.seconds < 1  # until the slow one has its answer

    async with (
        Client("sk-test", base_url=server.url, on_event=note) as client,
        ImageEditor(client).edit_many(jobs(9), out=tmp_path / "out", concurrency=2) as outcomes,
    ):
        found = await until(outcomes, EditError, match="Too many open files")
    assert {outcome.status for outcome in found} == {"done"}
    assert len(found) == server.edits.edits == len(list((tmp_path / "out").glob("*.png"))) == 2


async def test_waiting_for_a_disk_keeps_no_run_from_being_left(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(errno.EMFILE, 999.0)
    monkeypatch.setattr(os, "open", failing.wrap(os.open))

    def note(event: RequestEvent) -> None:
        failing.armed = failing.armed or event.method == "POST"

    async with Client("sk-test", base_url=server.url, on_event=note) as client:
        async with ImageEditor(client).edit_many(jobs(9), out=tmp_path / "out", concurrency=2) as outcomes:
            while failing.failures < 4:
                await asyncio.sleep(0.01)
            began = time.monotonic()
        assert time.monotonic() - began < 5
        assert {outcome.status for outcome in outcomes.abandoned} == {"uncertain"}
        for outcome in outcomes.abandoned:
            assert isinstance(outcome.error, SaveError)
            assert outcome.error.in_memory
        monkeypatch.undo()
        async with ImageEditor(client).edit_many(jobs(9), out=tmp_path / "out") as outcomes:
            assert Counter([outcome.status async for outcome in outcomes]) == {"done": 7, "uncertain": 2}
    assert max(server.edits.by_prompt.values()) == 1


async def test_a_picture_whose_name_is_being_synced_when_a_run_is_left_is_named(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Failing(errno.ENOSPC, 999.0, armed=True)
    monkeypatch.setattr("tests.faults.test_edit_disks.THREADS", {"asyncsdk-saving"})
    async with Client("sk-test", base_url=server.url) as client:
        async with ImageEditor(client).edit_many(jobs(1), out=tmp_path / "out") as outcomes:
            monkeypatch.setattr(os, "fsync", failing.wrap(os.fsync))
            taking = asyncio.ensure_future(anext(outcomes))
            while failing.failures < 3:
                await asyncio.sleep(0.01)
            taking.cancel()
        [left] = outcomes.abandoned
    assert left.files == (tmp_path / "out" / "1.png",)
    assert left.files[0].exists()
    assert isinstance(left.error, SaveError)
    assert (left.error.files, left.error.in_memory) == (left.files, False)
    assert "on disk" in str(left.error)
