"""Detects early, by the best rate so far, an upload that cannot finish before the server expires it."""

from __future__ import annotations

import anyio

from asyncsdk.clock import Clock
from asyncsdk.errors import UploadTooSlowError
from asyncsdk.timing import DEFAULT_TIMING, Timing
from asyncsdk.uploads.progress import Meter
from asyncsdk.uploads.session import Session


async def watch_deadline(session: Session, meter: Meter, clock: Clock, timing: Timing = DEFAULT_TIMING) -> None:
    """Check twice a second until cancelled. Raises UploadTooSlowError once the rest surely can't be sent in time.

    Judged by the rate of all uploads together: each gets more of it as others end. Only time in which bytes move
    counts as sending. An upload whose hour is over with parts still to send is ended, even if a request hangs. One
    that only the journal holds is not judged before the server has taken a part of it.
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
        if meter.shared.moved == moved:
            continue
        sending_for, moved = sending_for + timing.deadline_check, meter.shared.moved
        rate = max(meter.shared.rate.best, meter.shared.rate.current)
        needed = seconds_short(left=meter.left, rate=rate, seconds_left=seconds_left, sending_for=sending_for)
        if needed is not None:
            raise UploadTooSlowError(
                f"at {_shown(rate)} {meter.source} needs {needed / 60:.0f} min more, and the server "
                f"drops the upload in {seconds_left / 60:.0f} min. Nothing was completed. Use a faster connection or a "
                "smaller file.",
                upload_id=session.upload_id,
            )


def _shown(rate: float) -> str:
    """`1.2 MB/s`, `60.0 kB/s`: bytes a second, for a message."""
    return f"{rate / 1e6:.1f} MB/s" if rate >= 1e6 else f"{rate / 1e3:.1f} kB/s"


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
    return needed if needed > seconds_left * 1.2 else None
