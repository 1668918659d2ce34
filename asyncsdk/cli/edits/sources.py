"""The SOURCEs of `edit-many`: job files, directories and pictures, looked at before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from asyncsdk.cli.edits.job_text import JOB_FILES, BadRow, foreign_file
from asyncsdk.cli.edits.jobs import Row, read_jobs, rows_of_pictures
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.edit import ImageEdit

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif"})


@frozen
class JobFile:
    """A job file as it was when the run began: its bytes, of which rows are made each time they are asked for."""

    path: Path
    data: bytes
    defaults: Mapping[str, Any]

    def rows(self) -> Iterator[Row]:
        return read_jobs(self.data, suffix=self.path.suffix.lower(), folder=self.path.parent, defaults=self.defaults)


@frozen
class Pictures:
    """Pictures with the names that theirs will have."""

    found: Sequence[tuple[str, Path]]
    defaults: Mapping[str, Any]
    skipped: Sequence[Path] = ()

    def rows(self) -> Iterator[Row]:
        return rows_of_pictures(self.found, self.defaults)


@define
class Rows:
    """All rows of all sources, of which `bad` are no edits. A million of them cost as much memory as their files.

    `skipped` are the files of folders that are no pictures.
    """

    sources: Sequence[JobFile | Pictures]
    total: int = 0
    bad: list[tuple[Path, BadRow]] = field(factory=list)
    skipped: list[Path] = field(factory=list)

    def edits(self) -> Iterator[ImageEdit]:
        """The others, in order."""
        for source in self.sources:
            for row in source.rows():
                if not isinstance(row, BadRow):
                    yield row


def rows_in(sources: Sequence[str], *, out: Path, defaults: Mapping[str, Any]) -> Rows:
    """Look at all rows of all sources. Raises ConfigurationError where a source is bad."""
    rows = Rows([_source(Path(source), out, defaults) for source in sources])
    for source in rows.sources:
        if isinstance(source, JobFile):
            _look_through(source, rows)
        else:
            rows.total += len(source.found)
            rows.skipped += source.skipped
    return rows


def _source(source: Path, out: Path, defaults: Mapping[str, Any]) -> JobFile | Pictures:
    suffix = source.suffix.lower()
    if suffix in JOB_FILES and not source.is_dir():
        try:
            return JobFile(source, source.read_bytes(), defaults)
        except OSError as error:
            raise _unreadable(source, error) from error
    if (foreign := foreign_file(suffix)) and source.is_file():
        raise ConfigurationError(f"{source}: {foreign}. Nothing was sent.")
    below = list(_files(source, out)) if source.is_dir() else []
    found = [(_name_in(source, path), path) for path in below if _is_named_picture(path)]
    if source.is_dir() and not found:
        raise ConfigurationError(f"{source} holds no picture: PNG, JPEG and WebP are taken. Nothing was sent.")
    if not source.is_dir():
        found = [(source.stem, source)]
    if not source.exists():
        raise ConfigurationError(f"{source} is not there. Nothing was sent.")
    if not defaults.get("prompt"):
        raise ConfigurationError(f"{source}: pictures need --prompt TEXT or --prompt-file FILE. Nothing was sent.")
    return Pictures(found, defaults, [path for path in below if not _is_named_picture(path)])


def _look_through(source: JobFile, rows: Rows) -> None:
    before = rows.total
    try:
        for row in source.rows():
            rows.total += 1
            if isinstance(row, BadRow):
                rows.bad.append((source.path, row))
    except ValueError as error:
        raise _unreadable(source.path, error) from error
    if rows.total == before:
        raise ConfigurationError(f"{source.path} holds no job. Nothing was sent.")


def _unreadable(path: Path, error: Exception) -> ConfigurationError:
    reason = str(getattr(error, "strerror", None) or error).removesuffix(".")
    return ConfigurationError(f"{path}: {reason}. Nothing was sent.")


def _is_named_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES


def _name_in(folder: Path, path: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _files(folder: Path, out: Path) -> Iterator[Path]:
    """Files below a directory, but for hidden ones and those that earlier runs made."""
    root, made = folder.resolve(), out.resolve()
    within = made.relative_to(root) if made != root and made.is_relative_to(root) else None
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in below.parts)
        is_made = within is not None and below.is_relative_to(within)
        if path.is_file() and not is_hidden and not is_made:
            yield path
