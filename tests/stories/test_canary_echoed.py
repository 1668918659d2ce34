"""Secrets that a gateway echoes in whatever form, in good answers and in errors, come out nowhere."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from asyncsdk import AsyncUploader, Client, ImageEdit, ImageEditor, RequestEvent, api
from asyncsdk.cli.gallery import gallery_item, write_gallery
from asyncsdk.errors import AsyncSDKError
from asyncsdk.server import LocalServer
from tests.encodings import ENCODINGS, forms_of
from tests.raw_server import QUICK
from tests.stories.echoing_gateway import Gateway, echoing
from tests.stories.pictures import photo
from tests.stories.support import MIB, MakeFile

KEY, PASSWORD = "sk-canary/7f+3e=a~b9c0d1e2", "pr0xy-canary/5d+4c=b3"
HEADER, COOKIE, CODE = "hdr-canary/1a+2b=c3", "c00k-canary/9z+8y", "q-canary/4f+5g=h6"
SECRETS = (KEY, PASSWORD, HEADER, COOKIE, CODE)
CUSTOM = f"X-Gateway-Token: {HEADER}\nCookie: theme=dark; session={COOKIE}"
STATUSES = (400, 401, 403, 404, 409, 413, 429, 500, 503)


def shown_in(content: bytes) -> dict[str, str]:
    """The secrets that `content` shows, and what is around them."""
    found = {secret: form.encode() for secret in SECRETS for form in forms_of(secret) if form.encode() in content}
    return {secret: repr(content[max(0, content.find(form) - 200) :][:500]) for secret, form in found.items()}


def shown_below(folder: Path) -> dict[str, dict[str, str]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    found = {str(path): shown_in(str(path).encode() + path.read_bytes()) for path in files}
    return {path: shown for path, shown in found.items() if shown}


def told_of(error: BaseException) -> str:
    """The error with all that led to it, as a log and an error tracker show it."""
    chain: list[BaseException | None] = [error]
    while (last := chain[-1]) is not None:
        chain.append(last.__cause__ or last.__context__)
    fields = "".join(f"{each!r} {each} {each.args!r} {vars(each)!r}" for each in chain if each is not None)
    return "".join(traceback.format_exception(error)) + fields


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that any logger says of the client, at any level."""
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", CUSTOM)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    levels = {logger: logger.level for logger in (logging.getLogger(), logging.getLogger("asyncsdk"))}
    for logger in levels:
        logger.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield out
    logging.getLogger().removeHandler(handler)
    for logger, level in levels.items():
        logger.setLevel(level)  # set as an attribute, loggers below would go on as before: they remember


def client_by(gateway: Gateway, events: list[RequestEvent]) -> Client:
    """A client that sends every secret: the gateway is both the proxy and the server behind it."""
    return Client(
        KEY,
        base_url="http://api.invalid/v1",
        proxy=f"http://somebody:{quote(PASSWORD, safe='')}@127.0.0.1:{gateway.port}",
        default_query={"code": CODE},
        on_event=events.append,
        max_retries=1,
        timing=QUICK,
    )


async def every_call(client: Client, folder: Path, file: Path, *, edit_many: bool) -> list[object]:
    """Each call of the API, by itself and as uploads and edits make it; what comes of each, an error too."""
    picture = api.ImageFile(content=photo(folder / "p.png").read_bytes(), filename="p.png", mime_type="image/png")
    editor = ImageEditor(client)
    uploader = AsyncUploader(client, journal=folder / "journal", part_size=MIB)
    seen: list[object] = []

    async def keep(call: Callable[[], object]) -> object:
        try:
            result = call()
            seen.append(await result if asyncio.iscoroutine(result) else result)
        except AsyncSDKError as error:
            seen.append(error)
        return seen[-1]

    async def streamed() -> list[object]:
        async with editor.stream(folder / "p.png", "a hat", partial_images=1) as pictures:
            return [event async for event in pictures]

    async def many() -> list[object]:
        edits = [ImageEdit(image=folder / "p.png", prompt="a hat", id=name) for name in "ab"]
        async with editor.edit_many(edits, out=folder / "out") as outcomes:
            found = [outcome async for outcome in outcomes]
        await write_gallery(folder / "out" / "g.html", map(gallery_item, found), title="canary")
        return list(found)

    made = api.create_upload(bytes=1, filename="a", purpose="batch", mime_type="text/plain")
    upload = await keep(lambda: client.send(made))
    name = getattr(upload, "id", "upload_1")
    part = await keep(lambda: client.send(api.add_upload_part(name, data=b"x")))
    await keep(lambda: client.send(api.complete_upload(name, part_ids=[getattr(part, "id", "part_1")])))
    await keep(lambda: client.send(api.cancel_upload(name)))
    uploaded = await keep(lambda: uploader.upload(file, purpose="batch"))
    stored = getattr(getattr(uploaded, "file", None), "id", "file-1")
    await keep(lambda: client.send(api.list_files()))
    await keep(lambda: client.send(api.retrieve_file(stored)))
    await keep(lambda: client.download(api.file_content(stored), folder / "content"))
    await keep(lambda: client.send(api.delete_file(stored)))
    await keep(lambda: client.send(api.edit_image(image=picture, prompt="x")))
    await keep(lambda: editor.edit(folder / "p.png", "a hat"))
    await keep(lambda: editor.edit(folder / "p.png", "a hat", stream=True))
    await keep(streamed)
    if edit_many:
        await keep(many)
    return seen


async def everything(tmp_path: Path, file: Path, status: int | None, *encodings: Callable[[str], str]) -> list[object]:
    """Make every call by a gateway that echoes in `encodings`, and fail for any secret that comes out."""
    events: list[RequestEvent] = []
    async with LocalServer(tmp_path / "server") as server, echoing(server, SECRETS, *encodings) as gateway:
        gateway.status = status
        async with client_by(gateway, events) as client:
            seen = await every_call(client, tmp_path, file, edit_many=status != 429)  # it would wait for minutes
    heard = "".join(gateway.heard)
    assert [secret for secret in (KEY, HEADER, COOKIE, CODE) if secret not in heard] == []
    shown = "".join(told_of(each) if isinstance(each, BaseException) else f"{each!r} {vars_of(each)}" for each in seen)
    assert shown_in(shown.encode()) == {}
    assert shown_in(repr(events).encode()) == {}
    assert shown_below(tmp_path / "journal") == {}
    assert status == 429 or shown_below(tmp_path / "out") == {}
    return seen


def vars_of(value: object) -> str:
    """What a repr leaves out: the fields that this version does not know."""
    return repr(getattr(value, "extra", "")) + repr(getattr(getattr(value, "file", None), "extra", ""))


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
async def test_a_good_answer_that_echoes_secrets_gives_none_away(
    encode: Callable[[str], str],
    tmp_path: Path,
    make_file: MakeFile,
    log: io.StringIO,
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen = await everything(tmp_path, make_file(2 * MIB), None, encode)
    assert [each for each in seen if isinstance(each, BaseException)] == seen[3:4]  # there is nothing left to cancel
    assert "[key]" in repr([vars_of(each) for each in seen])
    assert shown_in(log.getvalue().encode()) == {}
    assert shown_in("".join(capfd.readouterr()).encode()) == {}


@pytest.mark.parametrize("status", STATUSES)
async def test_an_error_that_echoes_secrets_in_any_form_gives_none_away(
    status: int,
    tmp_path: Path,
    make_file: MakeFile,
    log: io.StringIO,
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen = await everything(tmp_path, make_file(MIB), status, *ENCODINGS.values())
    assert sum(isinstance(each, AsyncSDKError) for each in seen) >= 12
    assert shown_in(log.getvalue().encode()) == {}
    assert shown_in("".join(capfd.readouterr()).encode()) == {}


async def test_nor_does_the_program(tmp_path: Path, make_file: MakeFile) -> None:
    file, picture = make_file(2 * MIB), photo(tmp_path / "a.png")
    commands = (
        ("upload", file, "--purpose", "vision", "--json"),
        ("files", "list", "--json"),
        ("uploads", "list", "--json"),
        ("edit", picture, "--prompt", "y", "--out", tmp_path / "one", "--json"),
        ("edit-many", picture, "--prompt", "y", "--out", tmp_path / "out", "--gallery", tmp_path / "g.html", "--json"),
    )
    async with LocalServer() as server, echoing(server, SECRETS[:-1], *ENCODINGS.values()) as gateway:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().startswith(("openai_", "azure_"))},
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": "http://api.invalid/v1",
            "OPENAI_CUSTOM_HEADERS": CUSTOM,
            "http_proxy": f"http://somebody:{quote(PASSWORD, safe='')}@127.0.0.1:{gateway.port}",
            "no_proxy": "",
            "ASYNCSDK_JOURNAL": str(tmp_path / "state"),
        }
        for status in (None, 400):
            gateway.status = status
            for arguments in commands:
                command = [sys.executable, "-m", "asyncsdk", *map(str, arguments), "--verbose"]
                process = await asyncio.create_subprocess_exec(
                    *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
                )
                with suppress(OSError):
                    assert shown_in(Path(f"/proc/{process.pid}/cmdline").read_bytes()) == {}
                told = await process.communicate()
                assert [shown_in(output) for output in told] == [{}, {}], arguments
    for folder in ("state", "out"):
        assert shown_below(tmp_path / folder) == {}
    assert shown_in((tmp_path / "g.html").read_bytes()) == {}


def test_the_search_finds_each_form() -> None:
    for encode in ENCODINGS.values():
        for secret in SECRETS:
            assert secret in shown_in(f"made with {encode(secret)}!".encode())
