"""One edit of the gallery as HTML: pictures, prompt, settings, and tokens or error (pure)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import PurePath
from typing import Any

from asyncsdk.cli.gallery.html import image, isolated, link, tag, text
from asyncsdk.cli.gallery.item import GalleryItem, Shown
from asyncsdk.cli.pictures import is_shown
from asyncsdk.images.costs.money import nanos_of, shown
from asyncsdk.images.outcome import Problem, Status
from asyncsdk.models import Usage

MEANINGS: dict[Status, str] = {
    "done": "the pictures are saved",
    "skipped": "done by an earlier run",
    "batched": "in a batch that has not ended; the same command saves what is done",
    "failed": "nothing was paid; the same command tries again",
    "refused": "not accepted, and not sent again",
    "uncertain": "it may have been paid: its response was lost, or not all of it is saved",
}
WORDS: dict[str, str] = {**{name: name for name in MEANINGS}, "skipped": "done before", "batched": "in a batch"}
# what a browser can open by itself without running a program, as it would for an SVG
_PIXELS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
FOLD_CHARACTERS, FOLD_LINES = 240, 5  # the beginning of a prompt that is always shown


def card(item: GalleryItem, number: int, base: PurePath) -> str:
    """The item as an article; `data-redo` is what the page's script saves for a reject."""
    heading = tag("h2", isolated(item.id), id=f"name-{number}")
    status = tag("span", WORDS[item.status], class_="status", title=MEANINGS[item.status])
    reject = tag("button", "Reject", type="button", class_="mark", data_do="mark", aria_pressed="false")
    return tag(
        "article",
        tag("header", status, heading, reject),
        tag("div", *_sides(item, base), class_="sides"),
        *_prompt(item.prompt),
        *([_problem(item.problem)] if item.problem else []),
        _facts(item, base),
        id=f"item-{number}",
        aria_labelledby=f"name-{number}",
        tabindex="-1",
        data_status=item.status,
        data_redo=json.dumps({"id": item.id}),
        data_stamp=digest(item.id, item.at if item.version is None else item.version),
    )


def digest(*parts: object) -> str:
    """A short hash of these values."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def _sides(item: GalleryItem, base: PurePath) -> Iterator[str]:
    masks = chain([item.mask], repeat(None))  # the API lays the mask over the first picture
    before = [_picture(shown, base, "before", mask) for shown, mask in zip(item.before, masks, strict=False)]
    after = [_picture(path, base, "after") for path in item.after]
    yield _side("before", item.before, before or [_nothing("No picture")])
    yield _side("after", item.after, after or [_nothing(WORDS[item.status].capitalize())])


def _side(name: str, pictures: Sequence[Shown], boxes: Sequence[str]) -> str:
    names = [shown.name if isinstance(shown, PurePath) else str(shown) for shown in pictures]
    count = f" ({len(names)})" if len(names) > 1 else ""
    caption = tag("figcaption", tag("b", name + count), " ", isolated(", ".join(names)))
    grid = str(math.ceil(math.sqrt(len(boxes))))
    return tag("figure", tag("div", *boxes, class_="boxes", data_grid=grid), caption, class_=name)


def _picture(shown: Shown, base: PurePath, side: str, mask: Shown | None = None) -> str:
    if not isinstance(shown, PurePath):
        return _nothing(str(shown))
    if not is_shown(shown):
        return _nothing(f"{shown.name}: browsers do not show {shown.suffix[1:].upper()}")
    url = link(shown, base)
    layers = [image(src=url, alt=f"{side}: {shown.name}")]
    if isinstance(mask, PurePath) and is_shown(mask):
        layers.append(image(src=link(mask, base), alt="", class_="mask"))
    return tag("a", *layers, class_="box", href=url if _is_safe(shown) else False, data_do="large")


def _is_safe(path: PurePath) -> bool:
    """Whether a link may open the file by itself."""
    return path.suffix.lower() in _PIXELS


def _nothing(words: str) -> str:
    return tag("div", tag("span", isolated(words)), class_="box nothing")


def _prompt(prompt: str) -> Iterator[str]:
    beginning, rest = folded(prompt)
    if rest:
        whole = (tag("summary", text(beginning)), tag("div", text(rest)))
        yield tag("details", *whole, class_="prompt", dir="auto")
    elif prompt:
        yield tag("p", text(prompt), class_="prompt", dir="auto")


def folded(prompt: str) -> tuple[str, str]:
    """A prompt's beginning, and the rest if it is long; together they are the prompt."""
    lines = prompt.splitlines(keepends=True)
    cut = min(FOLD_CHARACTERS, len("".join(lines[:FOLD_LINES])))
    if len(prompt) <= 1.5 * cut and len(lines) <= FOLD_LINES:
        return prompt, ""
    if cut == FOLD_CHARACTERS:
        cut = prompt.rfind(" ", cut // 2, cut) + 1 or cut
    return prompt[:cut], prompt[cut:]


def _problem(problem: Problem) -> str:
    words = [tag("strong", text(problem.type)), tag("p", isolated(problem.message))]
    more = {"code": problem.code, "status": problem.status_code, "request": problem.request_id}
    more |= _moderation(problem)
    return tag("div", *words, *_list(more), class_="problem")


def _moderation(problem: Problem) -> dict[str, Any]:
    moderation = problem.moderation or {}
    categories = moderation.get("categories") or ()
    return {"moderation": moderation.get("stage"), "categories": ", ".join(map(str, categories)) or None}


def _facts(item: GalleryItem, base: PurePath) -> str:
    facts = {name: _value(value) for name, value in item.settings.items()}
    listed = list(
        _list(
            facts, mask=_mask(item.mask, base), tokens=_tokens(item.usage), cost=_cost(item.cost), ended=_time(item.at)
        )
    )
    return tag("footer", *listed)


def _list(facts: dict[str, Any], **prepared: str | None) -> Iterator[str]:
    """A list of the values that are not None: of `facts` as text, of `prepared` as HTML."""
    shown = {name: isolated(str(value)) for name, value in facts.items() if value is not None}
    shown |= {name: html for name, html in prepared.items() if html is not None}
    if shown:
        yield tag("dl", *(tag("div", tag("dt", text(name)), tag("dd", html)) for name, html in shown.items()))


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _mask(mask: Shown | None, base: PurePath) -> str | None:
    if isinstance(mask, PurePath):
        return tag("a", isolated(mask.name), href=link(mask, base) if _is_safe(mask) else False)
    return mask if mask is None else isolated(str(mask))


def _cost(dollars: float | None) -> str | None:
    return None if dollars is None else shown(nanos_of(dollars))


def _tokens(usage: Usage | None) -> str | None:
    if usage is None or usage.total_tokens is None:
        return None
    parts = {"in": usage.input_tokens, "out": usage.output_tokens}
    split = ", ".join(f"{count:,} {name}" for name, count in parts.items() if count is not None)
    return f"{usage.total_tokens:,}" + (f" ({split})" if split else "")


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    moment = datetime.fromtimestamp(at, UTC)
    return tag("time", f"{moment:%Y-%m-%d %H:%M} UTC", datetime=moment.isoformat())
