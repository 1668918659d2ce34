"""Finished edits: counts of all, which tests compare with what was to be billed, and thumbnails of the last ones."""

from __future__ import annotations

import io
import secrets
from collections import Counter, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import define, field, frozen

if TYPE_CHECKING:
    from PIL.Image import Image

PROMPTS_LIMIT = 100_000
PROMPTS_CHARACTERS = 32 * 2**20
KEPT = 24
SIDE = 256
SHOWN_CHARACTERS = 300

Side = Literal["before", "after"]


@define
class EditLog:
    """Counts of finished edits: `edits` calls, whether their response arrived or not, with `images` pictures in all.

    `by_prompt` counts the edits of each prompt, for the first 100,000 prompts or 32 Mi characters of them; prompts
    beyond that count in the sums alone, so that memory stays bounded.
    """

    edits: int = 0
    images: int = 0
    by_prompt: Counter[str] = field(factory=Counter)
    _characters: int = field(default=0, init=False, repr=False)

    def count(self, prompt: str, images: int) -> None:
        """Count a finished edit."""
        self.edits += 1
        self.images += images
        if prompt in self.by_prompt or self._has_room(prompt):
            self.by_prompt[prompt] += 1

    def copy(self) -> EditLog:
        """Return the current counts, which later edits do not change."""
        return EditLog(self.edits, self.images, self.by_prompt.copy())

    def to_json(self) -> dict[str, Any]:
        return {"edits": self.edits, "images": self.images, "by_prompt": self.by_prompt}

    @classmethod
    def from_json(cls, counts: Mapping[str, Any]) -> EditLog:
        """Read the counts that `to_json` wrote."""
        return cls(counts["edits"], counts["images"], Counter(counts["by_prompt"]))

    def _has_room(self, prompt: str) -> bool:
        if len(self.by_prompt) >= PROMPTS_LIMIT or self._characters + len(prompt) > PROMPTS_CHARACTERS:
            return False
        self._characters += len(prompt)
        return True


@frozen
class Thumbnails:
    """The first input picture of an edit and its first result, as JPEG."""

    before: bytes
    after: bytes


@frozen
class RecentEdit:
    """An edit as the page shows it; `name` is random, so that no other run of the server uses it."""

    name: str
    prompt: str
    images: int
    model: str
    thumbnails: Thumbnails


@define(eq=False)
class RecentEdits:
    """The last `KEPT` edits, oldest first."""

    edits: deque[RecentEdit] = field(factory=lambda: deque(maxlen=KEPT))

    def add(self, prompt: str, images: int, model: str, thumbnails: Thumbnails) -> None:
        self.edits.append(RecentEdit(secrets.token_hex(8), prompt[:SHOWN_CHARACTERS], images, model, thumbnails))

    def picture(self, name: str, side: str) -> bytes | None:
        """Return one side of an edit, None if it is not kept any more."""
        for edit in self.edits:
            if edit.name == name:
                return {"before": edit.thumbnails.before, "after": edit.thumbnails.after}.get(side)
        return None


def thumbnail(picture: Image) -> bytes:
    """Return a small copy of an RGBA picture, white where it is transparent. Fast: each edit makes two. Blocking."""
    from PIL import Image

    small = picture.reduce(max(1, -(-max(picture.size) // SIDE)))
    out = io.BytesIO()
    Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB").save(out, "JPEG")
    return out.getvalue()
