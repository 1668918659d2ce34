"""The gallery in a real browser: what is shown, what keys do, what is kept and what is saved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from PIL import Image

from asyncsdk.cli.gallery import GalleryItem, write_gallery
from asyncsdk.images.outcome import Problem
from tests.browser import CHROMIUM, Page, chromium, tab

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

HOSTILE = "</script><img src=x onerror='document.title=1'>\"\u202e\u00e9#%"
CURRENT = "document.querySelector('[aria-current] h2')?.textContent"
SHOWN = "[...document.querySelectorAll('main > article:not([hidden]) h2')].map((name) => name.textContent)"
REJECTED = "[...document.querySelectorAll('article.rejected h2')].map((name) => name.textContent)"
TOLD = "document.getElementById('told').textContent"
# asked of whole items first: a question about what is inside makes the browser lay out what nobody sees
IN_VIEW = """[...document.querySelectorAll('main > article')].filter((item) => {
  const box = item.getBoundingClientRect();
  return box.top < innerHeight && box.bottom > 0;
}).flatMap((item) => [...item.querySelectorAll('img:not(.mask)')])"""


def picture(path: Path, color: tuple[int, ...] = (200, 60, 60, 255)) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGBA", (64, 48), color).save(path)
    return path


def edits(folder: Path) -> list[GalleryItem]:
    before = picture(folder / "in" / "a b#1%ü.png")
    mask = picture(folder / "in" / "mask.png", (0, 0, 0, 0))
    after = tuple(picture(folder / "out" / f"cat{number}.png") for number in range(2))
    done = GalleryItem(id="cat", status="done", before=(before, "file-1"), after=after, mask=mask, prompt="A red Hat")
    problem = Problem(type="ModerationBlockedError", message="not that")
    return [
        done,
        GalleryItem(id=HOSTILE, status="refused", before=(before,), prompt=HOSTILE * 9, problem=problem),
        GalleryItem(id="dog", status="done", before=(before,), after=(folder / "gone.png",), prompt="a blue hat"),
    ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


@pytest.fixture
async def page(browser: str, tmp_path: Path) -> AsyncIterator[Page]:
    await write_gallery(tmp_path / "out" / "index.html", edits(tmp_path), title="Run")
    async with tab(browser) as page:
        await page.open((tmp_path / "out" / "index.html").as_uri())
        yield page


async def test_it_shows_its_pictures_and_loads_nothing_else(page: Page) -> None:
    await page.until(f"{IN_VIEW}.filter((image) => image.naturalWidth === 64).length === 5")
    await page.until("document.querySelectorAll('.missing').length === 1")
    assert await page.evaluate(SHOWN) == ["cat", HOSTILE, "dog"]
    assert await page.evaluate("document.title") == "Run"
    assert {url for url in page.requested if not url.startswith(("file://", "data:"))} == set()
    assert [problem for problem in page.problems if "ERR_FILE_NOT_FOUND" not in problem] == []


async def test_its_policy_stops_what_is_foreign(page: Page) -> None:
    await page.evaluate(
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:1/a.png'})),"
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 2'}))"
    )
    await page.until("true")
    assert await page.evaluate("document.title") == "Run"
    assert any("img-src" in problem for problem in page.problems)
    assert any("script-src" in problem for problem in page.problems)


async def test_keys_move_and_mark_and_the_rejects_are_saved_for_redo(page: Page, tmp_path: Path) -> None:
    await page.downloads_into(tmp_path / "saved")
    await page.press("s")
    assert await page.evaluate(TOLD) == "Nothing is marked: x marks an item as reject."
    await page.press("j", "x", "ArrowRight", "x", "j", "x", "x", "k")
    assert await page.evaluate(CURRENT) == HOSTILE
    assert await page.evaluate(REJECTED) == ["cat", HOSTILE]
    await page.press("s")
    await page.downloaded()
    lines = (tmp_path / "saved" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "cat"}, {"id": HOSTILE}]


async def test_marks_survive_a_reload_but_not_an_edit_made_anew(page: Page, tmp_path: Path) -> None:
    path, items = tmp_path / "out" / "index.html", edits(tmp_path)
    first, *others = items
    for _ in range(3):
        await page.press("j", "x", "j", "x")
        await page.open(path.as_uri())
        if not await page.evaluate("localStorage.length"):
            continue  # the browser itself lost all that it was to keep: once more
        assert await page.evaluate(REJECTED) == ["cat", HOSTILE]
        await write_gallery(path, [evolve(first, at=1.0), *others], title="Run")
        await page.open(path.as_uri())
        if await page.evaluate("localStorage.length"):
            break
        await write_gallery(path, items, title="Run")
        await page.open(path.as_uri())
    assert await page.evaluate(REJECTED) == [HOSTILE]


async def test_without_storage_marks_last_as_long_as_the_page_and_it_says_so(page: Page, tmp_path: Path) -> None:
    broken = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }})"
    await page.call("Page.addScriptToEvaluateOnNewDocument", source=broken)
    await page.open((tmp_path / "out" / "index.html").as_uri())
    await page.press("j", "x")
    assert await page.evaluate(REJECTED) == ["cat"]
    assert "save them before you leave" in await page.evaluate(TOLD)
    assert page.problems == [problem for problem in page.problems if "ERR_FILE_NOT_FOUND" in problem]


async def test_filters_and_search_show_what_fits(page: Page) -> None:
    await page.click("[data-show=done]")
    assert await page.evaluate(SHOWN) == ["cat", "dog"]
    await page.press("/", *"HAT", " ", *"red")
    assert await page.evaluate(SHOWN) == ["cat"]
    assert await page.evaluate(TOLD) == "1 of 3 shown, 0 rejected."
    await page.press("Escape", "j", "x")
    await page.evaluate("search.value = ''")
    await page.click("[data-show=rejected]")
    assert await page.evaluate(SHOWN) == ["cat"]
    await page.press("x")
    await page.click("[data-show=rejected]")
    assert await page.evaluate(SHOWN) == []
    assert await page.evaluate("document.getElementById('empty').checkVisibility()")


async def test_the_large_view_opens_moves_marks_and_closes(page: Page) -> None:
    name = "document.querySelector('#large[open] #large-name')?.textContent"
    await page.press("j", "Enter")
    assert await page.evaluate(name) == "cat"
    await page.press("j", "x", "f")
    assert await page.evaluate(name) is None
    assert await page.evaluate(REJECTED) == [HOSTILE]
    await page.until("document.activeElement === document.querySelector('[aria-current]')")
    await page.press("f", "Escape")
    await page.until("!document.getElementById('large').open")


async def test_a_click_enlarges_the_edit_and_another_one_picture_alone(page: Page) -> None:
    await page.click("article .after .box")
    assert await page.evaluate("document.querySelectorAll('#large .box:not(.nothing)').length") == 3
    await page.click("#large .after .box")
    alone = "[...document.querySelectorAll('#large .box')].filter((box) => box.checkVisibility()).length"
    assert await page.evaluate(alone) == 1
    await page.click("#large .solo")
    assert await page.evaluate(alone) == 4


async def test_masks_are_laid_over_the_first_picture(page: Page) -> None:
    shown = "[...document.querySelectorAll('main img.mask')].filter((one) => one.checkVisibility()).length"
    assert await page.evaluate(shown) == 0
    await page.press("m")
    assert await page.evaluate(shown) == 1
    assert await page.evaluate("document.querySelector('[data-do=masks]').ariaPressed") == "true"
    await page.click("[data-do=masks]")
    assert await page.evaluate(shown) == 0


async def test_nothing_jumps_when_pictures_arrive(page: Page) -> None:
    tops = "[...document.querySelectorAll('article')].map((item) => item.getBoundingClientRect().top)"
    await page.until(f"{IN_VIEW}.filter((image) => image.naturalWidth).length === 5")
    loaded = await page.evaluate(tops)
    await page.evaluate("for (const image of document.images) image.removeAttribute('src')")
    assert await page.evaluate(tops) == loaded


async def test_without_scripts_everything_is_there(page: Page, tmp_path: Path) -> None:
    await page.call("Emulation.setScriptExecutionDisabled", value=True)
    await page.open((tmp_path / "out" / "index.html").as_uri())
    assert await page.evaluate(SHOWN) == ["cat", HOSTILE, "dog"]
    seen = "[...document.querySelectorAll('{}')].filter((one) => one.checkVisibility()).length"
    assert await page.evaluate(seen.format("main .box")) == 8
    assert await page.evaluate(seen.format(".tools, .mark, dialog")) == 0


async def test_every_control_has_a_name_and_can_be_reached(page: Page) -> None:
    controls: list[dict[str, Any]] = []
    async with asyncio.timeout(60):  # the browser makes its tree some time after the page
        while len(controls) <= 10:
            tree = (await page.call("Accessibility.getFullAXTree"))["nodes"]
            controls = [node for node in tree if node.get("role", {}).get("value") in {"button", "link", "searchbox"}]
    assert [node for node in controls if not node.get("name", {}).get("value")] == []
    await page.press("Tab")
    assert await page.evaluate("document.activeElement.dataset.show") == "all"
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def test_a_thousand_edits_load_only_what_is_seen(browser: str, tmp_path: Path) -> None:
    one, items = picture(tmp_path / "one.png"), []
    for number in range(1000):
        path = tmp_path / f"{number}.png"
        path.hardlink_to(one)
        items.append(GalleryItem(id=f"{number:04}", status="done", before=(path,), after=(path,)))
    await write_gallery(tmp_path / "a.html", items, title="Run")
    async with tab(browser) as page:
        await page.open((tmp_path / "a.html").as_uri())
        await page.until(f"{IN_VIEW}.every((image) => image.naturalWidth)")
        assert 6 < len(page.requested) < 100
        await page.evaluate("document.querySelector('#item-990').scrollIntoView()")
        await page.press("j", "x")
        await page.until(f"{IN_VIEW}.length > 0 && {IN_VIEW}.every((image) => image.naturalWidth)")
        assert await page.evaluate(CURRENT) > "0950"
        assert await page.evaluate(REJECTED) == [await page.evaluate(CURRENT)]
        assert len(page.requested) < 200
