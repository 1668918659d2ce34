"""The local clock steps at any point of a story of ten calls: nothing that the server still holds is sent again."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from pathlib import Path

import pytest
from attrs import define, field

from asyncsdk import AsyncSDKError, AsyncUploader, Client, CompletionUnknownError, UploadResult
from asyncsdk.server import Fault, LocalServer, app
from asyncsdk.timing import Timing
from asyncsdk.uploads.chunking import BLOCK

PARTS = 3
BRIEF_SEARCH = Timing(file_search=0.05, file_search_interval=0.01)
DAY = 86_400.0
CALLS = 10
SECONDS = [1.0, 7200.0, DAY, 365 * DAY, -1.0, -7200.0, -DAY, -365 * DAY]
STEPS = list(itertools.product([None, 2], range(CALLS), SECONDS))
_time = time.time


@define(eq=False)
class Story:
    """Calls as separate programs make them; `wrong` is by how many seconds the local clock is off."""

    server: LocalServer
    folder: Path
    wrong: float = 0.0
    made: dict[str, str] = field(factory=dict)

    def wall(self) -> float:
        return _time() + self.wrong

    def write(self, name: str, seed: int) -> None:
        (self.folder / name).write_bytes(random.Random(seed).randbytes(PARTS * BLOCK))

    async def upload(self, name: str, **options: object) -> UploadResult:
        async with Client("sk-test", base_url=self.server.url, timing=BRIEF_SEARCH) as client:
            uploader = AsyncUploader(
                client, journal=self.folder / "journal", part_size=BLOCK, concurrency=1, max_retries=0
            )
            path = self.folder / name
            result = await uploader.upload(path, purpose="batch", **options)  # type: ignore[arg-type]  # passed through
            assert self.server.stored(result.file.id).read_bytes() == path.read_bytes()
            return result

    async def sent(self, name: str, *, resumed: int = 0, **options: object) -> None:
        """The call sends what is not there and gives a File that no call gave before."""
        parts = self.server.calls.get("part", 0)
        result = await self.upload(name, **options)
        assert result.file.id not in self.made.values()
        assert not result.reused
        assert (result.bytes_resumed, self.server.calls.get("part", 0) - parts) == (resumed * BLOCK, PARTS - resumed)
        self.made[name] = result.file.id

    async def reused(self, name: str) -> None:
        """The call sends nothing and gives the File of before."""
        calls = (self.server.calls["create"], self.server.calls["part"])
        result = await self.upload(name)
        assert (result.file.id, result.reused) == (self.made[name], True)
        assert (self.server.calls["create"], self.server.calls["part"]) == calls

    async def stopped(self, name: str, after: int) -> None:
        """The call is refused once it has sent so many parts."""
        self.server.inject(Fault("part", "reset", "before", nth=after + 1, every=1))
        with pytest.raises(AsyncSDKError):
            await self.upload(name)
        self.server.clear_faults()

    async def lost(self, name: str) -> None:
        """The call's complete is done, and its answer lost."""
        self.server.inject(Fault("complete", "reset", "done", every=1))
        with pytest.raises(CompletionUnknownError):
            await self.upload(name)
        self.server.clear_faults()

    async def resolved(self, name: str) -> None:
        """The call finds the File of the complete whose answer was lost."""
        parts, files = self.server.calls["part"], len(self.server.files)
        self.made[name] = (await self.upload(name)).file.id
        assert (self.server.calls["part"], len(self.server.files)) == (parts, files)

    def calls(self) -> list[Callable[[], Awaitable[None]]]:
        async def changed_and_stopped() -> None:
            self.write("a", 2)
            await self.stopped("a", after=2)

        async def changed_and_lost() -> None:
            self.write("a", 3)
            await self.lost("a")

        return [
            lambda: self.sent("a"),
            lambda: self.reused("a"),
            lambda: self.sent("a", if_uploaded="again"),
            lambda: self.sent("b"),
            changed_and_stopped,
            lambda: self.sent("a", resumed=2),
            lambda: self.reused("a"),
            changed_and_lost,
            lambda: self.resolved("a"),
            lambda: self.reused("b"),
        ]


@pytest.fixture
async def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Story]:
    async with LocalServer(tmp_path / "server", clock=_time) as server:
        story = Story(server, tmp_path)
        story.write("a", 1)
        story.write("b", 9)
        monkeypatch.setattr(time, "time", story.wall)
        yield story


@pytest.mark.parametrize(
    ("back_after", "at", "seconds"), STEPS if "ASYNCSDK_TEST_ALL_STEPS" in os.environ else STEPS[::7]
)
async def test_nothing_is_sent_twice_or_taken_for_expired(
    story: Story, back_after: int | None, at: int, seconds: float
) -> None:
    for number, call in enumerate(story.calls()):
        if number == at:
            story.wrong = seconds
        if back_after is not None and number == at + back_after:
            story.wrong = 0.0
        await call()
    assert len(story.server.files) == 5


@pytest.mark.parametrize("ahead", [7200.0, -7200.0, 365 * DAY])
async def test_a_date_header_that_is_wrong_ends_nothing(
    story: Story, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """A proxy writes its own time into the header; the objects have the server's."""
    monkeypatch.setattr(app, "formatdate", lambda now, **options: formatdate(now + ahead, **options))
    await story.sent("a")
    await story.stopped("b", after=2)
    await story.sent("b", resumed=2)
    await story.reused("a")
