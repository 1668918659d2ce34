"""Job files: turns their rows into edits, writes an edit as a row, and names what is not a job file (pure)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

from attrs import evolve, frozen

from asyncsdk.api import ImageRef
from asyncsdk.cli.edits.job_fields import IGNORED, KNOWN, OVERLAYS, VALUES, as_meant, picture_misfit
from asyncsdk.cli.edits.job_table import ignored_columns, near_field, table_rows
from asyncsdk.cli.edits.job_text import EVERY, BadRow, NumberedRow, document_rows, json_rows
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.edit import ImageEdit, Pictures, address_of
from asyncsdk.remote.address import RemoteAddress, local_path, remote_address

TABLES = frozenset({".csv", ".tsv"})
JOB_FILES = TABLES | {".jsonl", ".ndjson", ".json"}
_SAVE_AS_CSV = 'in Excel, save it as "CSV UTF-8", and give that file'
_CONVERT = "write it as JSON lines (.jsonl) or CSV and give that file"
_UNPACK = "unpack it and give the file within"
_FOREIGN_SUFFIXES = {
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers"), ("a spreadsheet", _SAVE_AS_CSV)),
    **dict.fromkeys((".parquet", ".feather", ".arrow", ".pkl", ".yaml", ".yml", ".xml"), ("a data file", _CONVERT)),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".tar", ".tgz"), ("an archive", _UNPACK)),
    ".txt": ("a text file", "name it .csv if it is a table, or .jsonl if each line of it is a JSON object"),
}
_FOREIGN_CONTENT = {
    b"PK\x03\x04": ("a spreadsheet or an archive", _SAVE_AS_CSV),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", _SAVE_AS_CSV),
    b"PAR1": ("a data file", _CONVERT),
    b"\x1f\x8b": ("an archive", _UNPACK),
}


def foreign_file(suffix: str) -> str | None:
    """What a file that ends with `suffix` is, and how to convert it; None for a job file or an unknown suffix."""
    return _instead(_FOREIGN_SUFFIXES.get(suffix))


def rows_of_text(data: bytes, *, suffix: str, known: Collection[str], part: slice = EVERY) -> Iterator[NumberedRow]:
    """The rows of a file that ends with `suffix`; `known` are the fields that the columns of a table may be.

    `part` are the numbers of those that are wanted.

    Raises ValueError for a file that can't be read: not text, or a header without a picture or with a misspelt field.
    """
    foreign = next((file for start, file in _FOREIGN_CONTENT.items() if data.startswith(start)), None)
    if foreign is not None:
        raise ValueError(_instead(foreign))
    with _decoding(suffix):
        if suffix in TABLES:
            yield from islice(table_rows(data, suffix=suffix, known=known), part.start, part.stop)
        elif suffix == ".json":
            yield from islice(document_rows(data), part.start, part.stop)
        else:
            yield from json_rows(data, part)


@contextmanager
def _decoding(suffix: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        advice = 'in Excel, save it as "CSV UTF-8"' if suffix in TABLES else "save it as UTF-8"
        raise ValueError(f"it is not text in UTF-8, or in UTF-16 with a byte order mark: {advice}") from error


def ignored_in(data: bytes, *, suffix: str) -> Mapping[str, str | None]:
    """The columns of a table that are not fields of an edit, each with the field that it may mean; none of JSON."""
    return ignored_columns(data, suffix=suffix, known=KNOWN) if suffix in TABLES else {}


def has_only_ids(data: bytes, *, suffix: str) -> bool:
    """Whether no row has more than an id, as in a file of rejects."""
    if suffix in TABLES:
        return False
    rows = rows_of_text(data, suffix=suffix, known=KNOWN)
    return all(isinstance(row, Mapping) and "id" in row and set(row) <= _OF_REJECTS for _, row in rows)


def _instead(foreign: tuple[str, str] | None) -> str | None:
    return None if foreign is None else f"it is {foreign[0]}, not a job file: {foreign[1]}"


_OF_REJECTS = frozenset({"id", "item"})
_REQUIRED = ("image", "prompt")

IsThere = Callable[[Path], bool]


@frozen
class Place:
    """The folder of a job file, to which its paths are relative; of one in a bucket, its own address."""

    folder: Path | RemoteAddress
    is_there: IsThere

    def address(self, written: str) -> RemoteAddress | None:
        """Where a picture is, if not on this machine. Raises TypeError, ConfigurationError for what can't be one."""
        if ":" not in written and isinstance(self.folder, Path):  # as nearly all are
            return None
        address = remote_address(written)
        if address is not None:
            return address
        path = local_path(written)
        return None if isinstance(self.folder, Path) else remote_address(beside_job_file(self.folder, path))

    def picture(self, written: str) -> Path | str:
        """The path or the URL of a picture. Raises as `address` does."""
        if ":" in written:  # else it is no URL
            if remote_address(written) is not None:
                return written
            written = local_path(written)
        return (
            self.path(written, self.folder) if isinstance(self.folder, Path) else beside_job_file(self.folder, written)
        )

    def path(self, written: str, folder: Path) -> Path:
        r"""Where a path leads, of all that it may mean the first that is there.

        `photos\IMG.jpg` as Windows writes it is `photos/IMG.jpg` everywhere, and a spreadsheet has blanks around it.
        """
        path, plain = folder / written, written.strip()
        if "\\" not in written and plain == written:
            return path
        meant = (written, written.replace("\\", "/"), plain, plain.replace("\\", "/"))
        return next((other for each in meant if self.is_there(other := folder / each)), path)


@frozen
class JobRow:
    """A row that is an edit: its line, its fields as they are written, and the first address among its pictures."""

    line: int
    fields: Mapping[str, Any]
    url: RemoteAddress | None

    @property
    def id(self) -> str | None:
        """Its id, which may be written as a number."""
        return str(self.fields["id"]) if "id" in self.fields else None


def check_jobs(data: bytes, *, suffix: str, place: Place, defaults: Mapping[str, Any]) -> Iterator[JobRow | BadRow]:
    """The rows of a job file, checked. No paths are made, which takes as long again. Raises as `read_jobs` does."""
    for line, row in rows_of_text(data, suffix=suffix, known=KNOWN):
        yield row if isinstance(row, BadRow) else checked(row, line=line, place=place, defaults=defaults)


def read_jobs(
    data: bytes,
    *,
    suffix: str,
    place: Place,
    defaults: Mapping[str, Any],
    part: slice = EVERY,
    bad: Container[int] = (),
) -> Iterator[ImageEdit]:
    """The edits of a job file that was checked. Raises ValueError for any other file.

    `defaults` are the fields of rows that do not have them. `part` are the numbers of the rows that are wanted, and
    those that are `bad` are not edits.
    """
    rows = rows_of_text(data, suffix=suffix, known=KNOWN, part=part)
    for number, (line, row) in enumerate(rows, part.start):
        if number not in bad and not isinstance(row, BadRow):
            yield _edit(row, {**defaults, **_own(row)}, line, place)


def checked(row: Mapping[str, Any], *, line: int, place: Place, defaults: Mapping[str, Any]) -> JobRow | BadRow:
    """A row with its fields, or what is wrong with it."""
    own = _own(row)
    fields = {**defaults, **own}
    problem = _problem(own, fields)
    if problem is not None:
        return BadRow(line, problem)
    written = [*_images(fields), *(own[name] for name in OVERLAYS if name in own)]
    try:
        addresses = [_address(picture, place) for picture in written]
    except (TypeError, ConfigurationError) as error:
        return BadRow(line, f"{str(error).removesuffix(' Nothing was sent.').removesuffix('.')}.")
    return JobRow(line, fields, next(filter(None, addresses), None))


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a row has itself."""
    return {
        name: as_meant(name, value) if isinstance(value, float) else value
        for name, value in row.items()
        if value is not None and name not in IGNORED
    }


def _images(fields: Mapping[str, Any]) -> list[Any]:
    image = fields["image"]
    return image if isinstance(image, list) else [image]


def _edit(row: Mapping[str, Any], fields: dict[str, Any], line: int, place: Place) -> ImageEdit:
    """The edit that is written in a row that was checked."""
    fields["image"] = Pictures([_picture(image, place) for image in _images(fields)])
    for name in OVERLAYS:
        if row.get(name) is not None:
            fields[name] = _picture(row[name], place)
    if "id" in fields:
        fields["id"] = str(fields["id"])
    return ImageEdit(**fields, line=line, maybe_paid=row.get("status") == "uncertain" or None)


def row_of(edit: ImageEdit, edit_id: str) -> dict[str, Any]:
    """An edit as a job line that means the same in any directory."""
    images = [_named(image) for image in edit.image]
    overlays = {name: _named(getattr(edit, name)) for name in OVERLAYS if getattr(edit, name) is not None}
    extra = {} if edit.extra is None else {"extra": dict(edit.extra)}
    return {"id": edit_id, "image": images[0] if len(images) == 1 else images, **overlays, **edit.options, **extra}


def edits_of_pictures(named: Sequence[tuple[str, Path | str]], defaults: Mapping[str, Any]) -> Iterator[ImageEdit]:
    """One edit for each picture, named as given; `defaults` have the prompt."""
    for name, path in named:
        yield ImageEdit(image=path, name=name, **defaults)


def _problem(own: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
    if not own.keys() <= KNOWN:
        unknown = next(name for name in own if name not in KNOWN)
        near = near_field(unknown, KNOWN - IGNORED)
        return f"{unknown!r} is not a field of an edit{f'; did you mean {near!r}?' if near else '.'}"
    for name in _REQUIRED:
        if not fields.get(name):
            return f"{name!r} is missing."
    for name, value in own.items():
        known = VALUES.get(name)
        if known is not None and (problem := known.misfit(name, value)) is not None:
            return problem
    return None


def beside_job_file(job_file: RemoteAddress, written: str) -> str:
    r"""The URL of a picture whose path is relative to a job file at a URL; `photos\IMG.jpg` is `photos/IMG.jpg`.

    Raises TypeError for a path that is not relative, or not text.
    """
    plain = written.strip().replace("\\", "/")
    if plain.startswith("/"):
        raise TypeError(f"{plain!r} is not relative to the job file, which is at a URL: write the picture's own URL")
    path = normpath(join("/", dirname(job_file.path), plain))
    try:
        return evolve(job_file, raw="/", login="", query="").child(path.lstrip("/")).shown
    except UnicodeEncodeError:
        raise TypeError(f"{plain!r} contains half a character, which no URL can have") from None


def _address(value: Any, place: Place) -> RemoteAddress | None:
    problem = picture_misfit(value)
    if problem is not None:
        raise TypeError(problem)
    return place.address(value) if isinstance(value, str) else None


def _picture(value: Any, place: Place) -> Path | str | ImageRef:
    return place.picture(value) if isinstance(value, str) else ImageRef(**value)


def _named(picture: Any) -> Any:
    if isinstance(picture, ImageRef):
        return {"file_id": picture.file_id} if picture.file_id else {"image_url": picture.image_url}
    address = address_of(picture)
    return str(Path(picture).absolute()) if address is None else address.shown
