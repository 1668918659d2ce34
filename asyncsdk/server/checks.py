"""What an option of the server or a field of a fault must be (pure), in words for whoever writes JSON or YAML, too."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

from attrs import Attribute

Check = Callable[[object, "Attribute[Any]", Any], None]


def must(be: str, *kinds: type, within: Callable[[Any], bool] = lambda _: True, secret: bool = False) -> Check:
    """A validator that raises ValueError, with the value unless that is `secret`."""

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or not within(value):
            is_now = "" if secret else f"is {value!r}, and "
            raise ValueError(f"{attribute.alias} {is_now}must be {be}")

    return check


def one_of(choices: Any) -> Check:
    """One of the texts of a Literal."""
    names = get_args(choices)
    return must(f"one of {', '.join(names)}", str, within=names.__contains__)


WHOLE = must("a whole number", int)
COUNT = must("a whole number from 1", int, within=lambda value: value >= 1)
NUMBER = must("a number above 0", int, float, within=lambda value: value > 0)
SECONDS = must("a number of seconds, 0 or more", int, float, within=lambda value: value >= 0)
KEY = must("a text that is not empty", str, within=bool, secret=True)
NAMES = must(
    "a list of names of hosts, without scheme, port or wildcard",
    *(list, tuple, set, frozenset),
    within=lambda names: all(isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name) for name in names),
)
