"""A wrong type is refused where it is handed in, in words that say what is right, and without the value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import Timeout  # httpx's

from asyncsdk import AsyncUploader, Client, ConfigurationError, ImageEditor, UploadJob, api
from asyncsdk.server import LocalServer

KEY = "sk-a-secret-0123456789"


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


@pytest.fixture
async def client(server: LocalServer) -> AsyncIterator[Client]:
    async with Client(KEY, base_url=server.url) as opened:
        yield opened


@pytest.mark.parametrize("make", [AsyncUploader, ImageEditor])
@pytest.mark.parametrize(("given", "kind"), [(KEY, "a str"), (None, "NoneType"), (api, "a module")])
def test_what_is_made_of_a_client_takes_nothing_else(make: Any, given: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=rf"{make.__name__} must be a Client, not {kind}\.$") as refused:
        make(given)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("make", [AsyncUploader, ImageEditor])
async def test_options_of_buckets_are_a_mapping(client: Client, make: Any) -> None:
    with pytest.raises(TypeError, match=r"^remote_options must be a mapping, not a str\.$"):
        make(client, remote_options=KEY)


async def test_an_editor_of_an_uploader_is_refused(client: Client) -> None:
    uploader: Any = AsyncUploader(client, journal="memory")
    with pytest.raises(TypeError, match="the client of an ImageEditor must be a Client, not an AsyncUploader"):
        ImageEditor(uploader)


async def test_a_request_is_a_value_that_a_function_of_the_api_makes(client: Client, server: LocalServer) -> None:
    wrong: list[tuple[Any, str]] = [
        ("/files", r"request must be a Request, such as api\.list_files\(\) makes, not a str"),
        (api.list_files, r"api\.list_files is a function that makes a Request: call it, api\.list_files\(…\)"),
        (print, "request must be a Request.*, not a builtin_function_or_method"),
        (None, "not NoneType"),
    ]
    for request, why in wrong:
        with pytest.raises(TypeError, match=why):
            await client.send(request)
        with pytest.raises(TypeError, match=why):
            async with client.stream(request):
                pass
        with pytest.raises(TypeError, match=why):
            await client.download(request, "nowhere")
        with pytest.raises(TypeError, match=why):
            await anext(client.pages(request))
    assert not server.calls


@pytest.mark.parametrize(
    ("jobs", "why"),
    [
        (
            ["a.txt"],
            r"a job of upload_many must be an UploadJob, such as UploadJob\('a\.txt', purpose='batch'\), not a str",
        ),
        ((UploadJob("a.txt", "batch"), None), "a job of upload_many must be an UploadJob.*not NoneType"),
        ("a.txt", "jobs must be an iterable of UploadJob values, not a str"),
        (UploadJob("a.txt", "batch"), "jobs must be an iterable of UploadJob values, not an UploadJob"),
        (5, "jobs must be an iterable of UploadJob values, not an int"),
    ],
)
async def test_jobs_are_refused_before_any_is_begun(client: Client, server: LocalServer, jobs: Any, why: str) -> None:
    uploader = AsyncUploader(client, journal="memory")
    with pytest.raises(TypeError, match=why):
        uploader.upload_many(jobs)
    assert not server.calls


async def test_a_job_that_is_made_while_they_are_read_is_refused_when_it_comes(client: Client) -> None:
    uploader, statuses = AsyncUploader(client, journal="memory"), list[str]()

    async def jobs() -> AsyncIterator[Any]:
        yield UploadJob(b"a", "batch")
        while not statuses:
            await asyncio.sleep(0.01)
        yield "b.txt"

    async def read() -> None:
        async with uploader.upload_many(jobs()) as outcomes:
            async for outcome in outcomes:
                statuses.append(outcome.status)

    with pytest.raises(TypeError, match="a job of upload_many must be an UploadJob"):
        await read()
    assert statuses == ["done"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"timeout": Timeout(5)}, r"timeout must be a number of seconds above 0, .*, not of the type Timeout\."),
        ({"timeout": "5"}, r"not of the type str\."),
        ({"max_retries": "2"}, r"max_retries must be a number, 0 or more, not of the type str\."),
        ({"on_event": "x"}, r"on_event= must be a function, not a str\."),
    ],
)
def test_a_client_refuses_settings_of_a_wrong_type(options: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        Client(KEY, **options)


async def test_a_request_and_an_upload_refuse_options_of_a_wrong_type(client: Client, server: LocalServer) -> None:
    timeout: Any = Timeout(5)
    with pytest.raises(ConfigurationError, match="not of the type Timeout"):
        await client.send(api.list_files(), timeout=timeout)
    on_progress: Any = "x"
    uploader = AsyncUploader(client, journal="memory")
    with pytest.raises(ConfigurationError, match="on_progress= must be a function, async or not, not a str"):
        await uploader.upload(b"a", purpose="batch", on_progress=on_progress)
    with pytest.raises(ConfigurationError, match="on_progress= must be a function"):
        uploader.upload_many([], on_progress=on_progress)
    assert not server.calls
