"""Checks the settings of an uploader (pure)."""

from __future__ import annotations

import math

from asyncsdk.errors import ConfigurationError
from asyncsdk.uploads.chunking import is_whole

MOST_CONNECTIONS = 256
_NOTHING = "Nothing was sent."


def check_settings(
    *, concurrency: object, md5: object, limit_rate: float | None, stall_timeout: float, max_retries: int
) -> None:
    """Raise ConfigurationError for what is out of range; NaN always is."""
    if concurrency is not None and not (is_whole(concurrency) and 1 <= concurrency <= MOST_CONNECTIONS):  # type: ignore[operator]
        raise ConfigurationError(
            f"concurrency must be an integer from 1 to {MOST_CONNECTIONS}, not {concurrency!r}. {_NOTHING}"
        )
    if md5 not in {"auto", "hex", "base64", None}:
        raise ConfigurationError(f"md5 must be 'auto', 'hex', 'base64' or None, not {md5!r}. {_NOTHING}")
    if limit_rate is not None and not 0 < limit_rate < math.inf:
        raise ConfigurationError(
            f"limit_rate must be a number of bytes a second above 0, not {limit_rate!r}. {_NOTHING}"
        )
    if not 0 < stall_timeout < math.inf:
        raise ConfigurationError(f"stall_timeout must be above 0 seconds, not {stall_timeout!r}. {_NOTHING}")
    if max_retries < 0:
        raise ConfigurationError(f"max_retries must be 0 or more, not {max_retries!r}. {_NOTHING}")
