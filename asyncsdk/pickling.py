"""Pickling of errors: rebuilt without `__init__`, and without the fields that can't be pickled (pure)."""

from __future__ import annotations

import pickle
from typing import Any, Self, TypeVar

Error = TypeVar("Error", bound=Exception)


def with_args(kind: type[Error], args: tuple[Any, ...]) -> Error:
    """Make an error of this class with these `args`; its fields are set afterwards."""
    return kind.__new__(kind, *args)


def picklable_fields(fields: dict[str, Any], *, of: type[Exception], root: type[Exception]) -> dict[str, Any]:
    """Those `fields` that can be pickled; the others get the default of the class, or None without one.

    A `root` error pickles its own fields: only its class and args are tried here, or else a chain of n causes would be
    pickled 2**n times.

    Args:
        fields: By name.
        of: The class that they are set on.
        root: The kind of errors that are pickled by way of this function.

    Returns:
        All fields where they can be pickled together, as nearly always.
    """
    cores = {name: (type(value), value.args) if isinstance(value, root) else value for name, value in fields.items()}
    if is_picklable(cores):
        return fields
    kept = {name: value for name, value in fields.items() if is_picklable(cores[name])}
    return kept | dict.fromkeys(name for name in fields if name not in kept and not hasattr(of, name))


def is_picklable(value: object) -> bool:
    """Whether `value` can be pickled and read again."""
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - our own; some can be written and not be read
    except Exception:  # noqa: BLE001 - whatever a value's own way of pickling raises
        return False
    return True


class PicklableError(Exception):
    """An error that can be copied and pickled with its fields and its cause."""

    def __copy__(self) -> Self:
        copy = with_args(type(self), self.args)
        vars(copy).update(vars(self))
        copy.__cause__, copy.__context__, copy.__traceback__ = self.__cause__, self.__context__, self.__traceback__
        copy.__suppress_context__ = self.__suppress_context__
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        """For worker pools: rebuilt with its fields and cause, without `__init__`; what can't be pickled is left out.

        Otherwise the pool would fail with an error about pickling, and this one would be lost.
        """
        state = {**vars(self), "__cause__": self.__cause__, "__suppress_context__": self.__suppress_context__}
        return with_args, (type(self), self.args), picklable_fields(state, of=type(self), root=PicklableError)
