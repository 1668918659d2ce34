"""A table of prices as plain fields, for a process that has no file of it: amounts stay as exact as they are (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cattrs.preconf.json import make_converter

from asyncsdk.images.costs.prices import ModelPrice, PriceTable

_CONVERTER = make_converter()


def fields_of(table: PriceTable) -> dict[str, Any]:
    """The table as JSON has it, also one that was made in code."""
    return {"origin": table.origin, "models": _CONVERTER.unstructure(table.models, dict[str, ModelPrice])}


def table_of(fields: Mapping[str, Any]) -> PriceTable:
    """The table of `fields_of`."""
    return PriceTable(_CONVERTER.structure(fields["models"], dict[str, ModelPrice]), fields["origin"])
