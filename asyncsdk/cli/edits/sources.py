"""The SOURCEs of `edit-many`: job files, directories and pictures, all checked before anything is sent."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeVar

from attrs import define, evolve, field, frozen

from asyncsdk.cli.edits.job_fields import OVERLAYS
from asyncsdk.cli.edits.job_file import (
    JOB_FILES,
    JobRow,
    Place,
    check_jobs,
    edits_of_pictures,
    foreign_file,
    has_only_ids,
    ignored_in,
    read_jobs,
)
from asyncsdk.cli.edits.job_text import EVERY, BadRow
from asyncsdk.cli.edits.messages import MOST_NAMED
from asyncsdk.cli.left_out import LeftOut
from asyncsdk.cli.patterns import expand
from asyncsdk.cli.pictures import is_editable, is_picture
from asyncsdk.cli.unread import unread_source
from asyncsdk.cli.walk import walk, within
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bulk.ids import ComparedEdits, IdProblems, UniqueIds
from asyncsdk.images.destination import SUFFIXES
from asyncsdk.images.edit import ImageEdit, address_of
from asyncsdk.images.names import safe_name
from asyncsdk.remote.address import RemoteAddress

AnyPath = TypeVar("AnyPath", bound=PurePath)


@frozen
class JobFile:
    """A job file as it was when the run began: its bytes, from which the rows are read each time.

    `bad` are the numbers of those that are not edits, once they are checked.
    """

    path: Path | RemoteAddress
    data: bytes
    defaults: Mapping[str, Any]
    bad: frozenset[int] = frozenset()

    def checked(self) -> Iterator[JobRow | BadRow]:
        """Its rows, checked."""
        return check_jobs(self.data, suffix=self.suffix, place=self._place, defaults=self.defaults)

    def edits(self, part: slice = EVERY) -> Iterator[ImageEdit]:
        """Its edits, or those of a part of its rows, once it is known which are `bad`."""
        known: Any = {"place": self._place, "defaults": self.defaults, "bad": self.bad}
        return read_jobs(self.data, suffix=self.suffix, part=part, **known)

    def overridden(self, row: JobRow) -> Iterator[str]:
        """The fields for which a row has a value of its own, and `defaults` another one."""
        for name, value in self.defaults.items():
            written = row.fields[name]
            if written is not value:
                own = self._place.picture(written) if name in OVERLAYS and isinstance(written, str) else written
                if own != value:
                    yield name

    @property
    def _place(self) -> Place:
        return Place(self.path if isinstance(self.path, RemoteAddress) else self.path.parent, os.path.exists)

    @property
    def suffix(self) -> str:
        return PurePath(self.path.name).suffix.lower()


@frozen
class FolderPictures:
    """Pictures with the names of their results, and what else was in their folder: `others` are not pictures.

    A picture is a path, or a URL as text. `results` are what earlier runs made of a prefix of a bucket.
    """

    pictures: Sequence[tuple[str, Path | str]]
    defaults: Mapping[str, Any]
    others: Sequence[Path | str] = ()
    left_out: Sequence[LeftOut] = ()
    ignored: Mapping[str, int] = field(factory=dict)
    folder: Path | None = None
    results: Sequence[str] = ()

    def edits(self, part: slice = EVERY) -> Iterator[ImageEdit]:
        """One of each picture, or of a part of them."""
        return edits_of_pictures(self.pictures[part], self.defaults)


@define
class Rows:
    """All rows of all sources, of which `bad` are not edits. A million rows need as much memory as their files.

    Of tables, `ignored_columns` are not fields of an edit, each with the field that it may mean.
    Of folders, `others` are files that are not pictures, `left_out` is what could not be read and counts in
    `total`, and `ignored` counts what is hidden or belongs to the system. `results` are what lies in the directory of
    results, and is not edited again. `overriding` are job files whose rows have values of their own for fields that are
    options too, by the names of these fields. `twice` are pictures that were given before. `id_problems` are those of
    ids that were compared.
    """

    sources: list[JobFile | FolderPictures]
    _counts: list[int] = field(factory=list)  # of the rows of each
    total: int = 0
    ignored_columns: list[tuple[Path | RemoteAddress, Mapping[str, str | None]]] = field(factory=list)
    bad: list[tuple[Path | RemoteAddress, BadRow]] = field(factory=list)
    others: list[Path | str] = field(factory=list)
    left_out: list[LeftOut] = field(factory=list)
    ignored: Counter[str] = field(factory=Counter)
    results: list[Path | str] = field(factory=list)
    twice: list[Path | str] = field(factory=list)
    overriding: list[tuple[Path | RemoteAddress, Sequence[str]]] = field(factory=list)
    url: RemoteAddress | None = None
    id_problems: IdProblems | None = None

    @property
    def edits_in_all(self) -> int:
        """How many rows are edits."""
        return self.total - len(self.bad) - len(self.left_out)

    @property
    def json_lines(self) -> list[bytes]:
        """The content of the job files that have a JSON object a line, as `failed.jsonl` does."""
        files = (source for source in self.sources if isinstance(source, JobFile))
        return [file.data for file in files if file.suffix in {".jsonl", ".ndjson"}]

    def edits(self, start: int = 0, stop: int | None = None) -> Iterator[ImageEdit]:
        """The rows that are edits, in order: of all rows, or of those with these numbers."""
        before = 0
        for source, count in zip(self.sources, self._counts, strict=True):
            part = slice(max(0, start - before), None if stop is None else max(0, stop - before))
            before += count
            yield from source.edits(part)

    def compared(self, edits: Iterable[ImageEdit]) -> Iterable[ImageEdit]:
        """The same `edits` of these rows; a run that needs to compare their ids knows if that was done."""
        return edits if self.id_problems is None else ComparedEdits(edits, self.id_problems)

    def add(self, source: JobFile | FolderPictures, count: int) -> None:
        """Add a source with `count` rows."""
        self.sources.append(source)
        self._counts.append(count)


def rows_in(
    sources: Sequence[str],
    *,
    out: Path | None,
    defaults: Mapping[str, Any],
    made: Collection[Path] | None = None,
    fetched: Mapping[str, JobFile | FolderPictures] | None = None,
    kept: Path | None = None,
    ids: UniqueIds | None = None,
) -> Rows:
    """Check all rows of all sources. Raises ConfigurationError if a source is bad, or if nothing is left of them.

    `made` are the results that earlier runs saved in `out`, by their full paths; None if there was no earlier run, or
    if the results are not on this machine. `fetched` are the sources that are URLs.
    `kept` is the ledger's directory: without an `out` here, what is paid waits there, and is not edited either. `ids`
    are compared, where each edit must have one of its own.
    """
    fetched = fetched or {}
    if problem := next(filter(None, (unread_source(name) for name in sources if name not in fetched)), None):
        raise ConfigurationError(problem)
    rows, met, apart, in_place = Rows([]), set[str](), kept if out is None else out, ids is None
    paths: list[Path | str] = [
        name if name in fetched else Path(name) for name in expand(sources, apart_from=apart, known=fetched)
    ]
    if made is not None and out is not None:
        paths, rows.results = _apart(paths, out)
    for source in [fetched[path] if isinstance(path, str) else _source(path, apart, defaults) for path in paths]:
        if isinstance(source, JobFile):
            in_place = False
            _look_through(source, rows, ids)
        else:
            pictures = _without_known(_without_results(source, made or (), rows), met, rows)
            rows.add(pictures, len(pictures.pictures))
            in_place = in_place and all(_is_its_own_result(*each, out) for each in pictures.pictures)
            if ids is not None:
                for edit in pictures.edits():
                    ids.check_edit(edit)
            rows.total += len(pictures.pictures) + len(pictures.left_out)
            rows.others += pictures.others
            rows.results += pictures.results
            rows.left_out += pictures.left_out
            rows.ignored.update(pictures.ignored)
    if in_place and rows.edits_in_all:
        raise ConfigurationError(
            f"--out {out} is where the pictures are: a result would have the name of its picture, and no picture is "
            "overwritten. Give another --out. Nothing was sent."
        )
    rows.id_problems = None if ids is None else ids.problems
    if rows.results and not rows.total:
        raise ConfigurationError(
            f"{out or 'the bucket'}: every SOURCE is in --out, where the results are, which are not edited again. To "
            "edit them, give another --out. Nothing was sent."
        )
    return rows


def lies_in(path: Path, out: Path) -> bool:
    """Whether a path is that of the directory of results, or leads into it."""
    return _full(path).is_relative_to(out.resolve()) or path.resolve() == out.resolve()


def _full(path: Path) -> Path:
    """As `walk.within` compares it: a link to a picture is where the link is."""
    return path.parent.resolve() / path.name if path.name not in {"", ".."} else path.resolve()


def _is_its_own_result(name: str, picture: Path | str, out: Path | None) -> bool:
    """Whether the result of a picture could have its place."""
    if out is None or not isinstance(picture, Path) or picture.suffix not in SUFFIXES:
        return False
    return _full(picture) == _full(out / f"{safe_name(name)}{picture.suffix}")


def _apart(paths: Sequence[Path | str], out: Path) -> tuple[list[Path | str], list[Path | str]]:
    """The sources, and those of them that are the results of earlier runs as a whole.

    These are what lies in `out` where others do not, as `*` names both. If all do, the originals are there too.
    """
    local = [path for path in paths if isinstance(path, Path)]
    inside: list[Path | str] = [path for path in local if path.suffix.lower() not in JOB_FILES and lies_in(path, out)]
    if len(local) == len(paths) and all(path in inside or lies_in(path, out) for path in local):
        return list(paths), []
    return [path for path in paths if path not in inside], inside


def _without_results(pictures: FolderPictures, made: Collection[Path], rows: Rows) -> FolderPictures:
    """The same without what an earlier run `made`, which `rows.results` gets."""
    if not made:
        return pictures
    are_made = [isinstance(path, Path) and _full(path) in made for _, path in pictures.pictures]
    rows.results += [path for (_, path), is_made in zip(pictures.pictures, are_made, strict=True) if is_made]
    rest = [picture for picture, is_made in zip(pictures.pictures, are_made, strict=True) if not is_made]
    return evolve(pictures, pictures=rest)


def _without_known(pictures: FolderPictures, met: set[str], rows: Rows) -> FolderPictures:
    """The same without what was `met` in an earlier source; `rows.twice` gets the pictures: they are not paid twice."""

    def is_new(path: Path | str) -> bool:
        return os.path.abspath(path) not in met  # noqa: PTH100 - two links are two pictures

    rows.twice += [shown(path) for _, path in pictures.pictures if not is_new(path)]
    kept = evolve(
        pictures,
        pictures=[picture for picture in pictures.pictures if is_new(picture[1])],
        others=list(filter(is_new, pictures.others)),
        left_out=[left for left in pictures.left_out if is_new(left.path)],
        ignored=pictures.ignored if pictures.folder is None or is_new(pictures.folder) else {},
    )
    all_ = [*(path for _, path in pictures.pictures), *pictures.others, *(left.path for left in pictures.left_out)]
    met.update(map(os.path.abspath, all_ if pictures.folder is None else [*all_, pictures.folder]))
    return kept


def shown(path: Path | str) -> Path | str:
    """A picture for people: of a URL without its signature."""
    address = address_of(path)
    return path if address is None else address.shown


def _source(source: Path, apart: Path | None, defaults: Mapping[str, Any]) -> JobFile | FolderPictures:
    try:
        is_folder = stat.S_ISDIR(source.stat().st_mode)
        suffix = source.suffix.lower()
        if not is_folder and suffix in JOB_FILES:
            return JobFile(source, source.read_bytes(), defaults)
        if not is_folder and (foreign := foreign_file(suffix)):
            raise ConfigurationError(f"{source}: {foreign}. Nothing was sent.")
        pictures = (
            _in_folder(source, apart, defaults) if is_folder else FolderPictures([(source.stem, source)], defaults)
        )
    except OSError as error:
        raise _unreadable(source, error) from error
    if not defaults.get("prompt"):
        raise ConfigurationError(f"{source}: give --prompt TEXT or --prompt-file FILE for pictures. Nothing was sent.")
    return pictures


def _in_folder(folder: Path, apart: Path | None, defaults: Mapping[str, Any]) -> FolderPictures:
    content = walk(folder, apart_from=None if apart is None else within(folder, apart))
    pictures = named_below(folder, [path for path in content.files if is_picture(path)])
    if not pictures:
        why = "".join(f"; {left.path}: {left.reason}" for left in content.left_out[:MOST_NAMED])
        raise ConfigurationError(f"{folder} contains no picture (PNG, JPEG or WebP){why}. Nothing was sent.")
    others = [path for path in content.files if not is_picture(path)]
    return FolderPictures(pictures, defaults, others, content.left_out, content.ignored, folder)


def named_below(folder: AnyPath, paths: Sequence[AnyPath]) -> list[tuple[str, AnyPath]]:
    """Pictures with their names: their paths below `folder` without suffix.

    A camera writes `a.dng` beside `a.jpg`: what is edited keeps the name, and the other is `a-dng`.
    """
    edited = {path.with_suffix("") for path in paths if is_editable(path)}

    def name(path: AnyPath) -> str:
        stem = path.with_suffix("")
        apart = "" if is_editable(path) or stem not in edited else f"-{path.suffix[1:]}"
        return f"{stem.relative_to(folder).as_posix()}{apart}"

    return [(name(path), path) for path in paths]


def _look_through(source: JobFile, rows: Rows, ids: UniqueIds | None) -> None:
    total, bad, own = 0, list[int](), set[str]()
    rows.url = rows.url or next(filter(None, (address_of(source.defaults.get(name)) for name in OVERLAYS)), None)
    try:
        for row in source.checked():
            if isinstance(row, BadRow):
                bad.append(total)
                rows.bad.append((source.path, row))
            else:
                if ids is not None:
                    ids.check(row.id, row.fields.get("n"), row.line)
                rows.url = rows.url or row.url
                own.update(source.overridden(row) if source.defaults else ())
            total += 1
        ignored = ignored_in(source.data, suffix=source.suffix)
    except ConfigurationError:
        raise
    except ValueError as error:
        raise _unreadable(source.path, error) from error
    rows.add(evolve(source, bad=frozenset(bad)), total)
    rows.total += total
    if not total:
        raise ConfigurationError(f"{source.path} contains no job. Nothing was sent.")
    if total == len(bad) and has_only_ids(source.data, suffix=source.suffix):
        raise ConfigurationError(
            f"{source.path} has ids and no pictures, as a gallery saves rejects; did you mean --redo {source.path}? "
            "Nothing was sent."
        )
    if own:
        rows.overriding.append((source.path, sorted(own, key=lambda name: (name != "prompt", name))))
    if ignored:
        rows.ignored_columns.append((source.path, ignored))


def _unreadable(path: Path | RemoteAddress, error: Exception) -> ConfigurationError:
    reason = str(getattr(error, "strerror", None) or error).removesuffix(".")
    return ConfigurationError(f"{path}: {reason}{'' if reason.endswith('?') else '.'} Nothing was sent.")
