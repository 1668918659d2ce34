"""Retry policy: whether to retry, after how long (Retry-After), and whether the server may have acted (pure).

For requests the rules are those of openai-python (`x-should-retry`, `retry-after-ms`, `retry-after`; 408, 409, 429, 500
and above, lost connections), with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015) and a budget that
all requests of one upload share, so that an outage does not multiply them. For failures of the system that pass, such
as too few descriptors or a disk that is full for a moment, each kind has its own limit of waiting.
"""

from __future__ import annotations

import errno
import math
import random
import re
from collections.abc import Awaitable, Callable, Mapping

from attrs import define, field

from asyncsdk.clock import http_date
from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    CredentialError,
    NotTheAPIError,
    QuotaExceededError,
    RateLimitError,
    RedirectError,
)
from asyncsdk.timing import DEFAULT_TIMING, Timing

LONGEST_DELAY = 8.0
LONGEST_RETRY_AFTER = 120.0  # a longer Retry-After is waited for only where an upload is kept for longer
MAX_ATTEMPTS = 20
_LIMIT, _REQUESTED = (re.compile(rf"{word}:? (\d[\d,]{{0,20}})") for word in ("Limit", "Requested"))


def is_worth_retrying(error: APIError) -> bool:
    """Whether the same request may succeed later."""
    if is_renewable(error):
        return True
    if isinstance(error, QuotaExceededError):
        return False
    if isinstance(error, RateLimitError) and exceeds_limit(error.message):
        return False
    if isinstance(error, APIConnectionError):
        return error.resumable
    if isinstance(error, APIResponseValidationError):
        return 200 <= error.status_code < 300  # cut or garbled on the way: the next response may be whole
    if not isinstance(error, APIStatusError):
        return False
    ordered = error.headers.get("x-should-retry", "").lower()
    if ordered in {"true", "false"}:
        return ordered == "true"
    return error.status_code in {408, 409, 429} or error.status_code >= 500


def may_have_acted(error: APIError) -> bool:
    """Whether the server may have done what was asked although the request ended with `error`.

    The one answer to this question; a caller whose requests know better adds its exceptions on top
    (`images.billing.may_be_charged`: a 503 that turns an edit away; a cancel: its 409).
    """
    if isinstance(error, APIConnectionError):
        return not is_unreachable(error)
    if isinstance(error, RedirectError | NotTheAPIError):
        return error.may_have_acted
    if isinstance(error, APIStatusError):
        return error.status_code in {408, 409} or error.status_code >= 500
    return True


def is_renewable(error: Exception) -> bool:
    """Whether the key was refused and comes from a function that was not asked for another since."""
    return isinstance(error, AuthenticationError) and error.renewable


def is_unreachable(error: Exception) -> bool:
    """Whether the request ended before any of it was sent, as without a connection."""
    return isinstance(error, APIConnectionError) and not error.sent


def redirect_may_have_acted(method: str, status: int | None, *, elsewhere: bool) -> bool:
    """Whether a server that redirects a request may have done it; `elsewhere`: to another origin.

    303 is the answer of one that has: the result is there (RFC 9110, 15.4.4). 307 and 308 ask for the same request
    at another address, so nothing was done (15.4.8, 15.4.9). 301 and 302 to another origin are how a web server
    answers a base URL with http for https, or without its www; on the same origin, or without an address that can
    be read, they are what applications send after a POST in the place of 303 (15.4.3).
    """
    if method == "GET" or status in {307, 308}:
        return False
    return status == 303 or not elsewhere


def exceeds_limit(message: str) -> bool:
    """Whether a 429's text says that this one request is above the whole limit: no waiting helps."""
    limit = _LIMIT.search(message)
    requested = limit and _REQUESTED.search(message, limit.end())  # one pattern for both would take quadratic time
    if not (limit and requested):
        return False
    return _number(requested) > _number(limit)


def _number(match: re.Match[str]) -> int:
    return int(match[1].replace(",", ""))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by the server's headers: `retry-after-ms`, else `retry-after` in seconds or as a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    date = http_date(headers.get("retry-after"))
    return None if date is None else max(0.0, date - now)


def backoff(failures: int, first: float, jitter: Callable[[], float] = random.random) -> float:
    """Seconds before the attempt after `failures` failed ones: random, up to `first`, which doubles each time."""
    return jitter() * min(first * 2.0 ** min(failures, 16), LONGEST_DELAY)


@define
class Retry:
    """What the requests of one call, upload or run share.

    `max_retries` counts per request and starts again at 0 when the whole progresses; `budget` is how many
    retries all of them may make without progress. Nothing waits beyond `deadline` (the server's unix time).
    `kept_until` is when the server drops what the call is about, by a time that is not sure enough for a deadline:
    without one, a Retry-After that is longer than usual is waited for if it ends before. With `wait_out_outages`, once
    the server has answered, times without any connection are waited out until the deadline, and use nothing up.
    `on_wait` is called with each failure that is waited out, and for how many seconds. `should_retry` decides which
    failures are tried again; `before_attempt` is awaited before each attempt, the first included, and `on_sent` is
    called when the first byte of its body goes out.
    """

    max_retries: int = 2
    budget: int = 64
    deadline: float = math.inf
    kept_until: float = -math.inf
    wait_out_outages: bool = False
    answered: bool = False
    on_wait: Callable[[APIError, float], None] | None = None
    should_retry: Callable[[APIError], bool] = is_worth_retrying
    before_attempt: Callable[[], Awaitable[None]] | None = None
    on_sent: Callable[[], object] | None = None
    progress: int = field(default=0, init=False)
    spent: int = field(default=0, init=False)

    def progressed(self) -> None:
        """Record progress: earlier failures don't count any more."""
        self.progress += 1
        self.spent = 0

    def attempts(self, timing: Timing = DEFAULT_TIMING, *, key_is_fetched: bool = False) -> Attempts:
        """Begin one request. `key_is_fetched`: by each attempt, from a function, so that a 401 is tried once more."""
        return Attempts(self, self.progress, timing.first_delay, key_is_fetched)


@define
class Attempts:
    """The attempts of one request under a shared `Retry`."""

    retry: Retry
    _progress: int
    _first_delay: float
    _is_renewable: bool = False
    made: int = field(default=0, init=False)
    _counted: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _outages: int = field(default=0, init=False)

    def delay_after(self, error: APIError, *, now: float, jitter: Callable[[], float] = random.random) -> float | None:
        """Seconds to wait before the next attempt, or None to give up with `error`. `now` is the server's time."""
        self.made += 1
        if isinstance(error, AuthenticationError):
            error.renewable, self._is_renewable = self._is_renewable, False
        if not self.retry.should_retry(error):
            return None
        if is_renewable(error):
            return 0.0
        requested = retry_after(error.headers, now) if isinstance(error, APIStatusError) else None
        if self._waits_out(error):
            self._outages += 1
            delay = backoff(self._outages - 1, self._first_delay, jitter)
        elif self._spend():
            delay = backoff(self._failures - 1, self._first_delay, jitter) if requested is None else requested
        else:
            return None
        is_long = requested is not None and requested > LONGEST_RETRY_AFTER
        until = self.retry.kept_until if is_long and math.isinf(self.retry.deadline) else self.retry.deadline
        return None if now + delay >= until else delay

    def _waits_out(self, error: APIError) -> bool:
        if isinstance(error, CredentialError):  # the line is up: who gives the keys is asked as often as any server
            return False
        bounded = math.isfinite(self.retry.deadline)
        return self.retry.wait_out_outages and self.retry.answered and is_unreachable(error) and bounded

    def _spend(self) -> bool:
        if self.retry.progress != self._progress:
            self._progress, self._failures = self.retry.progress, 0
        self._failures, self._counted, self._outages = self._failures + 1, self._counted + 1, 0
        if self._failures > self.retry.max_retries or self._counted >= MAX_ATTEMPTS:
            return False
        self.retry.spent += 1
        return self.retry.spent <= self.retry.budget


SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS, errno.EINTR})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
SCARCE_SECONDS, FULL_SECONDS = 30.0, 5.0  # how long to wait: descriptors are often given back, disk space seldom
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


def is_scarce(error: BaseException) -> bool:
    """Whether `error`, or its cause, is a lack of descriptors or memory, which is likely to pass."""
    return code_of(error) in SCARCE


def pause_after(error: BaseException, waited: float) -> float | None:
    """Seconds to wait before the next try, after `waited` seconds; None where waiting does not help, or no longer."""
    code = code_of(error)
    limit = SCARCE_SECONDS if code in SCARCE else FULL_SECONDS if code in FULL else 0.0
    return min(max(waited, FIRST_PAUSE), LONGEST_PAUSE) if waited < limit else None


def code_of(error: BaseException | None) -> int | None:
    """The errno of `error`, or of its cause."""
    while error is not None and getattr(error, "errno", None) is None:
        error = error.__cause__
    return None if error is None else error.errno  # type: ignore[attr-defined]  # seen above
