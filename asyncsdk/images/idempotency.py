"""The key by which a gateway knows an edit again, and for how long it is asked again for a lost answer (pure).

OpenAI documents no such key; some gateways honour one. It is that of the item and its generation, which a redo raises:
the same in every attempt and every run, so that the edit is made once, and its answer can be asked for again. Gateways
forget keys, often after a day: an answer that is lost is asked for again within `WINDOW` of the first try. Later the
edit is uncertain, as it is without a key.
"""

from __future__ import annotations

import hashlib
import re

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_TAKEN = {"accept", "api-key", "authorization", "connection", "content-length", "content-type", "cookie", "host", "te"}
WINDOW = 12 * 3600.0  # seconds


def _in_small_letters(name: str) -> str:
    return name.lower()


@frozen
class EditKey:
    """The key of one edit: its item, how often it was redone, when that was tried first (unix time).

    `header` is that in which it is sent, in small letters: in any others it is the same one.
    """

    item: str
    generation: int
    tried: float
    header: str = field(default="", converter=_in_small_letters)

    @property
    def value(self) -> str:
        """The header's value: 64 hex digits, which say nothing of the edit."""
        return hashlib.sha256(f"asyncsdk:{self.item}:{self.generation}".encode()).hexdigest()

    def is_known(self, now: float) -> bool:
        """Whether the server surely knows it yet."""
        return is_known(self.tried, now)


def checked_header(name: str | None) -> str | None:
    """Return the name of the header. Raises ConfigurationError for one that can't carry a key."""
    if name is not None and (not _HEADER.fullmatch(str(name)) or str(name).lower() in _TAKEN or str(name).isdecimal()):
        raise ConfigurationError(
            f"idempotency_header={name!r} can't carry a key: name a header such as Idempotency-Key. Nothing was sent."
        )
    return name


def same_header(one: str | None, other: str | None) -> bool:
    """Whether a key is in the same header: a gateway that honours one may not know what came in another."""
    return one is not None and other is not None and one.lower() == other.lower()


def is_known(tried: float | None, now: float, window: float | None = None) -> bool:
    """Whether a key that was first tried then is surely known to the server at `now`, or for `window` seconds."""
    return tried is not None and 0 <= now - tried < (WINDOW if window is None else window)
