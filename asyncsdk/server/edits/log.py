"""What was edited and so would have been paid (pure): counts, for a test that asks how often each job was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from attrs import define, field

PROMPTS_LIMIT = 100_000
PROMPTS_CHARACTERS = 32 * 2**20


@define
class EditLog:
    """`edits` calls that were done, answered or not, with `images` pictures in all.

    `by_prompt` counts the edits of each prompt, for the first 100,000 prompts or 32 Mi characters of them; prompts
    beyond that are in the sums alone, so that memory stays bounded.
    """

    edits: int = 0
    images: int = 0
    by_prompt: Counter[str] = field(factory=Counter)
    _characters: int = field(default=0, init=False, repr=False)

    def count(self, prompt: str, images: int) -> None:
        """One edit is done."""
        self.edits += 1
        self.images += images
        if prompt in self.by_prompt or self._has_room(prompt):
            self.by_prompt[prompt] += 1

    def copy(self) -> EditLog:
        """The counts of now, which no later edit changes."""
        return EditLog(self.edits, self.images, self.by_prompt.copy())

    def to_json(self) -> dict[str, Any]:
        return {"edits": self.edits, "images": self.images, "by_prompt": self.by_prompt}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> EditLog:
        """The counts that `to_json` wrote."""
        return cls(told["edits"], told["images"], Counter(told["by_prompt"]))

    def _has_room(self, prompt: str) -> bool:
        if len(self.by_prompt) >= PROMPTS_LIMIT or self._characters + len(prompt) > PROMPTS_CHARACTERS:
            return False
        self._characters += len(prompt)
        return True
