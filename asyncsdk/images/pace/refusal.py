"""What a 429 says of the limit and of when to come again, in its headers or in its text (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from asyncsdk.clock import http_date
from asyncsdk.retry import ordered_delay

LONGEST_TEXT = 2_000  # characters that are read
LONGEST_DELAY = 86_400.0  # what asks for more than a day is no rate limit that could be waited for

_HEADERS = ("x-ratelimit-limit-input-images", "x-ratelimit-limit-images")
# Other limits (requests, tokens, images a day) have texts of the same shape: only this one is counted in our unit.
_LIMIT = re.compile(r"images per min.{0,120}?\blimit:? {0,3}(\d[\d,]{0,12})", re.IGNORECASE | re.DOTALL)
_AGAIN = re.compile(r"\b(?:try again in|retry after)\b", re.IGNORECASE)
_PIECE = re.compile(
    r"\s?(\d{1,9}(?:\.\d{1,9})?)\s?(?:(ms|milliseconds?)|(s|secs?|seconds?)|(m|mins?|minutes?)|(h|hours?)|(d|days?))(?![a-z])",
    re.IGNORECASE,
)
_SECONDS = (0.001, 1.0, 60.0, 3600.0, 86_400.0)


@frozen
class Refusal:
    """`limit` in images a minute, `delay` in seconds until it is worth another try; None where nothing was said."""

    limit: float | None = None
    delay: float | None = None


def read_refusal(message: str, headers: Mapping[str, str], *, now: float) -> Refusal:
    """Read a 429: "… on input-images per min: Limit 250, Used 250, Requested 1. Please try again in 240ms.".

    `now` is unix time, for a `retry-after` that is a date in an answer that has none. Where headers and text ask
    for different delays the longer one is right for both.
    """
    message = message[:LONGEST_TEXT]
    ordered = ordered_delay(headers, http_date(headers.get("date")) or now)
    delays = [delay for delay in (ordered, _delay(message)) if delay is not None]
    return Refusal(_limit(message, headers), min(max(delays), LONGEST_DELAY) if delays else None)


def duration(text: str, start: int = 0) -> float | None:
    """Seconds of `240ms`, `12s`, `1m30s` or `5 seconds` at `start`, whatever follows; None where there is none."""
    total = None
    while piece := _PIECE.match(text, start):
        number, *units = piece.groups()
        total = (total or 0.0) + float(number) * next(s for s, unit in zip(_SECONDS, units, strict=True) if unit)
        start = piece.end()
    return total


def _limit(message: str, headers: Mapping[str, str]) -> float | None:
    named = next((headers[name] for name in _HEADERS if re.fullmatch(r"\d{1,12}", headers.get(name, ""))), None)
    found = _LIMIT.search(message)
    words = named or (found[1].replace(",", "") if found else "0")
    return float(words) or None


def _delay(message: str) -> float | None:
    again = _AGAIN.search(message)
    return duration(message, again.end()) if again else None
