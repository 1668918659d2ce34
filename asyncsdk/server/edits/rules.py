"""Which fields of an edit go together (pure). What the documents say; the refusals are in our own words."""

from __future__ import annotations

from collections.abc import Iterator

from asyncsdk.server.edits.fields import Wanted
from asyncsdk.server.errors import invalid

Conflict = tuple[str, str]

_WITH_ALPHA = ("png", "webp", "svg")
_COMPRESSED = ("jpeg", "webp")


def require_compatible(wanted: Wanted, overlay: str | None) -> None:
    """Raise ApiError for the first field that does not go with another; `overlay` is "mask", "markup" or None."""
    for name, why in (*_of_format(wanted), *_of_animation(wanted, overlay), *_of_drawing(wanted)):
        raise invalid(name, why)


def _of_format(wanted: Wanted) -> Iterator[Conflict]:
    if wanted.background == "transparent" and wanted.output_format not in _WITH_ALPHA:
        yield "background", f"'transparent' is not possible in {wanted.output_format}"
    compression = wanted.output_compression
    if compression is not None and compression < 100 and wanted.output_format not in _COMPRESSED:
        yield "output_compression", f"less than 100 is not possible in {wanted.output_format}"
    if wanted.stream and wanted.output_format in {"gif", "svg"}:
        yield "stream", f"{wanted.output_format} is not streamed"


def _of_animation(wanted: Wanted, overlay: str | None) -> Iterator[Conflict]:
    if wanted.output_format == "gif":
        if overlay == "mask":
            yield "mask", "it does not go together with gif"
        return
    for name in ("frame_count", "frame_duration_ms"):
        if getattr(wanted, name) is not None:
            yield name, "it is for gif alone"


def _of_drawing(wanted: Wanted) -> Iterator[Conflict]:
    if wanted.output_format != "svg":
        if wanted.svg_model is not None:
            yield "svg", "it is for output_format 'svg' alone"
    elif wanted.n > 1:
        yield "n", "of svg there is only 1"
