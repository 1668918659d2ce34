"""The page in a real browser, while the server works: what is seen, what clicks and keys do."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI

from asyncsdk.server import Fault, LocalServer
from tests.browser import CHROMIUM, Page, chromium, tab
from tests.server.batches import body, ended, line, vision_file
from tests.server.edits import picture
from tests.server.support import calling

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

HOSTILE = "</script><img src=x onerror='document.title=1'>\u202e.pdf"
NAMES = "[...document.querySelectorAll('#uploads .row bdi')].map((name) => name.textContent)"
VISIBLE = "[...document.querySelectorAll('section')].filter((one) => one.checkVisibility()).map((one) => one.id)"
LINE = "document.getElementById('line').textContent"
SOLID = "document.querySelectorAll('.row[data-status=pending] .part:not(.coming)').length"
COMING = "parseFloat(document.querySelector('.row[data-status=pending] .part.coming i')?.style.width ?? 0)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with LocalServer() as server:
        yield server


@pytest.fixture
async def client(server: LocalServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="k", base_url=server.url) as client:
        yield client


@pytest.fixture
async def page(browser: str, server: LocalServer) -> AsyncIterator[Page]:
    async with tab(browser) as page:
        await page.open(f"http://127.0.0.1:{server.port}/")
        await page.until(f"{LINE} === 'live'")
        yield page


async def upload(client: AsyncOpenAI, size: int, filename: str = "train.jsonl", part: int = 100_000) -> None:
    await client.uploads.upload_file_chunked(
        file=bytes(size), filename=filename, bytes=size, mime_type="text/plain", purpose="batch", part_size=part
    )


async def edit(client: AsyncOpenAI, prompt: str) -> None:
    await client.images.edit(image=("a.png", io.BytesIO(picture((64, 48)))), prompt=prompt, model="gpt-image-2")


async def test_an_upload_fills_up_part_by_part_while_one_clicks_through(
    page: Page, server: LocalServer, client: AsyncOpenAI
) -> None:
    server.inject(Fault("part", "slow", rate=25_000, nth=2))
    running = asyncio.ensure_future(upload(client, 300_000))
    await page.until(f"{SOLID} === 1 && {COMING} > 0")
    arrived = await page.evaluate(COMING)
    await page.until(f"{COMING} > {arrived}")
    await page.click("#uploads summary")
    assert "300,000" in await page.evaluate("document.querySelector('#uploads .facts').innerText")
    for name in ("uploads", "files", "batches", "edits", "faults", "requests"):
        await page.click(f"[data-view={name}]")
        assert await page.evaluate(VISIBLE) == [name]
        assert await page.evaluate(f"document.querySelector('[data-view={name}]').ariaPressed") == "true"
    await page.press("1")
    assert await page.evaluate(f"{VISIBLE}.length") == 6
    await running
    await page.until("document.querySelector('#uploads .row').dataset.status === 'completed'")
    await page.until("document.querySelectorAll('#files .row').length === 1")
    await page.until("document.querySelectorAll('#requests .row').length === 5")
    await page.until("document.querySelectorAll('#faults .pill.good').length === 1")
    assert await page.evaluate("document.querySelector('#uploads details').open")
    assert page.problems == []
    assert {url.partition("/_page")[0] for url in page.requested} <= {
        f"http://127.0.0.1:{server.port}{end}" for end in ("", "/")
    }


async def test_a_batch_shows_its_requests_that_succeeded_and_that_failed(page: Page, server: LocalServer) -> None:
    async with calling(server) as call:
        good = body(await vision_file(call))
        batch = await ended(call, [line("1", good), line("2", good), line("3", good), line("no", body("file-none"))])
    await page.until("document.querySelector('#batches .pill.good')?.textContent === 'completed'")
    assert await page.evaluate("document.querySelector('#batches .figure').textContent") == "4 of 4"
    widths = "[...document.querySelectorAll('#batches .part')].map((one) => one.style.width)"
    assert await page.evaluate(widths) == ["75%", "25%"]
    await page.click("#batches summary")
    assert batch["output_file_id"] in await page.evaluate("document.querySelector('#batches .facts').innerText")
    assert page.problems == []


async def test_hostile_names_and_prompts_stay_text(page: Page, client: AsyncOpenAI) -> None:
    await upload(client, 10, HOSTILE)
    await edit(client, HOSTILE)
    await page.until("document.querySelectorAll('#uploads .row, #files .row, #edits .edit').length === 3")
    assert await page.evaluate(NAMES) == [HOSTILE]
    assert await page.evaluate("document.querySelector('#edits .caption').textContent") == HOSTILE
    assert await page.evaluate("document.title") == "asyncsdk server"
    assert page.problems == []


async def test_its_policy_stops_what_is_foreign(page: Page) -> None:
    await page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:1/a.png'})),"
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 2'}))"
    )
    await page.until("true")
    assert await page.evaluate("document.title") == "asyncsdk server"
    assert any("img-src" in problem for problem in page.problems)
    assert any("script-src" in problem for problem in page.problems)


async def test_an_edit_is_enlarged_and_closed_with_keys(page: Page, client: AsyncOpenAI) -> None:
    await edit(client, "a beret")
    await page.until(
        "[...document.querySelectorAll('.edit img')].filter((one) => one.naturalWidth === 64).length === 2"
    )
    await page.evaluate("document.querySelector('.edit').focus()")
    await page.press("Enter")
    await page.until("document.querySelector('#large[open] .prompt')?.textContent === 'a beret'")
    await page.press("p", "2")  # keys of the page below it do nothing
    assert await page.evaluate("document.body.dataset.show") == "all"
    await page.press("Escape")
    await page.until("!document.getElementById('large').open")
    await page.until("document.activeElement.className === 'edit'")


async def test_while_it_is_paused_nothing_moves(page: Page, server: LocalServer, client: AsyncOpenAI) -> None:
    await page.press("p")
    await upload(client, 10)
    await page.until("'uploads' in pending && 'requests' in pending")
    assert await page.evaluate(NAMES) == []
    await page.click("#pause")
    assert await page.evaluate(NAMES) == ["train.jsonl"]


async def test_empty_it_tells_where_to_point_a_client(page: Page, server: LocalServer) -> None:
    words = await page.evaluate("document.querySelector('#uploads .empty').innerText")
    assert f"OPENAI_BASE_URL={server.url}" in words
    assert await page.evaluate("[...document.querySelectorAll('.empty')].every((one) => one.checkVisibility())")


async def test_it_follows_the_wish_for_dark_and_every_control_has_a_name(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert await page.evaluate(ground) != light
    tree = (await page.call("Accessibility.getFullAXTree"))["nodes"]
    controls = [node for node in tree if node.get("role", {}).get("value") == "button"]
    assert len(controls) >= 7
    assert [node for node in controls if not node.get("name", {}).get("value")] == []
    await page.press("Tab")
    assert await page.evaluate("document.activeElement.dataset.view") == "all"
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def test_it_says_when_the_server_is_gone(browser: str) -> None:
    async with tab(browser) as page:
        async with LocalServer() as server:
            await page.open(f"http://127.0.0.1:{server.port}/")
            await page.until(f"{LINE} === 'live'")
        await page.until(f"{LINE} === 'no connection'")
