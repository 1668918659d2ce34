"""The SOURCEs of `edit-many`: job files, directories and pictures, looked at before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asyncsdk.cli.jobs import Row, read_jobs, rows_of_pictures
from asyncsdk.errors import ConfigurationError

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})
JOB_FILES = frozenset({".jsonl", ".csv"})


def rows_in(sources: Sequence[str], *, out: Path, defaults: Mapping[str, Any]) -> list[tuple[str, Row]]:
    """All rows of all sources, each with the source's name. Raises ConfigurationError for a bad source."""
    if not sources:
        raise ConfigurationError("nothing to edit: name a .jsonl or .csv file, a directory, or pictures.")
    return [(source, row) for source in sources for row in _rows(Path(source), out, defaults)]


def _rows(source: Path, out: Path, defaults: Mapping[str, Any]) -> Iterator[Row]:
    if source.is_dir():
        found = list(_pictures(source, out))
        if not found:
            raise ConfigurationError(f"{source} holds no picture ({', '.join(sorted(PICTURES))}). Nothing was sent.")
        return rows_of_pictures(found, defaults)
    if source.suffix.lower() in JOB_FILES:
        return iter(_read(source, defaults))
    if not source.is_file():
        raise ConfigurationError(f"{source} is not there. Nothing was sent.")
    return rows_of_pictures([(source.stem, source)], defaults)


def _pictures(folder: Path, out: Path) -> Iterator[tuple[str, Path]]:
    """Pictures below a directory, but for hidden ones and those that earlier runs made."""
    made = out.resolve()
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if any(part.startswith(".") for part in below.parts) or path.suffix.lower() not in PICTURES:
            continue
        if path.is_file() and not (made != folder.resolve() and path.resolve().is_relative_to(made)):
            yield below.with_suffix("").as_posix(), path


def _read(source: Path, defaults: Mapping[str, Any]) -> list[Row]:
    try:
        data = source.read_bytes()
        rows = list(read_jobs(data, suffix=source.suffix.lower(), folder=source.parent, defaults=defaults))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{source}: {getattr(error, 'strerror', None) or error}. Nothing was sent.") from error
    if not rows:
        raise ConfigurationError(f"{source} holds no job. Nothing was sent.")
    return rows
