"""A lenient JSON parser with bounds on memory, time and depth, for what servers send (pure).

Strings may contain line breaks and tabs. Infinities, NaN, and integers of a hundred digits or more count as missing.
Lists and objects that are nested too deep are emptied.
"""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from typing import Any

MOST_MEMBERS = 20_000  # ten images with all their fields have hundreds; more cost memory and time
MOST_OF_A_PAGE = 400_000  # members; 10,000 files have 150,000
_MOST_VALUES = 1000  # in one text
_DEEPEST = 100


def _number(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


_JSON = json.JSONDecoder(
    strict=False,
    parse_constant=lambda _: None,
    parse_float=_number,
    parse_int=lambda digits: int(digits) if len(digits) < 100 else None,
)
_NOT_BLANK = re.compile(r"[^ \t\r\n]")
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|(?P<open>\\?\Z))|[{}\[\],]', re.DOTALL)


def json_value(text: str, *, most: int = MOST_MEMBERS) -> Any:
    """Decode `text`, which may have at most `most` members. Raises ValueError, which contains nothing of the text."""
    if _is_swollen(text, most):
        raise ValueError(f"it has more than {most} members")
    try:
        value = _JSON.decode(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        why = str(error)
    except RecursionError:
        why = "it is nested too deep"
    else:
        return _shallow(value) if _may_be_deep(text) else value
    raise ValueError(why)


def json_values(text: str) -> tuple[list[Any], str]:
    """Decode the JSON values at the beginning of `text`, and return them with the rest, which is not JSON.

    Of a text with more members than any response has, nothing is decoded.
    """
    values: list[Any] = []
    if _is_swollen(text):
        return values, text
    start, is_deep = _NOT_BLANK.search(text), _may_be_deep(text)
    with suppress(ValueError, RecursionError):
        while start is not None and len(values) < _MOST_VALUES:
            value, end = _JSON.raw_decode(text, start.start())
            values.append(_shallow(value) if is_deep else value)
            start = _NOT_BLANK.search(text, end)
    return values, "" if start is None else text[start.start() :]


def cut_json(text: str) -> Any | None:
    """Decode a JSON value that was cut off, without the member that is not complete; None if it is not JSON."""
    if _is_swollen(text):
        return None
    closing, whole = "", (0, "")
    token = _TOKEN.search(text)
    while token is not None:
        mark = token[0]
        if mark in "{[":
            closing = ("}" if mark == "{" else "]") + closing
        elif mark in "}]":
            closing = closing[1:]
        if mark in "{}[],":
            whole = (token.start() if mark == "," else token.end(), closing)
        if token["open"] is not None or len(closing) > _DEEPEST:
            break
        token = _TOKEN.search(text, token.end())
    ends = [(len(text), closing), whole] if text.rstrip()[-1:] in {'"', "}", "]"} else [whole]
    for end, brackets in ends:
        with suppress(ValueError, RecursionError):
            return _shallow(_JSON.decode(text[:end] + brackets))
    return None


def _is_swollen(text: str, most: int = MOST_MEMBERS) -> bool:
    return sum(map(text.count, ",[{")) > most


def _may_be_deep(text: str) -> bool:
    return text.count("[") + text.count("{") > _DEEPEST


def _shallow(value: Any) -> Any:
    """`value` with the lists and objects below the deepest level emptied."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(_DEEPEST):
        level = [
            item
            for each in level
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, dict | list)
        ]
    for each in level:
        each.clear()
    return value
