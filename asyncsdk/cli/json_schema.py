"""JSON Schemas of what is written as JSON, made from the types that it is written from (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from attrs import fields, has

from asyncsdk.models import Model

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    Any: {},
}


def line_schema(title: str, line: type, *, is_open: bool = False) -> dict[str, Any]:
    """The JSON Schema of a line whose keys are those of the TypedDict `line`; of an open one also others."""
    schema = schema_of(line)
    if is_open:
        del schema["additionalProperties"]
    return {"$schema": DIALECT, "title": title, **schema}


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON Schema of the values of a type: plain ones, lists, unions, TypedDicts and classes of attrs.

    An object of the API may have more fields than are known.
    """
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in {Union, UnionType}:
        schemas = [schema_of(each) for each in inner]
        plain = all(set(schema) == {"type"} for schema in schemas)
        return {"type": [schema["type"] for schema in schemas]} if plain else {"anyOf": schemas}
    if origin is NotRequired:
        return schema_of(inner[0])
    if origin in {tuple, list, Sequence}:
        return {"type": "array", "items": schema_of(inner[0])}
    if kind is dict or origin in {dict, Mapping}:
        return {"type": "object"}
    if is_typeddict(kind):
        hints = get_type_hints(kind, include_extras=True)
        optional = [name for name, hint in hints.items() if get_origin(hint) is NotRequired]
        return _object(hints, [name for name in hints if name not in optional], is_open=False)
    if has(kind):
        hints = get_type_hints(kind)
        named = {attribute.name: hints[attribute.name] for attribute in fields(kind) if attribute.name != "extra"}
        is_open = issubclass(kind, Model)
        return _object(named, [] if is_open else list(named), is_open=is_open)
    raise TypeError(f"{kind} has no JSON Schema here")


def _object(named: Mapping[str, Any], required: Sequence[str], *, is_open: bool) -> dict[str, Any]:
    closed = {} if is_open else {"additionalProperties": False}
    properties = {name: schema_of(hint) for name, hint in named.items()}
    return {"type": "object", "properties": properties, "required": list(required), **closed}
