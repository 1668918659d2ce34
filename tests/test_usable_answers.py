"""Good answers stay usable: what a redactor takes out of them are credentials, never their ids and URLs."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import APIError, BadRequestError, ChargeUnknownError, Client, ImageEdit, ImageEditor, api
from asyncsdk.http.edit_response import Messages
from asyncsdk.redaction import redactor
from tests.raw_server import KEY, Talk, answering, client_of, reply, serving
from tests.stories.pictures import png

TENANT = "tenant-7f3b9c21"
PIXEL = png()
GET_FILE = api.retrieve_file("file-1")
GATEWAY_KEY = "gw-7f3b9c21-x"


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def at_a_url(talk: Talk) -> None:
    """Answer an edit with a URL that the tenant is in, and serve the picture there alone."""
    path = f"/pictures/{TENANT}.png"
    while True:
        request = await talk.hear()
        if request.method == "POST":
            url = f"http://127.0.0.1:{talk.server.port}{path}"
            await talk.say(reply(200, {"data": [{"url": url, "revised_prompt": f"{TENANT} {GATEWAY_KEY}"}]}))
        else:
            await talk.say(reply(200, PIXEL) if request.target == path else reply(404, "<h1>Not found</h1>"))


def tenants_client(server: Any) -> Client:
    return client_of(server, default_headers={"X-Tenant": TENANT, "X-Gateway-Key": GATEWAY_KEY}, max_retries=0)


async def test_a_picture_is_fetched_at_a_url_that_a_plain_header_is_in(tmp_path: Path) -> None:
    async with serving(at_a_url) as server, tenants_client(server) as client:
        result = await ImageEditor(client).edit(PIXEL, "x")
        (saved,) = await result.save(tmp_path / "a.png")
        edits = [ImageEdit(image=PIXEL, prompt="x", stream=stream) for stream in (False, True)]
        results = [await ImageEditor(client).edit(edit) for edit in edits]
    assert saved.read_bytes() == PIXEL
    assert {image.revised_prompt for each in results for image in each.images} <= {f"{TENANT} [secret]", None}


async def test_ids_stay_as_they_are() -> None:
    body = {"id": f"file-{TENANT}", "filename": f"{TENANT} {GATEWAY_KEY}", "gateway_id": GATEWAY_KEY}
    async with answering(reply(200, body)) as server, tenants_client(server) as client:
        file = await client.send(api.retrieve_file(f"file-{TENANT}"))
    assert (file.id, file.filename) == (f"file-{TENANT}", f"{TENANT} [secret]")
    assert file.extra == {"gateway_id": GATEWAY_KEY}


async def test_an_error_shows_neither() -> None:
    body = {"error": {"message": f"{TENANT} {GATEWAY_KEY}", "id": TENANT}}
    async with answering(reply(400, body)) as server, tenants_client(server) as client:
        with pytest.raises(BadRequestError) as caught:
            await client.send(GET_FILE)
    assert not any(secret in f"{caught.value} {caught.value.body}" for secret in (TENANT, GATEWAY_KEY))


@pytest.mark.parametrize(
    ("name", "is_credential"),
    [
        ("Authorization", True),
        ("X-Gateway-Key", True),
        ("OpenAI-Api-Key", True),
        ("Content-Access-Token", True),
        ("accessToken", True),
        ("XAPIKey", True),
        ("Cookie", True),
        ("X-Session-Scope", True),
        ("code", True),
        ("X-Design-Team", False),
        ("X-Keywords", False),
        ("X-Author", False),
        ("X-Zip-Code", False),
        ("X-Tenant", False),
    ],
)
def test_a_credential_is_known_by_a_whole_word_of_its_name(name: str, is_credential: bool) -> None:  # noqa: FBT001
    known = redactor({name: "v4lue-7f3b9c21"}, {}, {})
    assert (known.clean_answer({"note": "v4lue-7f3b9c21"}) != {"note": "v4lue-7f3b9c21"}) == is_credential
    assert "v4lue" not in known.clean("v4lue-7f3b9c21")


@pytest.mark.parametrize("name", ["X-Credential", "X-Key"])
def test_what_opens_the_proxy_is_a_credential_whatever_its_name(name: str) -> None:
    assert redactor({}, {}, {name: "pr0xy-7f3b9c21"}).clean_answer(["pr0xy-7f3b9c21"]) == ["[secret]"]


def test_ids_and_urls_lose_the_api_key_alone() -> None:
    known = redactor({"Authorization": f"Bearer {KEY}", "X-Key": GATEWAY_KEY}, {}, {})
    answer = {"id": f"{KEY} {GATEWAY_KEY}", "first_id": GATEWAY_KEY, "url": f"/{KEY}", "note": f"{KEY} {GATEWAY_KEY}"}
    assert known.clean_answer(answer) == {
        "id": f"[key] {GATEWAY_KEY}",
        "first_id": GATEWAY_KEY,
        "url": "/[key]",
        "note": "[key] [secret]",
    }
    assert known.clean_url(f"https://x/{KEY}?{GATEWAY_KEY}") == f"https://x/[key]?{GATEWAY_KEY}"
    assert known.clean_url("https://x/?a=%20&b=%2F") == "https://x/?a=%20&b=%2F"


def test_a_key_that_is_quoted_cut_off_is_not_shown() -> None:
    known = redactor({"Authorization": f"Bearer {KEY}"}, {}, {})
    for size in range(12, len(KEY)):
        said = f"bad token: {KEY[:size]}... (truncated), {KEY[:size]}"
        assert known.clean(said) == "bad token: [key]... (truncated), [key]"
        assert json.loads(known.clean(json.dumps({"message": said})))["message"] == known.clean(said)
    assert known.clean(KEY[:11]) == KEY[:11]


def test_nor_in_what_is_kept_of_an_edit() -> None:
    messages = Messages(request="POST /images/edits", redactor=redactor({"api-key": KEY}, {}, {}))
    messages.feed(json.dumps({"data": [], "note": f"you sent {KEY[:-3]}"}).encode())
    messages.close()
    assert b"you sent [key]" in messages.last_text
    assert KEY[:-3] not in str(messages.failure)


@pytest.mark.parametrize("body", ['{"note": "a\\tb%s\t", "x": %s}', '{"x": %s, "note": "a\\tb%s\t"}'])
def test_an_escaped_key_far_back_in_json_that_is_not_strict_is_found(body: str) -> None:
    key = "sk-a/secret/0123456789"
    escaped = key.replace("/", "\\/")
    parts = ("x" * (600 << 10) + escaped, '"y"') if body.startswith('{"n') else (f'"{"x" * (600 << 10)}"', escaped)
    assert "secret" not in redactor({"api-key": key}, {}, {}).clean(body % parts)


@pytest.mark.parametrize("odd", ["\u0142", "\ud800", "\u20ac"])
async def test_letters_of_any_kind_beside_a_key_break_nothing(odd: str) -> None:
    escaped = json.dumps(odd)[1:-1]
    bodies = (
        f'{{"data": [{{"b64_json": "{b64(b"no picture")}"}}, {{"x": "{escaped} {KEY}"}}]}}',
        f'{{"data": "{escaped} {KEY} %20"}}',
        json.dumps({"data": [{"b64_json": b64(f"{escaped} {KEY.replace('-', '%2d')}".encode())}]}),
        f'{escaped} {KEY} &amp; {{"data": [{{"b64_json": "{escaped}{KEY}"',
    )
    async with answering(*(reply(200, body) for body in bodies)) as server, client_of(server, max_retries=0) as client:
        for _ in bodies:
            with pytest.raises(ChargeUnknownError) as caught:
                await ImageEditor(client).edit(PIXEL, "x")
            assert caught.value.raw
            assert not any(KEY.encode() in raw for raw in caught.value.raw)
    async with (
        answering(reply(200, f'{{"id": "file-1", "filename": "{escaped} {KEY}"}}')) as server,
        client_of(server) as client,
    ):
        assert (await client.send(GET_FILE)).filename == f"{odd} [key]"
    texts = (f'{{"error": {{"message": "{escaped} {KEY}"}}}}', f"no JSON: {escaped} {KEY.replace('-', '%2d')}")
    async with answering(*(reply(400, text) for text in texts)) as server, client_of(server) as client:
        for _ in texts:
            with pytest.raises(BadRequestError, match=r"\[key\]"):
                await client.send(GET_FILE)


def test_bytes_are_kept_as_they_came_where_no_secret_is_in_them() -> None:
    messages = Messages(request="POST /images/edits", redactor=redactor({"api-key": KEY}, {}, {}))
    raw = b"\xff\xfe \\u0142 %F0 &euro; " * 3
    messages.feed(json.dumps({"data": [{"b64_json": b64(raw)}]}).encode())
    messages.close()
    assert [image.content for image in messages.response.data] == [raw]


@pytest.mark.parametrize("depth", [90, 600, 5_000])
async def test_a_picture_beside_what_is_nested_deep_is_not_lost(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    body = f'{{"note": "a&b", "x": {deep}, "data": [{{"y": {deep}, "b64_json": "{b64(PIXEL)}"}}]}}'
    async with answering(reply(200, body)) as server, client_of(server) as client:
        result = await ImageEditor(client).edit(PIXEL, "x")
    assert [image.content for image in result.images] == [PIXEL]
    json.dumps(dict(result.response.extra))


@pytest.mark.parametrize("depth", [90, 600, 5_000, 100_000])
@pytest.mark.parametrize("status", [200, 400])
async def test_no_depth_gives_another_error_than_ours(depth: int, status: int) -> None:
    deep = "[" * depth + "]" * depth
    bodies = [f'{{"id": "x", "note": "a&b", "y": {deep}}}', f'{{"error": {{"message": {deep}, "note": "a&b"}}}}', deep]
    async with answering(*(reply(status, body) for body in bodies)) as server, client_of(server) as client:
        for _ in bodies:
            with suppress(APIError):
                await client.send(GET_FILE)
