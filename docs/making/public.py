"""The public names, with all that a caller may call of them: the reference is made of these, and a test counts them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import attrs
from attrs import frozen

MODULES = ("asyncsdk", "asyncsdk.api", "asyncsdk.server")


@frozen
class Public:
    """A public name.

    Attributes:
        module: Where it is imported from.
        name: As it is written there.
        value: What it is.
    """

    module: str
    name: str
    value: Any

    @property
    def is_error(self) -> bool:
        """Whether it can be caught."""
        return isinstance(self.value, type) and issubclass(self.value, BaseException)


@frozen
class Parameter:
    """A parameter of a call, or an attribute, as it is written.

    Attributes:
        name: Its name.
        kind: Its type; empty for one without.
        default: Its default, as code; empty for one that is required.
        prefix: The stars of one that takes several.
        is_by_name: Whether it is given by name alone.
    """

    name: str
    kind: str
    default: str
    prefix: str = ""
    is_by_name: bool = False


def public_names() -> Iterator[Public]:
    """All public names, each once: that of the package before those of its modules."""
    seen: set[int] = set()
    for module in map(import_module, MODULES):
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value) or (isinstance(value, type) and id(value) in seen):
                continue
            seen.add(id(value))
            yield Public(module.__name__, name, value)


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """The methods and properties of a class that are its own, in their order, as functions."""
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(function):
            yield name, member if isinstance(member, property) else function


def parameters(subject: Any) -> list[Parameter]:
    """The parameters of a function, or of the making of a class, less `self`."""
    if isinstance(subject, property) or (isinstance(subject, type) and getattr(subject, "_is_protocol", False)):
        return []
    if isinstance(subject, type) and not attrs.has(subject) and "__init__" not in vars(subject):
        return []
    shown = [each for each in inspect.signature(subject).parameters.values() if each.name not in {"self", "cls"}]
    return [
        Parameter(
            each.name,
            _kind(each.annotation),
            _default(each.default),
            {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, ""),
            each.kind is each.KEYWORD_ONLY,
        )
        for each in shown
    ]


def returned(function: Callable[..., Any]) -> str:
    """The type of what a function returns."""
    return _kind(inspect.signature(function).return_annotation)


def _kind(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if value is attrs.NOTHING:
        return "..."
    shown = repr(value)
    return shown if len(shown) <= 40 and "<" not in shown else "..."
