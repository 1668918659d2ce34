"""A key is sent to the server and written nowhere: a whole upload and edits under faults, then a search everywhere."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from asyncsdk import AsyncUploader, CachedKey, Client, ImageEdit, ImageEditor, RequestEvent
from asyncsdk.errors import AsyncSDKError
from asyncsdk.server import Fault, LocalServer
from tests.encodings import forms_of
from tests.raw_server import QUICK
from tests.stories.pictures import photo
from tests.stories.support import MIB, MakeFile

CANARY = "sk-canary/7f+3e=a~b9c0d1e2%f3"  # looks different in each of the forms that are searched for
TROUBLE = [
    Fault("create", "answer", status=500),
    Fault("part", "reset", "in", nth=2),
    Fault("part", "answer", status=429, headers={"Retry-After": "0"}, nth=3),
    Fault("complete", "close", "done"),
    Fault("edit", "answer", status=503, headers={"Retry-After": "0"}),
    Fault("edit", "reset", "done", nth=2),
    Fault("files.get", "answer", "before", status=404, body="<html>no</html>"),
]


def assert_unseen(place: str, content: bytes) -> None:
    found = [form.encode() for form in forms_of(CANARY) if form.encode() in content]
    assert not found, f"{place}: …{content[max(0, content.find(found[0]) - 300) :][:600]!r}"


def assert_unseen_below(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert_unseen(str(path), str(path).encode() + path.read_bytes())


def with_locals(error: BaseException) -> str:
    """As an error tracker would show it: its causes, and the variables of every frame."""
    chain: list[BaseException | None] = [error]
    while (last := chain[-1]) is not None:
        chain.append(last.__cause__ or last.__context__)
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(told.format()) + "".join(f"{each!r} {each} {vars(each)!r}" for each in chain if each is not None)


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """All that any logger says, asyncio's and aiohttp's too."""
    out = io.StringIO()
    handler, root = logging.StreamHandler(out), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield out
    root.removeHandler(handler)
    root.setLevel(level)


async def fetched() -> str:
    return CANARY


@pytest.mark.parametrize("how", ["bearer", "api-key", "asked for each request", "cached"])
async def test_a_key_is_written_nowhere_whatever_happens(
    how: str, tmp_path: Path, make_file: MakeFile, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    asyncio.get_running_loop().set_debug(True)
    events: list[RequestEvent] = []
    errors: list[BaseException] = []
    seen: list[object] = []
    async with (
        LocalServer(tmp_path / "server", api_key=CANARY, faults=TROUBLE) as server,
        Client(
            CachedKey(fetched) if how == "cached" else fetched if how.startswith("asked") else CANARY,
            base_url=server.url,
            auth="api-key" if how == "api-key" else "bearer",
            on_event=events.append,
            timing=QUICK,
        ) as client,
    ):
        uploader, editor = AsyncUploader(client, journal=tmp_path / "journal", part_size=MIB), ImageEditor(client)
        result = await uploader.upload(make_file(3 * MIB), purpose="fine-tune")
        edits = [ImageEdit(image=photo(tmp_path / f"{name}.png"), prompt="a beret", id=name) for name in "abcd"]
        async with editor.edit_many(edits, out=tmp_path / "out", concurrency=1) as outcomes:
            seen += [outcome async for outcome in outcomes]
        for lost in (Fault("edit", "reset", "done"), Fault("edit", "answer", status=400)):
            server.inject(lost)
            try:
                await editor.edit(tmp_path / "a.png", "another")
            except AsyncSDKError as error:
                errors.append(error)
        seen += [result, client, client.settings, uploader, editor, server, server.requests, events]
    assert len(errors) == 2
    for each in errors:
        assert_unseen("error", with_locals(each).encode())
    assert_unseen("repr", repr(seen).encode())
    assert_unseen("log", log.getvalue().encode())
    assert_unseen("output", "".join(capfd.readouterr()).encode())
    for folder in ("journal", "out", "server"):
        assert_unseen_below(tmp_path / folder)


async def test_nor_where_the_server_is_not_there_or_refuses_it(
    tmp_path: Path, make_file: MakeFile, log: io.StringIO
) -> None:
    file, errors = make_file(MIB), []
    async with LocalServer(api_key="another") as server:
        url = server.url
        for base_url in (url, "http://127.0.0.1:1/v1", url.replace("http:", "https:")):
            async with Client(CANARY, base_url=base_url, max_retries=0, timing=QUICK) as client:
                try:
                    await AsyncUploader(client, journal="memory").upload(file, purpose="batch")
                except AsyncSDKError as error:
                    errors.append(error)
    assert len(errors) == 3
    for each in errors:
        assert_unseen("error", with_locals(each).encode())
    assert_unseen("log", log.getvalue().encode())


async def test_nor_by_the_program_which_shows_it_to_no_other_process(tmp_path: Path, make_file: MakeFile) -> None:
    picture = photo(tmp_path / "a.png")
    async with LocalServer(api_key=CANARY, faults=TROUBLE) as server:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "AZURE_"))},
            "OPENAI_API_KEY": CANARY,
            "OPENAI_BASE_URL": server.url,
            "OPENAI_CUSTOM_HEADERS": f"X-Team: {CANARY}",
            "ASYNCSDK_JOURNAL": str(tmp_path / "state"),
            "PYTHONASYNCIODEBUG": "1",
            "NO_PROXY": "127.0.0.1",
        }
        for arguments in (
            ("upload", make_file(3 * MIB), "--purpose", "vision", "--part-size", "1MiB", "--progress", "lines"),
            (
                "edit-many",
                "--json",
                picture,
                "--prompt",
                "y",
                "--out",
                tmp_path / "out",
                "--gallery",
                tmp_path / "out/g.html",
            ),
            ("files", "show", "file-none"),
            ("uploads", "list", "--json"),
        ):
            command = [sys.executable, "-m", "asyncsdk", *map(str, arguments), "--verbose"]
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            with suppress(OSError):
                assert_unseen("process list", Path(f"/proc/{process.pid}/cmdline").read_bytes())
            for output in await process.communicate():
                assert_unseen(" ".join(map(str, arguments)), output)
    for folder in ("state", "out"):
        assert_unseen_below(tmp_path / folder)


def test_the_search_finds_what_it_searches_for() -> None:
    for text in (CANARY, f'{{"a": {json.dumps(CANARY)}}}', quote(f"a{CANARY}", safe="")):
        with pytest.raises(AssertionError):
            assert_unseen("x", text.encode())
    for before in ("", "Bearer ", "us:", "u:"):
        with pytest.raises(AssertionError):
            assert_unseen("x", base64.b64encode(f"{before}{CANARY}!".encode()))
