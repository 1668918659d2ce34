"""Detects early, by the best rate so far, an upload that cannot finish before the server expires it."""

from __future__ import annotations

import math

import anyio

from asyncsdk.clock import Clock
from asyncsdk.errors import UploadTooSlowError
from asyncsdk.timing import DEFAULT_TIMING, Timing
from asyncsdk.uploads.parts.session import CLOCK_GRAIN, Session
from asyncsdk.uploads.progress import Meter

MARGIN = 1.2  # a line may become faster
FASTER = "Use a faster connection or a smaller file."


async def watch_deadline(
    session: Session,
    meter: Meter,
    clock: Clock,
    timing: Timing = DEFAULT_TIMING,
    *,
    limit_rate: float | None = None,
    advice: str = FASTER,
) -> None:
    """Check twice a second until cancelled. Raises UploadTooSlowError once the rest surely can't be sent in time.

    Judged by the rate of all uploads together, once it is known how many connections to use: each gets more of it as
    others end. Only time in which bytes move counts as sending. An upload whose hour is over with parts still to send
    is ended, even if a request hangs. One that only the journal holds is not judged before the server has taken a part
    of it. What can't be sent in time at `limit_rate` (bytes a second) is known at once. `advice` is what to do where
    the connection is too slow.
    """
    sending_for, moved = 0.0, meter.shared.moved
    while True:
        await anyio.sleep(timing.deadline_check)
        meter.tick()  # its rate is what is judged here
        if session.unverified:
            continue
        seconds_left = clock.seconds_until(session.expires_at)
        if meter.done < meter.total and seconds_left < -timing.expiry_grace:
            raise session.expired()
        if limit_rate is not None and seconds_left > 0 and meter.left / limit_rate > seconds_left + CLOCK_GRAIN:
            least = typed_rate(meter.left / seconds_left * MARGIN)
            instead = f"Raise limit_rate to at least {least}, then repeat the call: it resumes."
            error = _too_slow(session, meter, rate=limit_rate, seconds_left=seconds_left, advice=instead)
            error.advice = instead
            raise error
        if meter.shared.moved == moved:
            continue
        sending_for, moved = sending_for + timing.deadline_check, meter.shared.moved
        rate = max(meter.shared.rate.best, meter.shared.rate.current)
        needed = seconds_short(left=meter.left, rate=rate, seconds_left=seconds_left, sending_for=sending_for)
        if needed is not None and meter.shared.settled:
            raise _too_slow(session, meter, rate=rate, seconds_left=seconds_left, advice=advice)


def _too_slow(session: Session, meter: Meter, *, rate: float, seconds_left: float, advice: str) -> UploadTooSlowError:
    return UploadTooSlowError(
        f"at {_shown(rate)} {meter.source} needs {_duration(meter.left / rate)} more, and the server drops the upload "
        f"in {_duration(seconds_left)}. Nothing was completed. {advice}",
        upload_id=session.upload_id,
    )


def _shown(rate: float) -> str:
    """`1.2 MB/s`, `60.0 kB/s`: bytes a second, for a message."""
    return f"{rate / 1e6:.1f} MB/s" if rate >= 1e6 else f"{rate / 1e3:.1f} kB/s"


def typed_rate(rate: float) -> str:
    """`1.3MB/s`, `61kB/s`: not less than `rate` (bytes a second), as it is typed."""
    return f"{math.ceil(rate / 1e5) / 10:g}MB/s" if rate > 999e3 else f"{math.ceil(rate / 1e3)}kB/s"


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds <= 120 else f"{seconds / 60:.0f} min"


def seconds_short(*, left: int, rate: float, seconds_left: float, sending_for: float) -> float | None:
    """Seconds that `left` bytes need at `rate`, if that is clearly more than `seconds_left`; else None.

    Judged only after 30 s of sending, or half of the time if that is less, and with a margin of a fifth; once
    the time is over, the server decides: complete may be on its way.
    """
    if seconds_left <= 0:
        return None
    patience = min(30.0, (seconds_left + sending_for) / 2)
    if sending_for < patience or rate <= 0:
        return None
    needed = left / rate
    return needed if needed > seconds_left * MARGIN else None
