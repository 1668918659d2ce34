"""The limit on input images a minute (pure): a bucket that fills evenly, and holds a second's worth."""

from __future__ import annotations

from attrs import define, field

from asyncsdk.server.errors import ApiError

_BURST_SECONDS = 1.0


@define
class ImageRate:
    """`limit` in input images a minute; None lets everything pass. `now` is monotonic seconds."""

    limit: int | None = None
    _level: float = field(default=0.0, init=False)  # what was used and has not come back
    _seen: float | None = field(default=None, init=False)

    def take(self, images: int, model: str, now: float) -> None:
        """Count `images`. Raises ApiError (429) where that is too much now, or always."""
        if self.limit is None:
            return
        passed = 0.0 if self._seen is None else max(0.0, now - self._seen)
        self._level, self._seen = max(0.0, self._level - passed * self.limit / 60.0), now
        room = max(float(images), self.limit * _BURST_SECONDS / 60.0)
        if images > self.limit or self._level + images > room:
            seconds = (self._level + images - room) * 60.0 / self.limit
            raise too_fast(model, self.limit, min(self.limit, round(self._level)), images, seconds)
        self._level += images


def too_fast(model: str, limit: int, used: int, requested: int, seconds: float) -> ApiError:
    """The real server's words: what is too much, and when to come again."""
    again = f" Please try again in {_shown(seconds)}." if requested <= limit else ""
    return ApiError(
        429,
        f"Rate limit reached for {model} (for limit {model}) in organization org-local on input-images per min: "
        f"Limit {limit}, Used {used}, Requested {requested}.{again} "
        "Visit https://platform.openai.com/account/rate-limits to learn more.",
        None,
        "rate_limit_exceeded",
        "input-images",
    )


def _shown(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms" if seconds < 1 else f"{seconds:.3f}s"
