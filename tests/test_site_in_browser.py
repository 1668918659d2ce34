"""The site as a reader has it in a browser: questions lead to their answers, pages fit, and axe-core finds nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.browser import CHROMIUM, Page, chromium, tab
from tests.test_accessibility import AXE, SCREENS, screen, violations

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")]
FIRST = 3  # of the results: more are not read
# what newcomers type, and where the answer is
ANSWERED = {
    "resume in another pod": "questions.html#how-do-i-resume-an-upload-in-another-pod-or-on-another-machine",
    "what does exit 75 mean": "questions.html#what-does-exit-code-75-mean",
    "exit code 75": "commands.html#exit-codes",
    "stop at $50": "edit-many.html#limits",
    "budget": "questions.html#how-do-i-stop-at-50",
    "which errors may I retry?": "errors.html#which-may-be-retried",
    "progress bar in a notebook": "frameworks.html#jupyter-and-pandas",
    "test my code against a 429": "testing-with-asyncsdk.html#with-pytest",
    "half price batches: ledger shared with direct runs": "questions.html#do-batches-share-the-ledger-with-direct-runs",
    "upload from S3 without a local file": "questions.html#how-do-i-upload-from-s3-without-a-local-file",
    "paid but lost": "questions.html#how-do-i-know-that-an-edit-was-paid-but-its-answer-was-lost",
    "azure": "configuration.html#azure-and-compatible-servers",
    "delete old files": "recipes.html#files-that-are-not-needed-any-more",
    "kept after Ctrl-C": "questions.html#what-is-kept-after-ctrl-c-or-a-kill",
    "how much memory": "questions.html#how-much-memory-does-a-large-upload-take",
    "add a row": "questions.html#what-happens-to-ids-and-to-what-is-paid-when-i-add-or-move-a-row",
    "token expires": "questions.html#how-do-i-rotate-a-key-or-go-without-one-keyless",
    "rotate key": "questions.html#how-do-i-rotate-a-key-or-go-without-one-keyless",
    "max_cost": "costs.html#a-limit-in-dollars-max-cost",
    "UploadBusyError": "errors.html#uploadbusyerror",
    "AsyncUploader.resume": "api/uploads.html#asyncuploader-resume",
}
PAGES = ("index", "questions", "errors", "configuration", "reliability", "api/uploads", "search")
TOO_WIDE = """[...document.querySelectorAll('html, .table-wrapper')].filter(
  (one) => one.matches('html') && one.scrollWidth > innerWidth || one.getBoundingClientRect().right > innerWidth
).map((one) => one.className)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with chromium(tmp_path_factory.mktemp("profile")) as address:
        yield address


async def results(page: Page, site: Path, query: str) -> list[str]:
    await page.open(f"{(site / 'search.html').as_uri()}?q={quote(query)}")
    await page.until("document.querySelector('.search-summary')?.textContent")
    links = "[...document.querySelectorAll('ul.search > li > a')].map((link) => link.getAttribute('href'))"
    found: list[str] = json.loads(await page.evaluate(f"JSON.stringify({links})"))
    return found


async def test_a_search_leads_to_the_heading_with_the_answer(browser: str, site: Path) -> None:
    async with tab(browser) as page:
        found = {query: (await results(page, site, query))[:FIRST] for query in ANSWERED}
        assert {query: links for query, links in found.items() if ANSWERED[query] not in links} == {}
        for link in {link for links in found.values() for link in links if "#" in link}:
            name, _, anchor = link.partition("#")
            assert f'id="{anchor}"' in (site / name).read_text()
        assert await results(page, site, "xylophone") == []
        assert page.problems == []


async def test_what_is_searched_for_is_shown_as_text(browser: str, site: Path) -> None:
    async with tab(browser) as page:
        assert await results(page, site, "<img src=x onerror=document.title='run'> proxy")
        assert "run" not in await page.evaluate("document.title")
        assert "…" in await page.evaluate("document.querySelector('ul.search p.context').textContent")
        assert page.problems == []


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: .ci/run does it")
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
async def test_nothing_is_wrong_with_the_pages(browser: str, site: Path, width: int, scheme: str) -> None:
    for name in PAGES:
        query = "?q=proxy" if name == "search" else ""
        async with screen(browser, (site / f"{name}.html").as_uri() + query, width, scheme) as page:
            if query:
                await page.until("document.querySelector('.search-summary')?.textContent")
            assert await page.evaluate(TOO_WIDE) == [], name
            assert await violations(page) == [], name


@pytest.mark.parametrize("width", [width for width, _ in SCREENS])
async def test_no_page_is_wider_than_the_screen(browser: str, site: Path, width: int) -> None:
    async with tab(browser, width=width) as page:
        for path in sorted([*site.glob("*.html"), *site.glob("api/*.html"), site / "benchmarks" / "index.html"]):
            await page.open(path.as_uri())
            assert await page.evaluate(TOO_WIDE) == [], path
