"""What the gallery shows of one edit, as a small value with names of pictures, not their bytes (pure)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from attrs import field, frozen

from asyncsdk.api import ImageRef
from asyncsdk.images.edit import ImageEdit, Picture, address_of, described
from asyncsdk.images.outcome import EditOutcome, Problem, Status
from asyncsdk.models import Usage
from asyncsdk.remote.address import RemoteAddress

Shown = PurePath | RemoteAddress | str  # a file, an object, or the description of a picture that is in neither


@frozen(kw_only=True)
class GalleryItem:
    """One edit in the gallery.

    `before`, `after` and `mask` are files or objects; a `str` describes a picture that is in neither. `at` is the unix
    time when it ended, and `version` what else tells its first picture from an earlier one, such as an object's ETag: a
    mark is valid until that changes.
    """

    id: str
    status: Status
    before: tuple[Shown, ...] = ()
    after: tuple[Shown, ...] = ()
    mask: Shown | None = None
    prompt: str = ""
    settings: Mapping[str, Any] = field(factory=dict)
    problem: Problem | None = None
    usage: Usage | None = None
    cost: float | None = None  # in dollars
    at: float | None = None
    version: str | None = None


def gallery_item(outcome: EditOutcome, *, at: float | None = None) -> GalleryItem:
    """What the gallery shows of `outcome`; its result and its pictures' bytes are not kept alive."""
    edit = outcome.edit
    return GalleryItem(
        id=outcome.id,
        status=outcome.status,
        before=tuple(shown(picture) for picture in edit.image),
        after=(*(address for url in outcome.objects if (address := address_of(url))), *outcome.files),
        mask=None if edit.mask is None else shown(edit.mask),
        prompt=edit.prompt,
        settings=settings_of(edit),
        problem=outcome.problem,
        usage=outcome.usage,
        cost=outcome.cost,
        at=at,
    )


def settings_of(edit: ImageEdit) -> dict[str, Any]:
    """The fields that are set, without the prompt and the pictures."""
    options = {**edit.options, **(edit.extra or {})}
    options.pop("prompt")
    return options


def shown(picture: Picture) -> Shown:
    """The file or the object that a picture is in, else its description."""
    if isinstance(picture, bytes | bytearray | memoryview | ImageRef):
        return described(picture)
    address = address_of(picture)
    if address is not None:
        return address
    name = picture if isinstance(picture, str | os.PathLike) else getattr(picture, "name", None)
    return Path(name) if isinstance(name, str | os.PathLike) else described(picture)
