"""The whole page: self-contained; its policy allows it to load only pictures (pure)."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from attrs import frozen

from asyncsdk.cli.gallery.card import MEANINGS, WORDS, card, digest
from asyncsdk.cli.gallery.html import isolated, tag, text
from asyncsdk.cli.gallery.item import GalleryItem
from asyncsdk.counts import counted
from asyncsdk.images.costs.money import nanos_of, shown

MARK = '<!doctype html>\n<html lang="en" data-run="'  # how every gallery begins, in each version so far
KEYS = {
    "j k or arrows": "move",
    "f or Enter": "large, again to close",
    "x": "mark as reject, or not",
    "m": "masks on, off",
    "/": "search",
    "s": "save rejects",
}


@frozen
class Dress:
    """The page's own style and script."""

    css: str
    js: str


def gallery_page(items: Iterable[GalleryItem], *, title: str, base: PurePath, dress: Dress) -> Iterator[str]:
    """The page in pieces, to be written one after another as UTF-8.

    `base` is the absolute directory that the page will be in; the items' paths are absolute too, without `..`.
    """
    shown = tuple(items)
    yield f'{MARK}{digest(title, base)}">\n'
    yield tag("head", *_head(title, dress))
    yield "\n<body>\n"
    yield tag("header", *_bar(shown, title), id="bar")
    yield "\n<main>\n"
    for number, item in enumerate(shown, 1):
        yield card(item, number, base) + "\n"
    yield "</main>\n"
    yield tag("p", "Nothing fits this filter.", id="empty", hidden=bool(shown))
    yield _large()
    yield "\n</body>\n</html>\n"


def _head(title: str, dress: Dress) -> Iterator[str]:
    yield '<meta charset="utf-8">'
    policy = tag("meta", http_equiv="Content-Security-Policy", content=_policy(dress))
    yield policy.removesuffix("</meta>")
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
    yield '<link rel="icon" href="data:,">'
    yield tag("title", text(title))
    yield tag("style", dress.css)
    yield tag("script", dress.js)


def _policy(dress: Dress) -> str:
    """Pictures, this one style, this one script: nothing else is loaded, run or sent."""
    return (
        "default-src 'none'; img-src 'self' file: data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{_hash(dress.css)}'; script-src 'sha256-{_hash(dress.js)}'"
    )


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _bar(items: Sequence[GalleryItem], title: str) -> Iterator[str]:
    tokens = sum(item.usage.total_tokens or 0 for item in items if item.usage)
    spent = f" · {counted(tokens, 'token')}" if tokens else ""
    cost = sum(nanos_of(item.cost) for item in items if item.cost)
    spent += f" · {shown(cost)}" if cost else ""
    pictures = sum(len(item.after) for item in items)
    yield tag(
        "div",
        tag("h1", isolated(title)),
        tag("p", f"{counted(len(items), 'edit')} · {counted(pictures, 'picture')}{spent}"),
        class_="title",
    )
    yield tag("div", *_filters(items), class_="filters", role="group", aria_label="Show")
    yield tag("div", *_tools(items), class_="tools")
    yield tag("p", id="told", role="status")


def _filters(items: Sequence[GalleryItem]) -> Iterator[str]:
    counts = Counter(item.status for item in items)
    yield _filter("all", len(items), "every item")
    for status, meaning in MEANINGS.items():
        if counts[status]:
            yield _filter(status, counts[status], meaning)
    yield _filter("rejected", 0, "marked by you")


def _filter(name: str, count: int, meaning: str) -> str:
    counted = tag("span", f"{count:,}")
    pressed = str(name == "all").lower()
    words = {"title": meaning, "aria_pressed": pressed}
    return tag(
        "button",
        WORDS.get(name, name).capitalize(),
        " ",
        counted,
        type="button",
        data_do="show",
        data_show=name,
        **words,
    )


def _tools(items: Sequence[GalleryItem]) -> Iterator[str]:
    words = "Search names and prompts"
    yield f'<input id="search" type="search" placeholder="{words}" aria-label="{words}">'
    if any(isinstance(item.mask, PurePath) for item in items):
        yield tag("button", "Masks", type="button", data_do="masks", aria_pressed="false", title="coloured: kept")
    yield tag("button", "Save rejects", type="button", id="save", data_do="save")
    keys = (tag("div", tag("dt", keys), tag("dd", meaning)) for keys, meaning in KEYS.items())
    yield tag("details", tag("summary", "Keys"), tag("dl", *keys), id="keys")


def _large() -> str:
    buttons = {"back": "Previous", "mark": "Reject", "next": "Next", "large": "Close"}
    row = (tag("button", words, type="button", data_do=do, autofocus=words == "Close") for do, words in buttons.items())
    return tag(
        "dialog",
        tag("header", tag("span", id="place"), tag("h2", id="large-name"), *row),
        tag("div", id="large-item"),
        id="large",
        aria_labelledby="large-name",
    )
