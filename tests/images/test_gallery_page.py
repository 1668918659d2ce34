"""The gallery's page: whatever a user gave stays text, links lead to pictures, and each edit is shown as it ended."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote_to_bytes

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.api import ImageRef
from asyncsdk.cli.gallery import GalleryItem, gallery_item, gallery_page, write_gallery
from asyncsdk.cli.gallery.card import folded
from asyncsdk.cli.gallery.html import link, tag, visible
from asyncsdk.cli.gallery.page import Dress
from asyncsdk.cli.gallery.writing import CHUNK_CHARACTERS
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.models import Usage

OUT = Path("/shop/out")
PLAIN = GalleryItem(
    id="cat", status="done", before=(Path("/shop/in/cat.png"),), after=(OUT / "cat.png",), prompt="a hat"
)
HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "--><style>",
    "a\u202etxt.exe",
    "\0\r\x1b",
)
ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.sampled_from(HOSTILE)


@define(eq=False)
class Seen(HTMLParser):
    """What a reader of the page finds: its tags with their attributes, and the text within each kind of tag."""

    tags: list[tuple[str, dict[str, str]]] = field(factory=list)
    texts: dict[str, str] = field(factory=dict)
    inside: list[str] = field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, {key: value or "" for key, value in attributes}))
        self.inside.append(name)

    def handle_endtag(self, name: str) -> None:
        while self.inside.pop() != name:
            pass

    def handle_data(self, data: str) -> None:
        for name in self.inside:
            self.texts[name] = self.texts.get(name, "") + data

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.tags if found == name]


def seen(*items: GalleryItem, title: str = "run") -> Seen:
    found = Seen()
    dress = Dress("p { margin: 0 }", "let seen;")
    found.feed("".join(gallery_page(items, title=title, base=OUT, dress=dress)))
    found.close()
    return found


def shape(name: str, prompt: str, message: str) -> tuple[Seen, list[str]]:
    problem = Problem(type="Refused", message=message)
    item = GalleryItem(id=name, status="refused", prompt=prompt, problem=problem, settings={"size": message})
    found = seen(item, title=name)
    return found, [element for element, _ in found.tags]


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_any_text_stays_text_and_changes_nothing_else(name: str, prompt: str, message: str) -> None:
    tame = "y " * 400 if folded(prompt)[1] else "y" if prompt else ""
    found, elements = shape(name, prompt, message)
    assert elements == shape("x", tame, "z")[1]
    assert found.texts.get("title", "") == visible(name)
    assert visible(name) in found.texts["article"]
    assert visible(message) in found.texts["article"]


@given(ANY_TEXT)
def test_a_reject_names_the_edit_to_the_letter(name: str) -> None:
    [article] = seen(evolve(PLAIN, id=name)).all("article")
    assert json.loads(article["data-redo"]) == {"id": name}
    assert "\n" not in article["data-redo"]


@given(st.text())
def test_a_prompt_is_whole_folded_or_not(prompt: str) -> None:
    beginning, rest = folded(prompt)
    assert beginning + rest == prompt
    assert bool(beginning) == bool(prompt)


@pytest.mark.parametrize("prompt", ["long words " * 60, "x" * 1000, "line\n" * 9])
def test_a_long_prompt_is_folded_and_still_all_there(prompt: str) -> None:
    beginning, rest = folded(prompt)
    assert rest
    assert len(beginning) < 260
    assert prompt in seen(evolve(PLAIN, prompt=prompt)).texts["article"]


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_a_link_leads_to_the_picture_whatever_it_is_called(names: list[str]) -> None:
    safe = [name if name not in {".", ".."} else "x" for name in names]
    found = link(PurePosixPath("/shop/in", *safe), PurePosixPath("/shop/out/here"))
    assert re.fullmatch(r"[A-Za-z0-9%/._~-]+", found)
    assert unquote_to_bytes(found) == b"../../in/" + "/".join(safe).encode()


def test_links_go_from_the_page_to_the_picture() -> None:
    assert link(PurePosixPath("/shop/out/a b#1%?.png"), PurePosixPath("/shop/out")) == "a%20b%231%25%3F.png"
    assert link(PurePosixPath("/photos/ä.png"), PurePosixPath("/shop/out")) == "../../photos/%C3%A4.png"
    assert link(PurePosixPath("/shop/out/c:d.png"), PurePosixPath("/shop/out")) == "c%3Ad.png"
    assert link(PurePosixPath("/shop/out/\udcff.png"), PurePosixPath("/shop/out")) == "%FF.png"


def test_on_another_drive_the_link_is_absolute() -> None:
    base = PureWindowsPath("C:/Shop/out")
    assert link(PureWindowsPath("c:/shop/IN/a b.png"), base) == "../IN/a%20b.png"
    assert link(PureWindowsPath("D:/in/a b.png"), base) == "file:///D:/in/a%20b.png"


def test_the_policy_allows_this_style_and_this_script_and_pictures_alone() -> None:
    found = seen(PLAIN)
    [policy] = [meta["content"] for meta in found.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    for kind, content in (("style-src", found.texts["style"]), ("script-src", found.texts["script"])):
        wanted = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind} 'sha256-{wanted}'" in policy
    assert policy.startswith("default-src 'none'; img-src 'self' file: data:;")
    keys = {key for _, attributes in found.tags for key in attributes}
    assert [key for key in keys if key.startswith("on") or key == "style"] == []


@pytest.mark.parametrize("name", ["cat.svg", "cat.SVG", "cat.svgz", "cat.html", "cat.xml", "cat.bin", "cat"])
def test_what_a_browser_might_run_is_shown_as_an_image_and_linked_from_nowhere(name: str) -> None:
    found = seen(evolve(PLAIN, after=(OUT / name,), mask=OUT / f"mask-{name}"))
    sources = {image.get("src") for image in found.all("img")}
    assert {name, f"mask-{name}"} <= sources
    assert [link for _, link in found.tags if link.get("href", "").endswith(name)] == []
    assert {"object", "embed", "iframe", "svg", "frame"}.isdisjoint(element for element, _ in found.tags)


@pytest.mark.parametrize("name", ["cat.png", "cat.JPG", "cat.jpeg", "cat.webp", "cat.gif"])
def test_pictures_of_pixels_can_be_opened_from_the_page(name: str) -> None:
    links = seen(evolve(PLAIN, after=(OUT / name,))).all("a")
    assert name in {found.get("href") for found in links}


def test_pictures_load_when_they_come_near() -> None:
    images = seen(PLAIN).all("img")
    assert [image["src"] for image in images] == ["../in/cat.png", "cat.png"]
    assert {(image["loading"], image["decoding"]) for image in images} == {("lazy", "async")}


def test_references_masks_and_several_results_are_all_shown() -> None:
    before = (Path("/shop/in/cat.png"), "file-7", Path("/shop/in/hat.png"))
    after = tuple(OUT / f"cat{number}.png" for number in range(5))
    found = seen(evolve(PLAIN, before=before, after=after, mask=Path("/shop/mask.png")))
    assert len(found.all("img")) == 3 + 5
    assert [image["src"] for image in found.all("img") if image.get("class") == "mask"] == ["../mask.png"]
    assert [box["data-grid"] for box in found.all("div") if "data-grid" in box] == ["2", "3"]
    assert "before (3) cat.png, file-7, hat.png" in found.texts["figcaption"]
    assert "Masks" in found.texts["button"]


def test_a_mask_without_a_file_is_told_and_can_not_be_laid_over() -> None:
    found = seen(evolve(PLAIN, mask="68 bytes"))
    assert "68 bytes" in found.texts["dd"]
    assert "Masks" not in found.texts["button"]


def test_settings_tokens_and_time_stand_below() -> None:
    usage = Usage(total_tokens=1234, input_tokens=234, output_tokens=1000)
    settings = {"model": "gpt-image-1", "n": 2, "svg": {"model": "ä"}}
    found = seen(evolve(PLAIN, settings=settings, usage=usage, at=0.0), evolve(PLAIN, usage=Usage(total_tokens=1)))
    for told in ("gpt-image-1", '{"model": "ä"}', "1,234 (234 in, 1,000 out)", "1970-01-01 00:00 UTC"):
        assert told in found.texts["dd"]
    assert "2 edits · 2 pictures · 1,235 tokens" in found.texts["p"]


def test_an_error_tells_all_that_is_known_of_it() -> None:
    problem = Problem(
        type="ModerationBlockedError",
        message="refused",
        code="moderation_blocked",
        status_code=400,
        request_id="req_1",
        moderation={"stage": "input", "categories": ["violence", "hate"]},
    )
    told = seen(GalleryItem(id="a", status="refused", problem=problem)).texts["article"]
    for word in ("ModerationBlockedError", "refused", "moderation_blocked", "400", "req_1", "input", "violence, hate"):
        assert word in told
    assert "Refused" in told
    assert "No picture" in told


def test_filters_count_each_status_that_there_is() -> None:
    found = seen(PLAIN, evolve(PLAIN, status="failed"), evolve(PLAIN, status="failed"))
    shown = [button["data-show"] for button in found.all("button") if "data-show" in button]
    assert shown == ["all", "done", "failed", "rejected"]
    assert "Failed 2" in found.texts["button"]
    assert "Done before 1" in seen(evolve(PLAIN, status="skipped")).texts["button"]


def test_a_page_without_edits_says_so() -> None:
    assert "hidden" not in seen().all("p")[-1]
    assert "hidden" in seen(PLAIN).all("p")[-1]


def test_a_mark_holds_for_an_edit_until_it_is_made_anew() -> None:
    def stamp(item: GalleryItem) -> str:
        return seen(item).all("article")[0]["data-stamp"]

    first = evolve(PLAIN, at=1.0)
    assert stamp(first) == stamp(evolve(first, status="skipped"))
    assert len({stamp(first), stamp(evolve(first, at=2.0)), stamp(evolve(first, id="other"))}) == 3
    assert seen(title="a").all("html") != seen(title="b").all("html")


def test_an_outcome_is_shown_without_its_bytes() -> None:
    file = io.BytesIO(b"picture")
    file.name = 7  # what a file opened by its descriptor has
    images = ("in/a.png", b"12345", file, ImageRef(file_id="file-1"), ImageRef(image_url="data:image/png;base64,AAAA"))
    edit = ImageEdit(image=images, prompt="x", model="m", n=2, mask=Path("mask.png"), extra={"new": 1}, id="mine")
    problem = Problem(type="X", message="said no")
    item = gallery_item(EditOutcome(edit=edit, id="a", status="refused", problem=problem), at=3.0)
    assert item.before == (Path("in/a.png"), "5 bytes", "BytesIO", "file-1", "an image_url")
    assert item.mask == Path("mask.png")
    assert item.settings == {"model": "m", "n": 2, "new": 1}
    assert (item.prompt, item.problem, item.at) == ("x", problem, 3.0)
    assert gallery_item(EditOutcome(edit=evolve(edit, mask=None), id="a", status="done")).mask is None


def test_an_open_file_is_shown_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with (tmp_path / "a.png").open("rb") as file:
        outcome = EditOutcome(edit=ImageEdit(image=file, prompt="x"), id="a", status="done")
    assert gallery_item(outcome).before == (tmp_path / "a.png",)


def test_false_attributes_are_left_out() -> None:
    assert tag("p", hidden=False) == "<p></p>"
    assert tag("p", hidden=True, class_='"') == '<p hidden class="&quot;"></p>'


async def test_it_is_written_with_links_from_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    item = evolve(PLAIN, before=(Path("in/../in/a.png"),), after=(Path("out/a.png"),), mask="5 bytes")
    await write_gallery("out/new/index.html", [item, evolve(item, mask=Path("m.png"))], title="t")
    found = Seen()
    found.feed((tmp_path / "out/new/index.html").read_text("utf-8"))
    assert [image["src"] for image in found.all("img")][:2] == ["../../in/a.png", "../a.png"]
    assert [path.name for path in (tmp_path / "out/new").iterdir()] == ["index.html"]


async def test_a_large_page_is_written_piece_by_piece_and_whole(tmp_path: Path) -> None:
    items = [evolve(PLAIN, id=str(number), prompt="ü" * 30_000) for number in range(80)]
    await write_gallery(tmp_path / "a.html", iter(items), title="t")
    written = (tmp_path / "a.html").read_text("utf-8")
    assert len(written) > 2 * CHUNK_CHARACTERS
    assert written.count("<article") == 80
    assert written.endswith("</html>\n")


async def test_what_breaks_off_leaves_the_page_of_before(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("before")
    with pytest.raises(OverflowError):
        await write_gallery(tmp_path / "a.html", [PLAIN, evolve(PLAIN, at=1e30)], title="t")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.html", "before")]


async def test_its_own_style_and_script_end_no_element_early(tmp_path: Path) -> None:
    await write_gallery(tmp_path / "a.html", [PLAIN], title="t")
    text = (tmp_path / "a.html").read_text("utf-8")
    assert text.count("</script") == 1
    assert text.count("</style") == 1
    assert "http://" not in text
    assert "https://" not in text
