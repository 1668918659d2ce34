"""How errors get from one process to another: rebuilt without `__init__`, less what can't be pickled (pure)."""

from __future__ import annotations

import pickle
from typing import Any, TypeVar

Error = TypeVar("Error", bound=Exception)


def with_args(kind: type[Error], args: tuple[Any, ...]) -> Error:
    """An error of this kind that has these `args`; its fields are set afterwards."""
    return kind.__new__(kind, *args)


def is_picklable(value: object) -> bool:
    """Whether `value` can be pickled and read again."""
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - our own; some can be written and not be read
    except Exception:  # noqa: BLE001 - whatever a value's own way of pickling raises
        return False
    return True
