"""The last edits as small pictures, to look at on the server's page. Small, so that it holds next to nothing."""

from __future__ import annotations

import io
import secrets
from collections import deque
from typing import TYPE_CHECKING, Literal

from attrs import define, field, frozen

if TYPE_CHECKING:
    from PIL.Image import Image

KEPT = 24
SIDE = 256
PROMPT_CHARACTERS = 300

Side = Literal["before", "after"]


@frozen
class Thumbnails:
    """An edit's first picture and the first of what it became, as JPEG."""

    before: bytes
    after: bytes


@frozen
class Shown:
    """An edit as it is shown; `name` is one that no other run of the server uses."""

    name: str
    prompt: str
    images: int
    model: str
    thumbnails: Thumbnails


@define(eq=False)
class RecentEdits:
    """The last `KEPT` edits, oldest first."""

    shown: deque[Shown] = field(factory=lambda: deque(maxlen=KEPT))

    def add(self, prompt: str, images: int, model: str, thumbnails: Thumbnails) -> None:
        self.shown.append(Shown(secrets.token_hex(8), prompt[:PROMPT_CHARACTERS], images, model, thumbnails))

    def picture(self, name: str, side: str) -> bytes | None:
        """One side of an edit, if it is still kept."""
        for shown in self.shown:
            if shown.name == name:
                return {"before": shown.thumbnails.before, "after": shown.thumbnails.after}.get(side)
        return None


def thumbnail(picture: Image) -> bytes:
    """A small copy of an RGBA picture, white where it is transparent. Quick: each edit makes two. For threads."""
    from PIL import Image

    small = picture.reduce(max(1, -(-max(picture.size) // SIDE)))
    found = io.BytesIO()
    Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB").save(found, "JPEG")
    return found.getvalue()
