"""The gallery shows each edit, and whatever is in ids and prompts stays text."""

from __future__ import annotations

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.api import ImageRef
from asyncsdk.cli.gallery import GalleryItem, gallery_item, gallery_page, write_gallery
from asyncsdk.cli.gallery.page import Dress
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.models import Usage
from tests.stories.pictures import photo

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def item(name: str = "a", prompt: str = "a beret", **known: Any) -> GalleryItem:
    return GalleryItem(**{"id": name, "status": "done", "before": (Path("/p/a b#.png"),), "prompt": prompt, **known})


def page_of(*items: GalleryItem, title: str = "out", base: str = "/p/out") -> str:
    return "".join(gallery_page(items, title=title, base=Path(base), dress=Dress("", "")))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_stays_text(name: str, prompt: str) -> None:
    read = Reader(page_of(item(name, prompt), title=prompt))
    [article] = read.all("article")
    assert json.loads(article["data-redo"] or "")["id"] == name
    assert len(read.all("script")) == 1


def test_a_hostile_id_can_not_break_out() -> None:
    page = page_of(item('"><script>alert(1)</script>', "</script><img src=x>"), title="</title>")
    assert len(Reader(page).all("script")) == 1
    assert "<script>alert" not in page
    assert [image["src"] for image in Reader(page).all("img") if image.get("src") == "x"] == []


def test_pictures_are_loaded_lazily_from_beside_the_page() -> None:
    images = [image for image in Reader(page_of(item())).all("img") if image.get("src")]
    assert [image["src"] for image in images] == ["../a%20b%23.png"]
    assert images[0]["loading"] == "lazy"


def test_an_outcome_is_shown_with_its_cost_and_its_error() -> None:
    edit = ImageEdit(image=[b"bytes", ImageRef(file_id="file-1")], prompt="x" * 2000, model="m", mask="/p/mask.png")
    problem = Problem(
        type="X",
        message="it was refused",
        request_id="req_1",
        moderation={"stage": "input", "categories": ["violence"]},
    )
    usage = Usage(total_tokens=7, input_tokens=3, output_tokens=4)
    outcome = EditOutcome(edit=edit, id="a", status="refused", problem=problem, usage=usage)
    page = page_of(gallery_item(outcome, at=1_790_000_000.0))
    for shown in ("5 bytes", "file-1", "it was refused", "req_1", "mask.png", "violence", ">m<", "7"):
        assert shown in page


async def test_the_page_is_written_whole_with_links_from_where_it_is(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", (8, 8))
    known = [
        item(str(number), "x" * 3000, before=(tmp_path / "a.png",), mask=tmp_path / "a.png") for number in range(500)
    ]
    await write_gallery(tmp_path / "deep" / "index.html", known, title="out")
    read = Reader((tmp_path / "deep" / "index.html").read_text())
    assert len(read.all("article")) == 500
    assert {image["src"] for image in read.all("img") if image.get("src")} == {"../a.png"}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_a_browser_runs_it(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    items = [item(str(number), before=(tmp_path / "a.png",), after=(tmp_path / "a.png",)) for number in range(50)]
    await write_gallery(tmp_path / "index.html", [*items, item("bad", status="failed")], title="out")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000", "--dump-dom"]
    page = (tmp_path / "index.html").as_uri()
    ran = subprocess.run([*command, page], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "51 of 51 shown, 0 rejected" in ran.stdout
