"""Warns of values that are nearly ones that we know, such as `finetune`. They are sent: enums stay open (pure)."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, get_args

from asyncsdk import api

log = logging.getLogger(__name__)

CLOSE = 0.75  # as difflib counts it; 0.74 is between "assistants" and "assistants_output", which are both meant
KNOWN: Mapping[str, tuple[str, ...]] = {
    name: get_args(get_args(values)[0])
    for name, values in {
        "purpose": api.Purpose,
        "quality": api.Quality,
        "background": api.Background,
        "output_format": api.OutputFormat,
        "input_fidelity": api.InputFidelity,
        "complexity": api.Complexity,
        "moderation": api.Moderation,
        "response_format": api.ResponseFormat,
    }.items()
}
_SIZE = re.compile(r"\s*(\d+)\s*[xX\xd7*]\s*(\d+)\s*")  # \xd7 is the sign of multiplication


def near_miss(name: str, value: object) -> str | None:
    """The known value of the field `name` that was probably meant; None if `value` is known, or not like any."""
    if not isinstance(value, str):
        return None
    if name == "size" and (size := _SIZE.fullmatch(value)):
        meant = "x".join(size.groups())
        return meant if meant != value else None
    known = KNOWN.get(name, ())
    close = [] if value in known else difflib.get_close_matches(value.strip().lower(), known, n=1, cutoff=CLOSE)
    return close[0] if close else None


def warn_of_near_misses(values: Mapping[str, Any]) -> None:
    """Log a warning for each of `values`, by the names of their fields, that is a near miss; once for each."""
    for name, value in values.items():
        if isinstance(value, str) and (name in KNOWN or name == "size"):
            _warn(name, value)


@lru_cache(256)
def _warn(name: str, value: str) -> None:
    meant = near_miss(name, value)
    if meant is not None:
        log.warning("%s %r is not one that we know; did you mean %r?", name, value, meant)
