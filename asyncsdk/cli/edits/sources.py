"""The SOURCEs of `edit-many`: job files, directories and pictures, looked at before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asyncsdk.cli.edits.jobs import Row, read_jobs, rows_of_pictures
from asyncsdk.errors import ConfigurationError

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
JOB_FILES = frozenset({".jsonl", ".csv"})

SourcedRow = tuple[str, Row]


def rows_in(sources: Sequence[str], *, out: Path, defaults: Mapping[str, Any]) -> list[SourcedRow]:
    """All rows of all sources, each with its source's name. Raises ConfigurationError where a source is bad."""
    return [(source, row) for source in sources for row in _rows(Path(source), out, defaults)]


def _rows(source: Path, out: Path, defaults: Mapping[str, Any]) -> Iterator[Row]:
    if source.suffix.lower() in JOB_FILES and not source.is_dir():
        return iter(_read(source, defaults))
    found = list(_pictures(source, out)) if source.is_dir() else [(source.stem, source)]
    if not found:
        raise ConfigurationError(f"{source} holds no picture ({', '.join(sorted(PICTURES))}). Nothing was sent.")
    if not source.exists():
        raise ConfigurationError(f"{source} is not there. Nothing was sent.")
    if not defaults.get("prompt"):
        raise ConfigurationError(f"{source}: pictures need --prompt TEXT or --prompt-file FILE. Nothing was sent.")
    return rows_of_pictures(found, defaults)


def _pictures(folder: Path, out: Path) -> Iterator[tuple[str, Path]]:
    """Pictures below a directory with their names, but for hidden ones and those that earlier runs made."""
    root, made = folder.resolve(), out.resolve()
    within = made.relative_to(root) if made != root and made.is_relative_to(root) else None
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in below.parts)
        is_made = within is not None and below.is_relative_to(within)
        if path.suffix.lower() in PICTURES and path.is_file() and not is_hidden and not is_made:
            yield below.with_suffix("").as_posix(), path


def _read(source: Path, defaults: Mapping[str, Any]) -> list[Row]:
    try:
        data = source.read_bytes()
        rows = list(read_jobs(data, suffix=source.suffix.lower(), folder=source.parent, defaults=defaults))
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).removesuffix(".")
        raise ConfigurationError(f"{source}: {reason}. Nothing was sent.") from error
    if not rows:
        raise ConfigurationError(f"{source} holds no job. Nothing was sent.")
    return rows
