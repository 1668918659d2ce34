"""Before and after of many edits, as one page of HTML that needs nothing but the pictures beside it."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import field, frozen

from asyncsdk import files
from asyncsdk.images.edit import Picture, described
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.models import Usage

STATUSES = ("done", "skipped", "failed", "refused", "uncertain")


@frozen(kw_only=True)
class GalleryItem:
    """One edit as the page shows it: no picture is held, only where it is. A picture without a file has a label."""

    id: str
    status: str
    before: tuple[Path | str, ...]
    after: tuple[Path, ...]
    prompt: str
    mask: Path | str | None = None
    settings: Mapping[str, Any] = field(factory=dict)
    problem: Problem | None = None
    usage: Usage | None = None


def gallery_item(outcome: EditOutcome) -> GalleryItem:
    """What the page needs of an outcome."""
    edit = outcome.edit
    return GalleryItem(
        id=outcome.id,
        status=outcome.status,
        before=tuple(_place(picture) for picture in edit.image),
        after=outcome.files,
        prompt=edit.prompt,
        mask=None if edit.mask is None else _place(edit.mask),
        settings={name: value for name, value in edit.options.items() if name != "prompt"},
        problem=outcome.problem,
        usage=outcome.usage,
    )


async def write_gallery(path: Path, items: Iterable[GalleryItem], *, title: str) -> None:
    """Save the page at `path`, whole or not at all. Raises OSError."""
    await files.save(path, gallery_page(list(items), title=title, base=path.parent).encode(errors="replace"))


def gallery_page(items: Sequence[GalleryItem], *, title: str, base: Path) -> str:
    """The page, with addresses relative to `base`. Whatever is in ids and prompts stays text."""
    style, script = (resources(__package__).joinpath(name).read_text("utf-8") for name in ("gallery.css", "gallery.js"))
    run = hashlib.sha256(json.dumps([title, *(item.id for item in items)]).encode()).hexdigest()[:16]
    policy = "default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return "".join(
        [
            f'<!doctype html>\n<html lang="en" data-run="{run}"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{style}</style></head><body>",
            _header(items, title),
            "<main>",
            *(_article(item, base) for item in items),
            f"</main><script>{script}</script></body></html>\n",
        ]
    )


def _header(items: Sequence[GalleryItem], title: str) -> str:
    counts = Counter(item.status for item in items)
    shown = [("all", len(items)), *((status, counts[status]) for status in STATUSES if counts[status]), ("rejected", 0)]
    buttons = "".join(_filter(status, count) for status, count in shown)
    return (
        f"<header><h1>{escape(title)}</h1>{buttons}"
        '<input id="search" type="search" placeholder="id or prompt" aria-label="Search id or prompt">'
        '<button id="save" disabled>Save rejects</button>'
        '<span class="hint">j, k: move · x: reject · f: open · s: save rejects</span></header>'
    )


def _filter(status: str, count: int) -> str:
    pressed = "true" if status == "all" else "false"
    return f'<button data-status="{status}" aria-pressed="{pressed}">{status} <span>{count}</span></button>'


def _article(item: GalleryItem, base: Path) -> str:
    text = escape(f"{item.id} {item.prompt}".lower(), quote=True)
    return (
        f'<article data-id="{escape(item.id, quote=True)}" data-status="{escape(item.status)}" data-text="{text}">'
        f"{_figure('before', item.before, base)}{_figure('after', item.after, base)}"
        f'<div><h2>{escape(item.id)}</h2><span class="status {escape(item.status)}">{escape(item.status)}</span> '
        '<button class="reject" aria-pressed="false">reject</button>'
        f"<p>{escape(item.prompt)}</p>{_facts(item)}</div></article>"
    )


def _figure(name: str, pictures: Sequence[Path | str], base: Path) -> str:
    shown = "".join(_picture(picture, base, name) for picture in pictures) or '<span class="none">none</span>'
    return f'<figure class="{name}"><div class="row">{shown}</div><figcaption>{name}</figcaption></figure>'


def _picture(picture: Path | str, base: Path, name: str) -> str:
    if isinstance(picture, str):
        return f'<span class="none">{escape(picture)}</span>'
    address = escape(_address(picture, base), quote=True)
    image = f'<img src="{address}" alt="{name}" loading="lazy" decoding="async">'
    return f'<a href="{address}" target="_blank" rel="noopener">{image}</a>'


def _facts(item: GalleryItem) -> str:
    facts = dict(item.settings)
    if item.mask is not None:
        facts["mask"] = item.mask.name if isinstance(item.mask, Path) else item.mask
    if item.usage is not None:
        facts["tokens"] = item.usage.total_tokens
    if item.problem is not None:
        facts["error"] = item.problem.message
        facts |= {} if item.problem.request_id is None else {"request": item.problem.request_id}
    rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return f"<dl>{rows}</dl>" if rows else ""


def _address(path: Path, base: Path) -> str:
    try:
        relative = os.path.relpath(path, base)
    except ValueError:  # another drive
        return path.absolute().as_uri()
    return quote(Path(relative).as_posix(), errors="surrogateescape")


def _place(picture: Picture) -> Path | str:
    return Path(picture) if isinstance(picture, str | os.PathLike) else described(picture)
