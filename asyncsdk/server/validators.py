"""attrs validators for the server's options and a fault's fields (pure); messages also fit JSON and YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from attrs import Attribute

Check = Callable[[object, "Attribute[Any]", Any], None]

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110's token
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def must(be: str, *kinds: type, within: Callable[[Any], bool] = lambda _: True, secret: bool = False) -> Check:
    """Return a validator that raises ValueError; its message contains the value unless that is `secret`."""

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or not within(value):
            actual = "" if secret else f", not {value!r}"
            raise ValueError(f"{attribute.alias} must be {be}{actual}")

    return check


def one_of(choices: Any) -> Check:
    """Return a validator for the strings of a Literal."""
    names = get_args(choices)

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, str) or value not in names:
            raise ValueError(
                f"{attribute.alias} must be one of {', '.join(names)}, not {value!r}{did_you_mean(value, names)}"
            )

    return check


def did_you_mean(value: object, names: Collection[str]) -> str:
    """What a message adds where `value` is nearly one of `names`."""
    near = get_close_matches(value.lower(), names, n=1) if isinstance(value, str) else []
    return f" (did you mean {near[0]!r}?)" if near else ""


def _can_be_sent(headers: Mapping[Any, Any]) -> bool:
    texts = all(isinstance(text, str) for item in headers.items() for text in item)
    return texts and all(_HEADER.fullmatch(name) and not _UNSENDABLE.search(text) for name, text in headers.items())


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


FLAG = must("true or false", bool)
WHOLE = must("an integer", int)
PORT = must("a port from 0 to 65535", int, within=lambda value: 0 <= value <= 65535)
COUNT = must("an integer from 1", int, within=lambda value: value >= 1)
NUMBER = must("a number above 0", int, float, within=lambda value: value > 0)
SECONDS = must("a number of seconds from 0", int, float, within=lambda value: value >= 0)
HEADERS = must("an object of header names and values that HTTP allows", Mapping, within=_can_be_sent)
BODY = must("a string or a JSON value", object, bool, within=_is_json)
DONE_OR_REFUSED = must(
    "200, or an error status from 400 to 599", int, within=lambda value: value in {200, *range(400, 600)}
)
HEADER = must("the name of a header", str, within=lambda name: bool(_HEADER.fullmatch(name)))
DAYS = must(
    "models with days, as YYYY-MM-DD, or an empty text for none",
    Mapping,
    within=lambda ends: all(isinstance(end, str) and re.fullmatch(r"(\d{4}-\d\d-\d\d)?", end) for end in ends.values()),
)
HOST = must("a host name or an address", str, within=bool)
KEY = must(
    "a non-empty string without spaces around it",
    str,
    within=lambda key: key != "" and key == key.strip(),
    secret=True,
)
NAMES = must(
    "a list of host names, without scheme, port or wildcard",
    *(list, tuple, set, frozenset),
    within=lambda names: all(isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name) for name in names),
)
