"""The recipes for credentials without a key, against a service that gives tokens as theirs do."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import AsyncUploader, CachedKey, Client, CredentialError
from asyncsdk.server import LocalServer, app
from tests.raw_server import QUICK, RawServer, Talk, reply, serving

RECIPES = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", RECIPES, re.DOTALL)
TOKENS = ["token-one-5f1e", "token-two-9ab3"]


def recipe(name: str) -> Any:
    (example,) = [example for example in EXAMPLES if f"def {name}(" in example]
    names: dict[str, Any] = {}
    exec(example, names)
    return names[name]


@pytest.fixture
async def identity() -> AsyncIterator[RawServer]:
    """Gives the tokens, one after the other."""
    left = iter(TOKENS)

    async def handle(talk: Talk) -> None:
        while True:
            await talk.hear()
            token = next(left, None)
            body = {"access_token": token, "expires_in": 3600}
            is_json = {"content-type": "application/json"}
            await talk.say(reply(503) if token is None else reply(200, body, is_json))

    async with serving(handle) as server:
        yield server


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that the server takes."""
    good = TOKENS[:1]
    key_of = app._key_of  # noqa: SLF001 - the server takes any key, or one for all of its life
    monkeypatch.setattr(app, "_key_of", lambda request: key if (key := key_of(request)) in good else "")
    return good


async def go_through(key: CachedKey, identity: RawServer, good: list[str], tmp_path: Path) -> None:
    """Upload with the first token, with the next one when that is not good any more, and fail when there is none."""
    async with LocalServer(tmp_path / "server") as server, Client(key, base_url=server.url, timing=QUICK) as client:
        uploader = AsyncUploader(client, journal="memory", max_retries=1)
        for content in (b"one", b"two"):
            await uploader.upload(content, purpose="user_data", filename="a.txt")
        assert len(identity.requests) == 1
        good[:] = TOKENS[1:]
        await uploader.upload(b"three", purpose="user_data", filename="b.txt")
        assert len(identity.requests) == 2
        good.clear()
        with pytest.raises(CredentialError, match=r"failed \(ClientResponseError\)") as caught:
            await uploader.upload(b"four", purpose="user_data", filename="c.txt")
        assert not any(token in f"{caught.value!r} {caught.value}" for token in TOKENS)
        assert len(server.files) == 3


async def test_a_service_account_of_kubernetes(identity: RawServer, good: list[str], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("subject\n")
    key = recipe("service_account")("idp_1", "sa_1", exchange=identity.url, file=file)
    await go_through(key, identity, good, tmp_path)
    wanted = json.loads(identity.requests[0].body)
    assert wanted["grant_type"].endswith(":token-exchange")
    assert wanted["subject_token"] == "subject"
    assert (wanted["identity_provider_id"], wanted["service_account_id"]) == ("idp_1", "sa_1")


async def test_a_managed_identity_of_azure(identity: RawServer, good: list[str], tmp_path: Path) -> None:
    await go_through(recipe("managed_identity")(metadata=identity.url), identity, good, tmp_path)
    (first, *_) = identity.requests
    assert first.headers["metadata"] == "true"
    assert first.target.endswith("?api-version=2018-02-01&resource=https://cognitiveservices.azure.com")
