"""The gallery and the page of the server as axe-core judges them: wide and in light colours, narrow and in dark."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from PIL import Image

from asyncsdk.cli.gallery import GalleryItem, write_gallery
from asyncsdk.cli.gallery.card import MEANINGS
from asyncsdk.images.outcome import Problem
from asyncsdk.server import Fault, LocalServer
from tests.browser import CHROMIUM, Page, chromium, tab
from tests.clients.test_clients import HERE as CLIENTS
from tests.stories.pictures import png

AXE = CLIENTS / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: .ci/run does it"),
]
SCREENS = [(1280, "light"), (400, "dark")]  # contrast does not depend on the width, nor places on the colours


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


@asynccontextmanager
async def screen(browser: str, url: str, width: int, scheme: str) -> AsyncIterator[Page]:
    async with tab(browser, width=width) as page:
        await page.call("Page.setBypassCSP", enabled=True)  # axe-core is not of the page
        wish = [{"name": "prefers-color-scheme", "value": scheme}]
        await page.call("Emulation.setEmulatedMedia", features=wish)
        await page.open(url)
        await page.evaluate(AXE.read_text() + ";0")
        yield page


# what is cut off to the left of the screen, or to be scrolled to sideways
ASIDE = """[...document.querySelectorAll('#keys dl, .list, html')].filter((one) => {
  const { left, right } = one.getBoundingClientRect();
  return one.checkVisibility() && (left < 0 || right > innerWidth || one.scrollWidth > one.clientWidth);
}).map((one) => one.parentElement?.id)"""


async def violations(page: Page) -> list[Any]:
    assert await page.evaluate(ASIDE) == []
    words = "violations.map((one) => [one.id, one.nodes.map((node) => node.target)])"
    found: list[Any] = json.loads(await page.evaluate(f"axe.run().then(({{ violations }}) => JSON.stringify({words}))"))
    return found


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
async def test_nothing_is_wrong_with_the_gallery(browser: str, tmp_path: Path, width: int, scheme: str) -> None:
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "a.png")
    a = tmp_path / "a.png"
    problem = Problem(
        type="RateLimitError", message="too many", code="rate_limit", status_code=429, request_id="r" * 40
    )
    items = [
        GalleryItem(id=status, status=status, before=(a,), after=(a,), mask=a, prompt="a hat " * 90, problem=problem)
        for status in MEANINGS
    ]
    await write_gallery(tmp_path / "index.html", items, title="Run")
    async with screen(browser, (tmp_path / "index.html").as_uri(), width, scheme) as page:
        await page.press("j", "x", "j")
        assert await violations(page) == []
        await page.click("#keys summary")
        assert await violations(page) == []
        await page.click("#keys summary")
        await page.evaluate("document.activeElement.blur()")
        await page.press("f")
        await page.until("document.getElementById('large').open")
        assert await violations(page) == []


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
async def test_nothing_is_wrong_with_the_page_of_the_server(browser: str, width: int, scheme: str) -> None:
    async with LocalServer() as server, AsyncOpenAI(api_key="k", base_url=server.url) as client:
        server.inject(Fault("files.list", "answer", status=503, times=1))
        await client.files.list()
        for number in range(30):  # more than its list has room for
            await client.files.create(file=(f"{number}.txt", b"a"), purpose="assistants")
        await client.images.edit(image=("a.png", png(1)), prompt="a hat", model="gpt-image-2")
        async with screen(browser, f"http://127.0.0.1:{server.port}/", width, scheme) as page:
            await page.until("document.querySelectorAll('.edit').length === 1")
            assert await violations(page) == []
            for opened in ("#files summary", "#keys summary"):
                await page.click(opened)
            assert await violations(page) == []
            await page.click("#keys summary")
            await page.click(".edit")
            await page.until("document.getElementById('large').open")
            assert await violations(page) == []
