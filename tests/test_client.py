"""What `Client` promises: requests as values, retried where it helps, pages, streams, downloads, events."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from asyncsdk import (
    APIConnectionError,
    APIResponseValidationError,
    Client,
    ConfigurationError,
    NotFoundError,
    NotTheAPIError,
    ResponseMismatchError,
    UnusableClientError,
    api,
)
from tests.raw_server import KEY, UPLOAD, Talk, answering, client_of, reply, serving

GET_FILE = api.retrieve_file("file-1")
FILE = {"id": "file-1", "expires_at": None, "status_details": None}


async def test_a_request_comes_back_as_a_model() -> None:
    async with (
        answering(reply(200, UPLOAD | {"expires_at": 5, "colour": "red"})) as server,
        client_of(server) as client,
    ):
        upload = await client.send(api.create_upload(bytes=1, filename="a", mime_type="b", purpose="batch"))
    assert (upload.id, upload.status, upload.expires_at, upload.extra) == ("upload_1", "pending", 5, {"colour": "red"})
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/v1/uploads")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("asyncsdk/")
    assert json.loads(request.body) == {"bytes": 1, "filename": "a", "mime_type": "b", "purpose": "batch"}


async def test_nulls_where_the_document_allows_none_are_fine() -> None:
    async with answering(reply(200, FILE)) as server, client_of(server) as client:
        file = await client.send(GET_FILE)
    assert (file.expires_at, file.status_details) == (None, None)


@pytest.mark.parametrize("auth", ["bearer", "api-key"])
async def test_the_key_goes_where_the_server_looks_for_it(auth: str) -> None:
    async with answering(reply(200, FILE)) as server, client_of(server, auth=auth) as client:
        await client.send(GET_FILE)
    sent = server.requests[0].headers
    assert (sent.get("authorization"), sent.get("api-key")) == (
        (f"Bearer {KEY}", None) if auth == "bearer" else (None, KEY)
    )


@pytest.mark.parametrize("given", ["", "two\nlines", None])
async def test_a_key_function_that_gives_no_key_sends_nothing(given: str) -> None:
    async with answering(reply(200, FILE)) as server, Client(lambda: given, base_url=server.url) as client:
        with pytest.raises(ConfigurationError, match="Nothing was sent"):
            await client.send(GET_FILE)
    assert server.connections == 0


async def test_organization_project_headers_and_query_go_along() -> None:
    options = {
        "organization": "org-1",
        "project": "proj-1",
        "default_headers": {"X-Team": "a", "user-agent": "mine"},
        "default_query": {"api-version": "v1", "limit": "1"},
    }
    async with answering(reply(200, {"data": []})) as server, client_of(server, **options) as client:
        await client.send(api.list_files(limit=7), headers={"x-team": "b"}, query={"after": "ü&"})
    (request,) = server.requests
    assert request.target == "/v1/files?api-version=v1&limit=7&after=%C3%BC%26"
    sent = request.headers
    assert (sent["openai-organization"], sent["openai-project"]) == ("org-1", "proj-1")
    assert (sent["x-team"], sent["user-agent"]) == ("b", "mine")
    assert request.head.lower().count(b"x-team") == 1


async def test_a_header_of_one_call_is_checked_too() -> None:
    async with answering(reply(200, FILE)) as server, client_of(server) as client:
        with pytest.raises(ConfigurationError, match="header X-A contains a line break"):
            await client.send(GET_FILE, headers={"X-A": "b\r\nAuthorization: none"})
    assert server.connections == 0


async def test_azure_classic_and_v1_speak_to_their_own_paths() -> None:
    async with answering(reply(200, FILE)) as server:
        endpoint = server.url.removesuffix("/v1")
        async with Client.azure(endpoint, api_version="2025-04-01-preview", api_key=KEY) as classic:
            await classic.send(GET_FILE)
        async with Client.azure(endpoint, token=lambda: KEY, default_query={"x": "y"}) as v1:
            await v1.send(GET_FILE)
    first, second = server.requests
    assert (first.target, first.headers["api-key"]) == ("/openai/files/file-1?api-version=2025-04-01-preview", KEY)
    assert (second.target, second.headers["authorization"]) == ("/openai/v1/files/file-1?x=y", f"Bearer {KEY}")


@pytest.mark.parametrize("name", ["token", "azure_ad_token", "azure_ad_token_provider"])
async def test_an_entra_token_has_our_name_and_those_of_openai_python(name: str) -> None:
    async def provide() -> str:
        return KEY

    async with answering(reply(200, FILE), reply(200, FILE)) as server:
        for token in (KEY, provide):
            given: Any = {name: token}
            async with Client.azure(server.url.removesuffix("/v1"), **given) as client:
                await client.send(GET_FILE)
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"] * 2


def test_azure_takes_what_a_client_takes_and_names_it() -> None:
    ours, theirs = (set(inspect.signature(made).parameters) for made in (Client.azure, Client))
    assert theirs - ours == {"base_url", "auth"}  # which Azure settles
    client = Client.azure("https://r.example", api_key=KEY, timeout=7, max_retries=0, organization="org-1")
    assert (client.timeout, client.max_retries, client.settings.organization) == (7, 0, "org-1")


@pytest.mark.parametrize("typo", ["api_kye", "tokn", "azure_endpoint", "max_retrys"])
def test_a_typo_for_azure_is_a_type_error_before_anything_else(typo: str) -> None:
    wrong: Any = {typo: "x"}
    with pytest.raises(TypeError, match=typo):
        Client.azure(**wrong)


@pytest.mark.parametrize("call", ["send", "receive", "stream", "pages", "download"])
async def test_a_typo_in_the_options_of_a_request_is_a_type_error_before_it_is_sent(call: str, tmp_path: Path) -> None:
    wrong: Any = {"timout": 3}

    async def reader(_: object) -> None: ...

    async def stream(client: Client) -> None:
        async with client.stream(GET_FILE, **wrong):
            pass

    async def pages(client: Client) -> None:
        async for _ in client.pages(api.list_files(), **wrong):
            pass

    calls: dict[str, Callable[[Client], Coroutine[Any, Any, object]]] = {
        "send": lambda client: client.send(GET_FILE, **wrong),
        "receive": lambda client: client.receive(GET_FILE, reader, **wrong),
        "stream": stream,
        "pages": pages,
        "download": lambda client: client.download(api.file_content("file-1"), tmp_path / "a", **wrong),
    }
    async with answering() as server, client_of(server) as client:
        with pytest.raises(TypeError, match="timout"):
            await calls[call](client)
    assert server.connections == 0


async def test_close_and_aclose_are_one() -> None:
    async with answering(reply(200, FILE)) as server:
        client = client_of(server)
        await client.send(GET_FILE)
        await client.close()
        with pytest.raises(UnusableClientError, match="this Client is closed"):
            await client.send(GET_FILE)
        await client.aclose()


async def test_an_id_can_not_lead_elsewhere() -> None:
    odd = "../a/b?c#d"
    async with answering(reply(200, {"id": odd})) as server, client_of(server) as client:
        await client.send(api.retrieve_file(odd))
        with pytest.raises(ConfigurationError, match="names nothing"):
            await client.send(api.retrieve_file(".."))
    assert [request.target for request in server.requests] == ["/v1/files/..%2Fa%2Fb%3Fc%23d"]


@pytest.mark.parametrize("request_of", [api.retrieve_file, api.delete_file])
async def test_an_answer_about_another_file_is_not_believed(request_of: Callable[[str], api.Request[Any]]) -> None:
    crossed, right = reply(200, {"id": "file-2"}), reply(200, {"id": "file-1"})
    async with answering(crossed, right) as server, client_of(server, max_retries=0) as client:
        with pytest.raises(ResponseMismatchError, match="its id is file-2, not file-1"):
            await client.send(request_of("file-1"))
        assert (await client.send(request_of("file-1"))).id == "file-1"


PAGE = reply(200, "<html>Log in to the Wi-Fi</html>", {"Content-Type": "text/html", "X-Request-ID": "r"})


async def test_a_page_with_status_200_before_any_answer_is_a_wrong_address() -> None:
    async with answering(PAGE) as server, client_of(server) as client:
        with pytest.raises(NotTheAPIError, match=r"text/html.*Log in to the Wi-Fi") as caught:
            await client.send(GET_FILE)
        assert f"{client.base_url} has answered as the API" in str(caught.value)
    assert (caught.value.status_code, caught.value.request_id) == (200, "r")
    assert not caught.value.may_have_acted
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "own", [reply(200, FILE), reply(404, {"error": {"message": "No such File", "type": "invalid_request_error"}})]
)
async def test_a_page_from_a_server_that_is_the_api_is_asked_again(own: bytes) -> None:
    async with answering(own, PAGE) as server, client_of(server) as client:
        with suppress(NotFoundError):
            await client.send(GET_FILE)
        with pytest.raises(NotTheAPIError) as caught:
            await client.send(GET_FILE)
    assert caught.value.may_have_acted
    assert "address" not in str(caught.value)
    assert len(server.requests) == 4


@pytest.mark.parametrize("other", [reply(200, "a file's content"), reply(404, "<html>"), reply(307)])
async def test_what_any_server_may_say_does_not_make_it_the_api(other: bytes) -> None:
    async with answering(other, PAGE) as server, client_of(server) as client:
        with suppress(NotFoundError, APIResponseValidationError):
            await client.send(api.file_content("file-1"))
        with pytest.raises(NotTheAPIError) as caught:
            await client.send(GET_FILE)
    assert not caught.value.may_have_acted


async def test_a_given_session_is_used_and_never_closed() -> None:
    async with (
        answering(reply(200, FILE), reply(404)) as server,
        aiohttp.ClientSession(raise_for_status=True) as session,
    ):
        async with client_of(server, session=session) as client:
            await client.send(GET_FILE)
            with pytest.raises(NotFoundError):
                await client.send(GET_FILE)
        assert not session.closed


@pytest.mark.parametrize("option", ["proxy", "connections", "trace_configs"])
async def test_a_given_session_brings_its_own_connections(option: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TypeError, match="session"):
            Client(KEY, session=session, **{option: 1})  # type: ignore[arg-type]  # refused for another reason


def test_a_client_is_made_without_an_event_loop_and_serves_one_only() -> None:
    client = Client(KEY, base_url="http://127.0.0.1:1/v1", max_retries=0)

    async def use_on_two_loops() -> None:
        with pytest.raises(APIConnectionError):
            await client.send(GET_FILE)
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, client.send(GET_FILE))
        await client.aclose()

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(use_on_two_loops())


async def test_a_closed_client_stays_closed() -> None:
    async with answering(reply(200, FILE)) as server:
        async with client_of(server) as client:
            await client.send(GET_FILE)
        with pytest.raises(RuntimeError, match="closed"):
            await client.send(GET_FILE)
    await client.aclose()


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0}, {"max_retries": -1}, {"connections": 0}, {"ssl": False}, {"auth": "basic"}, {"base_url": "x"}],
)
def test_a_bad_setting_is_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Client(KEY, **options)  # type: ignore[arg-type]  # that is the point


async def test_a_bad_limit_of_one_call_is_refused_too() -> None:
    async with Client(KEY, base_url="http://127.0.0.1:1") as client:
        with pytest.raises(ConfigurationError, match="timeout"):
            await client.send(GET_FILE, timeout=0)


def test_its_repr_shows_where_it_goes_and_no_key() -> None:
    client = Client(KEY, default_headers={"X-Gateway": KEY}, default_query={"key": KEY})
    assert repr(client) == "Client(base_url='https://api.openai.com/v1')"
    assert KEY not in repr(vars(client))


async def test_time_is_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        answering(reply(200, FILE, {"Date": "Sun, 06 Nov 1994 08:49:37 GMT"})) as server,
        client_of(server) as client,
    ):
        assert client.clock.now() > 1e9
        await client.send(GET_FILE)
        assert 784111777 <= client.clock.now() < 784111787


async def test_requests_at_once_share_a_bounded_pool() -> None:
    async def slow(talk: Talk) -> None:
        while True:
            await talk.hear()
            await asyncio.sleep(0.02)
            await talk.say(reply(200, FILE))

    async with serving(slow) as server, client_of(server, connections=3) as client:
        await asyncio.gather(*(client.send(GET_FILE) for _ in range(12)))
    assert server.connections == 3
