"""Each lie in the answer to each call, once and for good: the right result or a typed error; never anything else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import define, field

from asyncsdk import AsyncSDKError, AsyncUploader, ChargeUnknownError, Client, ImageEdit, ImageEditor, SaveError, api
from tests.faults.books import Books, Route, picture_of
from tests.faults.lies import LIES, Liar, Lie
from tests.faults.scene import BRIEF_SEARCH
from tests.raw_server import KEY, RawServer, serving
from tests.stories.pictures import png

pytestmark = pytest.mark.usefixtures("waits")

Times = Literal["once", "for good"]
TIMES: tuple[Times, ...] = ("once", "for good")
LIMIT = 30.0  # seconds for a call, on a busy machine
PART = 1 << 19
SIZE = 2 * PART + 777
PROMPT = "an otter"
# without any words on what was asked, nothing tells another's answer from ours
BELIEVED = {(route, "an answer to another call") for route in ("list", "edit", "stream")}
# a part's id that nothing speaks against is believed; complete is refused with it, and the error says how to start over
HELD = {("part", "another id")}

[REFUSED] = (lie for lie in LIES if lie.name == "a refusal that is a bomb")


@define(eq=False)
class Play:
    """One call, made by programs of their own against a server that lies."""

    server: RawServer
    liar: Liar
    folder: Path
    content: bytes = field(factory=lambda: random.Random(SIZE).randbytes(SIZE), repr=False)

    @property
    def books(self) -> Books:
        return self.liar.books

    async def ending(self, call: Callable[[Client], Awaitable[Any]]) -> Any:
        """What the call returns, or the error of ours that it ends in; anything else fails the test."""
        options: dict[str, Any] = {"base_url": self.server.url, "timeout": 5, "timing": BRIEF_SEARCH}
        async with asyncio.timeout(LIMIT), Client(KEY, **options) as client:
            try:
                return await call(client)
            except AsyncSDKError as error:
                ended = error
        assert KEY not in f"{ended!r} {vars(ended)!r}"
        assert len(str(ended)) < 10_000
        return ended

    async def upload(self, client: Client, *, resume: bool = True) -> Any:
        uploader = AsyncUploader(client, journal=self.folder / "journal", part_size=PART, concurrency=2)
        return await uploader.upload(self.content, purpose="batch", filename="a.bin", key="a", resume=resume)

    def ours(self) -> list[str]:
        return [name for name, content in self.books.contents.items() if content == self.content]


@pytest.fixture
async def play(tmp_path: Path) -> AsyncIterator[Play]:
    liar = Liar(Books())
    async with serving(liar.handle) as server:
        yield Play(server, liar, tmp_path)


def cells(*routes: Route) -> pytest.MarkDecorator:
    found = [
        pytest.param(route, lie, times, id=f"{route}-{lie}-{times}")
        for route in routes
        for lie in LIES
        for times in TIMES
        if (route, lie.name) not in BELIEVED and (lie.of_bytes or route != "content")
    ]
    return pytest.mark.parametrize(("route", "lie", "times"), found)


def tell(play: Play, route: Route, lie: Lie, times: Times) -> None:
    play.liar.route, play.liar.lie, play.liar.lies = route, lie, 1 if times == "once" else 10_000


@cells("create", "part", "complete")
async def test_an_upload_ends_in_its_file_or_says_why_not(play: Play, route: Route, lie: Lie, times: Times) -> None:
    tell(play, route, lie, times)
    result = await play.ending(play.upload)
    if isinstance(result, AsyncSDKError):
        assert not lie.harmless, result
    else:
        assert [result.file.id] == play.ours()
    play.liar.lies = 0
    for _ in range(2):  # with the truth again, the same call does what was asked, and only once
        result = await play.ending(play.upload)
        if not isinstance(result, AsyncSDKError):
            break
    if (route, lie.name) in HELD and isinstance(result, AsyncSDKError):
        assert "resume=False" in result.advice
        result = await play.ending(partial(play.upload, resume=False))
    assert not isinstance(result, AsyncSDKError), result
    assert [result.file.id] == play.ours()


@cells("cancel")
async def test_an_upload_is_cancelled_or_it_says_why_not(play: Play, route: Route, lie: Lie, times: Times) -> None:
    play.liar.route, play.liar.lie, play.liar.lies = "complete", REFUSED, 1
    assert isinstance(await play.ending(play.upload), AsyncSDKError)
    [upload_id] = play.books.uploads
    tell(play, route, lie, times)
    result = await play.ending(lambda client: AsyncUploader(client, journal=play.folder / "journal").cancel(upload_id))
    if not isinstance(result, AsyncSDKError):
        assert play.books.uploads[upload_id]["status"] == "cancelled"
        assert result.id == upload_id
    assert not (lie.harmless and isinstance(result, AsyncSDKError)), result


@cells("list", "get", "delete")
async def test_files_are_what_they_are_or_it_says_why_not(play: Play, route: Route, lie: Lie, times: Times) -> None:
    file_id = play.books.hold(b"first", filename="a", created_at=1)["id"]
    play.books.hold(b"second", filename="b", created_at=2)
    tell(play, route, lie, times)

    async def call(client: Client) -> list[Any]:
        if route == "list":
            return [file async for file in client.pages(api.list_files())]
        request: api.Request[Any] = api.retrieve_file(file_id) if route == "get" else api.delete_file(file_id)
        return [await client.send(request)]

    result = await play.ending(call)
    if isinstance(result, AsyncSDKError):
        assert not lie.harmless, result
    elif route != "list":
        assert [file.id for file in result] == [file_id]
    elif lie.harmless:
        assert [file.id for file in result] == [*play.books.files][::-1]


@cells("content")
async def test_a_file_s_content_is_whole_or_not_there(play: Play, route: Route, lie: Lie, times: Times) -> None:
    file_id = play.books.hold(play.content, filename="a", created_at=1)["id"]
    tell(play, route, lie, times)
    path = play.folder / "content"
    result = await play.ending(lambda client: client.download(api.file_content(file_id), path))
    if isinstance(result, AsyncSDKError):
        assert not lie.harmless, result
        assert list(play.folder.iterdir()) == []
    elif lie.name != "gzip, a bomb":  # a file's content may be of any size
        assert path.read_bytes() == play.content


@cells("edit", "stream")
async def test_an_edit_is_paid_once_and_its_picture_is_kept(play: Play, route: Route, lie: Lie, times: Times) -> None:
    tell(play, route, lie, times)
    edit = ImageEdit(image=png(), prompt=PROMPT, stream=route == "stream" or None)
    result = await play.ending(lambda client: ImageEditor(client).edit(edit))
    assert play.books.paid[PROMPT] <= 1
    if isinstance(result, AsyncSDKError):
        assert not lie.harmless, result
        assert isinstance(result, ChargeUnknownError | SaveError) or not play.books.paid[PROMPT]
    else:
        assert await result.contents() == [picture_of(PROMPT)]
