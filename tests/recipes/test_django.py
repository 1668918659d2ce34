"""The recipe for Django, under ASGI and under WSGI."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import aiohttp
import pytest

from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.journal import Part
from tests.faults.support import remembered
from tests.recipes.frameworks import needs, recipe

needs("django", "uvicorn")

import django  # noqa: E402 - where it is installed
from django.conf import settings  # noqa: E402 - where it is installed
from django.core.asgi import get_asgi_application  # noqa: E402 - where it is installed
from django.test import Client, override_settings  # noqa: E402 - where it is installed
from django.urls import path  # noqa: E402 - where it is installed

from tests.recipes.web import served  # noqa: E402 - where it is installed
from tests.waiting import until  # noqa: E402 - beside it

MIB = 1 << 20
CONTENT = b"0123456789abcdef" * (12 * MIB // 16)  # more than Django keeps in memory


@pytest.fixture
def site(asyncsdk_environment: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Django, with the view of the recipe as its only one."""
    monkeypatch.setenv("ASYNCSDK_JOURNAL", str(tmp_path / "journal"))
    urls = ModuleType("urls_of_the_recipe")
    urls.urlpatterns = [path("uploads/<name>", recipe("Django").upload)]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, urls.__name__, urls)
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=urls.__name__, SECRET_KEY="k", USE_TZ=True)
        django.setup()
    yield
    django.urls.clear_url_caches()


def test_it_uploads_under_wsgi(asyncsdk_environment: LocalServer, site: None) -> None:
    for content in (CONTENT, b"a small one"):
        file = io.BytesIO(content)
        file.name = "talk.mp4"
        answer = Client().post(f"/uploads/{len(content)}", {"file": file})
        assert answer.json() == {"id": asyncsdk_environment.files[-1].id, "resumed": 0}
        assert asyncsdk_environment.stored(answer.json()["id"]).read_bytes() == content


@pytest.mark.asyncsdk_server(faults=[Fault("create", "answer", status=400)])
def test_what_the_api_refuses_is_told_to_the_client(asyncsdk_environment: LocalServer, site: None) -> None:
    answer = Client().post("/uploads/a", {"file": io.BytesIO(CONTENT)})
    assert answer.status_code == 422
    assert "400" in answer.json()["error"]


@pytest.mark.asyncsdk_server(faults=[Fault("part", "slow", rate=MIB, nth=2)])
async def test_under_asgi_it_ends_when_the_client_leaves_and_its_next_request_goes_on(
    asyncsdk_environment: LocalServer, site: None, tmp_path: Path
) -> None:
    # Django leaves the closing of the files of such a request to Python
    with override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=2 * len(CONTENT)):
        await leave_and_come_back(tmp_path / "journal")
    assert [call.route for call in asyncsdk_environment.requests].count("create") == 1


async def leave_and_come_back(journal: Path) -> None:
    def form() -> aiohttp.FormData:
        data = aiohttp.FormData()
        data.add_field("file", io.BytesIO(CONTENT), filename="talk.mp4")
        return data

    async with (
        served(get_asgi_application(), lifespan="off") as url,
        aiohttp.ClientSession(url) as session,
        asyncio.timeout(30),
    ):
        posting = asyncio.ensure_future(session.post("/uploads/talk", data=form()))
        await until(lambda: any(isinstance(record, Part) for record in remembered(journal)))
        posting.cancel()
        answer = await (await session.post("/uploads/talk", data=form())).json()
    assert answer["resumed"] > 0
