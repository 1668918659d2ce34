"""The source changes while it goes up: its bytes at one moment arrive, or nothing does; never a mixture."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define, field

from asyncsdk import Progress, SourceChangedError
from asyncsdk.timing import Timing
from asyncsdk.uploads.checksum import ContentHash
from asyncsdk.uploads.sources.source import Source
from tests.faults.scene import PART, SIZE, Scene

Change = Callable[[Path], None]


def one_byte_at(offset: int) -> Change:
    def change(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))

    return change


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(bytes(path.stat().st_size))
    other.rename(path)


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


@define(eq=False)
class Moment:
    """Changes the source when its first part is there and half of the second read, before or after it is hashed."""

    scene: Scene
    change: Change
    hashed_first: bool
    happened: bool = field(default=False, init=False)
    hashed: threading.Event = field(factory=threading.Event, init=False)
    may_hash: threading.Event = field(factory=threading.Event, init=False)

    def hold_hashing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the pass begin when it may, and know when it is through."""
        read_on = ContentHash._read_on  # noqa: SLF001 - what a thread does; nothing else waits with it

        def wait(digest: ContentHash, source: Source, stop: threading.Event, batch: list[int]) -> None:
            assert self.hashed_first or self.may_hash.wait(10)
            read_on(digest, source, stop, batch)
            self.hashed.set()

        monkeypatch.setattr(ContentHash, "_read_on", wait)

    def seen(self, now: Progress) -> None:
        """The second part's first block is read and partly sent, its second block is not."""
        if not self.happened and now.bytes_done == PART and 0 < now.bytes_in_flight < PART // 2:
            self.happened = True
            assert not self.hashed_first or self.hashed.wait(10)
            self.change(self.scene.path)
            self.may_hash.set()


SENT, ON_ITS_WAY, READ_LATER, TO_COME = 100, PART + 100, 2 * PART - 100, 2 * PART + 100
STOPS, OLD, NEW = "SourceChangedError", "the bytes before", "the bytes after"


@pytest.mark.parametrize(
    ("change", "hashed_first", "outcome"),
    [
        pytest.param(one_byte_at(SENT), True, OLD, id="a byte of a sent part, after hashing"),
        pytest.param(one_byte_at(SENT), False, STOPS, id="a byte of a sent part, before hashing"),
        pytest.param(one_byte_at(ON_ITS_WAY), True, OLD, id="a byte on its way, after hashing"),
        pytest.param(one_byte_at(ON_ITS_WAY), False, STOPS, id="a byte on its way, before hashing"),
        pytest.param(
            one_byte_at(READ_LATER), True, STOPS, id="a byte of the same part still to be read, after hashing"
        ),
        pytest.param(
            one_byte_at(READ_LATER), False, NEW, id="a byte of the same part still to be read, before hashing"
        ),
        pytest.param(one_byte_at(TO_COME), True, STOPS, id="a byte of a part to come, after hashing"),
        pytest.param(one_byte_at(TO_COME), False, NEW, id="a byte of a part to come, before hashing"),
        pytest.param(append, True, STOPS, id="appended"),
        pytest.param(append, False, STOPS, id="appended, before hashing"),
        pytest.param(truncate, True, STOPS, id="truncated"),
        pytest.param(truncate, False, STOPS, id="truncated, before hashing"),
        pytest.param(replace, True, OLD, id="replaced by a rename"),
        pytest.param(replace, False, OLD, id="replaced by a rename, before hashing"),
        pytest.param(Path.unlink, True, OLD, id="deleted"),
        pytest.param(Path.unlink, False, OLD, id="deleted, before hashing"),
        pytest.param(touch, True, OLD, id="touched"),
        pytest.param(touch, False, OLD, id="touched, before hashing"),
    ],
)
async def test_a_source_that_changes_while_it_goes_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, *, change: Change, hashed_first: bool, outcome: str
) -> None:
    moment = Moment(scene, change, hashed_first)
    moment.hold_hashing(monkeypatch)
    await assert_outcome(scene, moment, outcome)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        pytest.param(one_byte_at(SENT), STOPS, id="a byte of a sent part"),
        pytest.param(one_byte_at(ON_ITS_WAY), STOPS, id="a byte on its way"),
        pytest.param(one_byte_at(READ_LATER), NEW, id="a byte of the same part still to be read"),
        pytest.param(one_byte_at(TO_COME), NEW, id="a byte of a part to come"),
        pytest.param(append, STOPS, id="appended"),
        pytest.param(truncate, STOPS, id="truncated"),
        pytest.param(replace, OLD, id="replaced by a rename"),
        pytest.param(Path.unlink, OLD, id="deleted"),
        pytest.param(touch, OLD, id="touched"),
    ],
)
async def test_a_source_that_is_read_only_once_and_changes_meanwhile(
    scene: Scene, *, change: Change, outcome: str
) -> None:
    os.utime(scene.path, (10**9, 10**9))
    scene.uploader_options["md5"] = None
    moment = Moment(scene, change, hashed_first=False)
    await assert_outcome(scene, moment, outcome)


async def assert_outcome(scene: Scene, moment: Moment, outcome: str) -> None:
    before = scene.path.read_bytes()
    scene.timing = Timing(report_interval=0.0)
    scene.uploader_options |= {"concurrency": 1, "limit_rate": 8 * PART}
    if outcome == STOPS:
        with pytest.raises(SourceChangedError, match="No file was made") as changed:
            await scene.upload(on_progress=moment.seen)
        assert changed.value.resumable
        assert scene.files == []
    else:
        result = await scene.upload(on_progress=moment.seen)
        wanted = before if outcome == OLD else scene.path.read_bytes()
        assert scene.server.stored(result.file.id).read_bytes() == wanted
    assert moment.happened
    if scene.path.exists():
        await assert_next_run_brings_what_it_holds_now(scene, completed=outcome != STOPS)


async def assert_next_run_brings_what_it_holds_now(scene: Scene, *, completed: bool) -> None:
    scene.uploader_options = {}
    again = await scene.upload()
    assert scene.server.stored(again.file.id).read_bytes() == scene.path.read_bytes()
    assert len(scene.files) == (2 if completed and not again.reused else 1)
    if not completed and again.file.bytes == SIZE:
        assert len(scene.uploads) == 1
