"""A token bucket for limits a minute (pure): it refills evenly, and holds the tokens of one second."""

from __future__ import annotations

import math

from attrs import define, field

from asyncsdk.server.errors import ApiError

_BURST_SECONDS = 1.0
_TINY = 1e-6  # tokens; rounding errors of seconds are smaller
_NAMES = {"requests": "requests per min (RPM)", "input-images": "input-images per min"}


@define
class TokenBucket:
    """Allows `limit` of `unit` a minute; None: no limit. `now` is monotonic seconds."""

    limit: int | None = None
    unit: str = "input-images"
    _level: float = field(default=0.0, init=False)  # tokens used and not refilled yet
    _seen: float | None = field(default=None, init=False)

    def take(self, amount: int, model: str, now: float) -> None:
        """Count `amount` for `model`. Raises ApiError (429) if that is too much now, or more than the limit."""
        if self.limit is None:
            return
        if amount > self.limit:
            raise self._too_fast(model, f"Limit {self.limit}, Requested {amount}.")
        second = self.limit / 60.0
        passed = 0.0 if self._seen is None else max(0.0, now - self._seen)
        self._level, self._seen = max(0.0, self._level - passed * second), now
        burst = max(float(amount), second * _BURST_SECONDS)
        over = self._level + amount - burst
        if over > _TINY:
            used = self.limit - max(0, math.floor(burst - self._level))
            again = f"Please try again in {_shown(over / second)}."
            raise self._too_fast(model, f"Limit {self.limit}, Used {used}, Requested {amount}. {again}")
        self._level += amount

    def _too_fast(self, model: str, figures: str) -> ApiError:
        """The 429, in the real server's words."""
        return ApiError(
            429,
            f"Rate limit reached for {model} (for limit {model}) in organization org-local on {_NAMES[self.unit]}: "
            f"{figures} Visit https://platform.openai.com/account/rate-limits to learn more.",
            None,
            "rate_limit_exceeded",
            self.unit,
        )


def _shown(seconds: float) -> str:
    """The time to wait, rounded up, so that a client that retries then is not too early."""
    milliseconds = max(1, math.ceil(seconds * 1000))
    return f"{milliseconds}ms" if milliseconds < 1000 else f"{milliseconds / 1000:g}s"
