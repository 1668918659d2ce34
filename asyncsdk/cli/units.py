"""Sizes, rates and times as people write and read them (pure)."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo

from asyncsdk.counts import counted as counted  # noqa: PLC0414 - a name of this module, too

_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(b|[kmgt](?:ib?|b)?)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])?", re.IGNORECASE | re.ASCII)
_BYTES: dict[str, int] = {"b": 1} | {
    f"{letter}{unit}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for unit, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LEAST_RATE = 1000  # bytes a second: with less and no unit, the unit was forgotten
_STEPS = ("bytes", "kB", "MB", "GB", "TB")


def parse_size(text: str) -> int:
    """Bytes in `16MiB`, `16Mi`, `10MB`, `10M` or `1048576`, in either case. Raises ValueError for anything else."""
    return _bytes_in(text, text, "a size; use for example 16MiB, 10MB, 10M or a number of bytes.")


def parse_rate(text: str) -> int:
    """Bytes a second in `10MB/s`, or in a size. Raises ValueError for anything else, and for `2`, which means MB."""
    amount = text.strip().removesuffix("/s").removesuffix("/S")
    rate = _bytes_in(amount, text, "a rate; use for example 10MB/s, 10M or a number of bytes a second.")
    if 0 < rate < LEAST_RATE and not amount[-1:].isalpha():
        raise ValueError(f"{amount} is {size(rate)} a second; did you mean {amount}MB/s? If not, write {amount}B/s.")
    return rate


def _bytes_in(amount: str, text: str, form: str) -> int:
    match = _SIZE.fullmatch(amount.strip())
    if not match:
        raise ValueError(f"{text!r} is not {form}")
    return round(float(match[1]) * _BYTES[(match[2] or "b").lower()])


def parse_duration(text: str) -> int:
    """Seconds in `30d`, `24h`, `90m`, `45s` or `3600`. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration; use for example 30d, 24h, 90m or a number of seconds.")
    return round(float(match[1]) * _SECONDS[(match[2] or "s").lower()])


def parse_whole(text: str) -> int:
    """The whole number in `12`. Raises ValueError for anything else, such as `1.5`, which is not rounded."""
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is not a whole number.")
    return int(text)


def parse_number(text: str) -> float:
    """The number in `1.5`. Raises ValueError for anything else."""
    return _number_in(text, "is not a number")


def parse_dollars(text: str) -> float:
    """The amount in `12.50`. Raises ValueError for anything else, such as `$50`."""
    return _number_in(text, "is not an amount of dollars; use for example 50 or 12.50")


def _number_in(text: str, problem: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} {problem}.") from None


def parse_whole_or_auto(text: str) -> int | None:
    """The whole number in `12`, None for `auto`. Raises ValueError for anything else."""
    if text.strip() == "auto":
        return None
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is neither a whole number nor auto.")
    return int(text)


def size(count: float) -> str:
    """`5.0 GB`, `12 MB`, `512 bytes`: decimal, as disks and networks count."""
    step = _step(count)
    return f"{_number(count, step)} {_STEPS[step]}" if count != 1 else "1 byte"


def part_of(count: float, total: float) -> str:
    """`3.1 of 5.0 GB`: both in the unit of the whole."""
    step = _step(total)
    return f"{_number(count, step, like=total)} of {size(total)}"


def rate(bytes_per_second: float) -> str:
    """`1.2 MB/s`: in the units of sizes, so that one can be divided by the other."""
    return f"{size(bytes_per_second)}/s"


def duration(seconds: float) -> str:
    """`45 s`, `26 min`, `1 h 49 min`, `3 days`: rounded up."""
    if seconds <= 90:
        return f"{max(1, math.ceil(seconds))} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{math.ceil(minutes / (24 * 60))} days"


def elapsed(seconds: float) -> str:
    """`0.4 s`, `12 s`, else as `duration`: how long a thing took."""
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def clock_time(at: float, *, now: float, zone: tzinfo | None = None) -> str:
    """`15:42`, or `Nov 29, 15:42` when that is not today: in `zone`, by default the machine's own."""
    moment, today = (datetime.fromtimestamp(t, UTC).astimezone(zone) for t in (at, now))
    return moment.strftime("%H:%M" if moment.date() == today.date() else "%b %d, %H:%M")


def percent(count: float, total: float) -> str:
    """`62%`; 100 only when complete."""
    return f"{100 if count >= total else min(99, int(100 * count / total))}%"


def _step(count: float) -> int:
    step = 0
    while step + 1 < len(_STEPS) and count >= 999.5 * 1000**step:
        step += 1
    return step


def _number(count: float, step: int, like: float | None = None) -> str:
    scaled, scale = count / 1000**step, (count if like is None else like) / 1000**step
    return f"{scaled:.1f}" if step and scale < 9.95 else f"{scaled:.0f}"
