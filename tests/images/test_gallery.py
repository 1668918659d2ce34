"""The gallery shows each edit, and whatever is in ids and prompts stays text."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.gallery import GalleryItem, gallery_item, gallery_page, write_gallery
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.models import Usage
from tests.stories.pictures import photo

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def item(name: str = "a", prompt: str = "a beret", **known: object) -> GalleryItem:
    return GalleryItem(
        **{"id": name, "status": "done", "before": (Path("/p/a b#.png"),), "after": (), "prompt": prompt, **known}  # type: ignore[arg-type]  # by name
    )


@given(st.text(), st.text())
def test_any_text_stays_text(name: str, prompt: str) -> None:
    tags = read(gallery_page([item(name, prompt)], title=prompt, base=Path("/p"))).tags
    [article] = [attributes for tag, attributes in tags if tag == "article"]
    assert (article["data-id"] or "") == name.replace("\r\n", "\n").replace("\r", "\n") or "\r" in name or "\0" in name
    assert [tag for tag, _ in tags].count("script") == 1


def test_a_hostile_id_can_not_break_out() -> None:
    page = gallery_page(
        [item('"><script>alert(1)</script>', "</script><img src=x>")], title="</title>", base=Path("/p")
    )
    assert [tag for tag, _ in read(page).tags].count("script") == 1
    assert "alert(1)</script>" not in page


def test_pictures_are_loaded_lazily_from_beside_the_page() -> None:
    images = [
        attributes
        for tag, attributes in read(gallery_page([item()], title="t", base=Path("/p/out"))).tags
        if tag == "img"
    ]
    assert [image["src"] for image in images] == ["../a%20b%23.png"]
    assert images[0]["loading"] == "lazy"


def test_an_outcome_is_shown_with_its_cost_and_its_error() -> None:
    edit = ImageEdit(image=b"bytes", prompt="x", model="m", mask="mask.png")
    problem = Problem(type="X", message="it was refused", request_id="req_1")
    outcome = EditOutcome(edit=edit, id="a", status="refused", problem=problem, usage=Usage(total_tokens=7))
    page = gallery_page([gallery_item(outcome)], title="t", base=Path())
    for shown in ("5 bytes", "it was refused", "req_1", "mask.png", "<dd>m</dd>", "<dd>7</dd>"):
        assert shown in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_a_browser_shows_it_and_filters(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    items = [item(str(number), before=(tmp_path / "a.png",), after=(tmp_path / "a.png",)) for number in range(50)]
    await write_gallery(tmp_path / "index.html", [*items, item("bad", status="failed")], title="out")
    page = tmp_path / "index.html"
    page.write_text(page.read_text().replace("keep();\nsift();", "keep();\nsift();\ngo(0);\nmark(items[0]);\n"))
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"]
    ran = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    articles = [attributes for tag, attributes in read(ran.stdout).tags if tag == "article"]
    assert len(articles) == 51
    assert "rejected" in (articles[0]["class"] or "")
