"""Keys that are fetched: one that expires in mid-upload, and what gives them that fails, hangs, or comes back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from aiohttp import web
from attrs import define, field

from asyncsdk import (
    AsyncSDKError,
    AsyncUploader,
    AuthenticationError,
    CachedKey,
    Client,
    CredentialError,
    ImageEdit,
    ImageEditor,
    api,
)
from asyncsdk.server import Fault, LocalServer, app
from asyncsdk.timing import Timing
from tests.stories.conftest import content_of
from tests.stories.pictures import photo
from tests.stories.support import MIB, MakeFile, md5_of

BRISK = Timing(first_delay=0.001, key=0.2)
SECRET = "token-7d1f0c9b"


@define
class Issuer:
    """Gives tokens, each of which the server takes `good_for` so many requests."""

    good_for: int
    fetched: int = 0
    used: Counter[str] = field(factory=Counter)
    refused: int = 0
    trouble: dict[int, Callable[[], Awaitable[None]]] = field(factory=dict)  # by the number of the fetch, from 1

    async def fetch(self) -> str:
        self.fetched += 1
        if self.fetched in self.trouble:
            await self.trouble[self.fetched]()
        return f"{SECRET}-{self.fetched}"

    def accepted(self, request: web.Request) -> str:
        """The key of a request, or nothing where it is no longer good."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.used[token] += 1
        is_good = token == f"{SECRET}-{self.fetched}" and self.used[token] <= self.good_for
        self.refused += not is_good
        return token if is_good else ""


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    issuer = Issuer(good_for=5)
    monkeypatch.setattr(app, "_key_of", issuer.accepted)
    return issuer


async def hang() -> None:
    await anyio.sleep_forever()


async def fail() -> None:
    raise OSError(f"refused: {SECRET}")


def content_in(folder: Path) -> Path:
    path = folder / "data.bin"
    path.write_bytes(content_of(20 * MIB, 1))
    return path


async def upload(server: LocalServer, key: object, journal: Path, path: Path, timing: Timing = BRISK) -> str:
    async with Client(key, base_url=server.url, timing=timing) as client:  # type: ignore[arg-type]  # as given
        uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=4, max_retries=2)
        return (await uploader.upload(path, purpose="batch")).file.id


async def test_a_token_that_expires_in_mid_upload_is_fetched_again(
    server: LocalServer, journal: Path, make_file: MakeFile, issuer: Issuer
) -> None:
    path = make_file(20 * MIB)
    file_id = await upload(server, CachedKey(issuer.fetch), journal, path)
    assert md5_of(server.stored(file_id)) == md5_of(path)
    assert len(server.files) == 1
    assert issuer.fetched >= 4
    assert issuer.refused >= 3
    assert server.calls["part"] - 20 <= issuer.refused  # nothing is sent again that was accepted


@pytest.mark.parametrize("trouble", [fail, hang])
async def test_trouble_that_passes_holds_it_up_and_no_more(
    server: LocalServer, journal: Path, make_file: MakeFile, issuer: Issuer, trouble: Callable[[], Awaitable[None]]
) -> None:
    issuer.trouble = {1: trouble, 3: trouble}
    path = make_file(12 * MIB)
    file_id = await upload(server, CachedKey(issuer.fetch, timeout=0.1), journal, path)
    assert md5_of(server.stored(file_id)) == md5_of(path)


@pytest.mark.parametrize("trouble", [fail, hang])
@pytest.mark.parametrize("kind", ["cached", "plain"])
async def test_trouble_that_stays_is_a_clear_error_soon_and_the_same_call_resumes(
    server: LocalServer, tmp_path: Path, issuer: Issuer, trouble: Callable[[], Awaitable[None]], kind: str
) -> None:
    path, journal, began = content_in(tmp_path), tmp_path / "journal", time.monotonic()
    what = "took too long" if trouble is hang else r"failed \(OSError\)"
    issuer.trouble = dict.fromkeys(range(2, 40), trouble)
    issuer.good_for = 8

    async def fetch_each_time() -> str:
        return await issuer.fetch() if issuer.used.total() >= 8 or not issuer.fetched else f"{SECRET}-1"

    key = CachedKey(issuer.fetch, timeout=0.1) if kind == "cached" else fetch_each_time
    with pytest.raises(CredentialError, match=f"the function that returns the key {what}. Nothing was sent") as caught:
        await upload(server, key, journal, path)
    assert time.monotonic() - began < 10
    assert SECRET not in str(caught.value)
    assert caught.value.resumable
    assert caught.value.bytes_done > 0
    issuer.trouble, issuer.good_for, before = {}, 1000, caught.value.bytes_done
    async with Client(CachedKey(issuer.fetch), base_url=server.url, timing=BRISK) as client:
        resumed = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="batch")
    assert resumed.bytes_resumed >= before
    assert md5_of(server.stored(resumed.file.id)) == md5_of(path)
    assert len(server.files) == 1


async def test_a_plain_function_is_asked_once_more_and_then_the_401_is_raised(server: LocalServer) -> None:
    keys = iter(["wrong", "right", "wrong", "wrong", "right"])
    asked: list[str] = []

    def key() -> str:
        asked.append(next(keys))
        return asked[-1]

    async with LocalServer(api_key="right") as locked, Client(key, base_url=locked.url, max_retries=0) as client:
        await client.send(api.list_files())
        assert asked == ["wrong", "right"]
        with pytest.raises(AuthenticationError):
            await client.send(api.list_files())
        assert asked == ["wrong", "right", "wrong", "wrong"]


async def test_a_key_that_is_text_is_refused_once(server: LocalServer) -> None:
    async with LocalServer(api_key="right") as locked, Client("wrong", base_url=locked.url) as client:
        with pytest.raises(AuthenticationError):
            await client.send(api.list_files())
        assert locked.calls["files.list"] == 1


async def test_edits_go_on_with_the_next_token_and_none_is_paid_twice(
    server: LocalServer, tmp_path: Path, issuer: Issuer
) -> None:
    issuer.good_for, issuer.trouble = 3, {2: fail}
    edits = [ImageEdit(image=photo(tmp_path / f"{n}.png", seed=n), prompt="a beret", id=str(n)) for n in range(8)]
    async with Client(CachedKey(issuer.fetch), base_url=server.url, timing=BRISK) as client:
        editor = ImageEditor(client)
        async with editor.edit_many(edits, out=tmp_path / "out", concurrency=2) as outcomes:
            ended = [outcome async for outcome in outcomes]
        result = await editor.edit(tmp_path / "0.png", "another")
    assert [outcome.status for outcome in ended] == ["done"] * 8
    assert len(result.images) == 1
    assert server.edits.edits == 9


async def test_a_run_of_edits_stops_where_no_key_can_be_fetched(
    server: LocalServer, tmp_path: Path, issuer: Issuer
) -> None:
    issuer.good_for, issuer.trouble = 2, dict.fromkeys(range(2, 99), fail)
    edits = [ImageEdit(image=photo(tmp_path / f"{n}.png", seed=n), prompt="a beret", id=str(n)) for n in range(8)]
    async with Client(CachedKey(issuer.fetch), base_url=server.url, timing=BRISK) as client:
        with pytest.raises(AsyncSDKError) as caught:
            async with ImageEditor(client).edit_many(edits, out=tmp_path / "out", concurrency=1) as outcomes:
                assert [outcome.status async for outcome in outcomes if outcome.status != "done"] == ["failed"]
    assert isinstance(caught.value, CredentialError)
    assert server.edits.edits == 2


async def test_a_key_that_is_refused_in_a_success_is_fetched_again_too(server: LocalServer) -> None:
    refusal = {"error": {"code": "invalid_api_key", "message": "Expired.", "type": "invalid_request_error"}}
    server.inject(Fault("files.list", "answer", "before", status=200, body=refusal))
    fetched: list[str] = []

    async def fetch() -> str:
        fetched.append(f"k{len(fetched)}")
        return fetched[-1]

    async with Client(CachedKey(fetch), base_url=server.url) as client:
        await client.send(api.list_files())
        await client.send(api.list_files())
    assert fetched == ["k0", "k1"]
    assert server.calls["files.list"] == 3
