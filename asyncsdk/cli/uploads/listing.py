"""The uploads in the journal, as a table or as facts for a person (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import asdict, frozen

from asyncsdk.cli import units
from asyncsdk.errors import ConfigurationError
from asyncsdk.uploads.journal import JournalEntry, Posting
from asyncsdk.uploads.resuming.resume import ResumeState, Stage, replay

UNDER_WAY = {"pending", "completing"}
NOTHING_THERE = "no uploads in the journal"
MOST_LISTED = 20
_HEADINGS = ("ID", "STATE", "DONE", "EXPIRES", "PURPOSE", "FILE ID", "SERVER", "FILE")
_FILE = len(_HEADINGS) - 1
_SPARED = tuple(map(_HEADINGS.index, ("SERVER", "PURPOSE", "EXPIRES", "DONE", "FILE ID")))  # `uploads show` has them
LEAST_OF_A_NAME = 10  # cells


@frozen(kw_only=True)
class Remembered:
    """One upload. `state` is a stage of the journal; `pid` is the process that is sending it now.

    Sizes are bytes, times unix seconds. `file_id` and `md5` are known once it is completed.
    """

    id: str
    key: str
    state: str
    pid: int | None
    source: str | None
    bytes: int | None
    bytes_done: int
    purpose: str | None
    created_at: int | None
    expires_at: int | None
    base_url: str | None
    file_id: str | None
    md5: str | None

    @property
    def is_from_a_path(self) -> bool:
        """Whether its source is a file that can be read again, rather than memory."""
        return bool(self.source) and not str(self.source).startswith("key:")

    @property
    def stopped(self) -> bool:
        """Whether it stopped half-way, so that it may be resumed."""
        return self.state in UNDER_WAY and self.pid is None


def remembered(entries: Sequence[JournalEntry], *, now: float) -> list[Remembered]:
    """The newest upload of each key, oldest first; after its expiry time it counts as expired."""
    latest = [(entry, upload) for entry in entries if (upload := replay(entry.records))]
    return oldest_first(_of(entry, upload, now) for entry, upload in latest)


def oldest_first(uploads: Iterable[Remembered]) -> list[Remembered]:
    """The uploads in the order in which they began."""
    return sorted(uploads, key=lambda upload: (upload.created_at or 0, upload.id))


def find(uploads: Sequence[Remembered], name: str) -> Remembered:
    """The upload with this id or key, or the only one whose id or key begins with `name`. Raises ConfigurationError."""
    exact = [upload for upload in uploads if name in {upload.id, upload.key}]
    begun = [upload for upload in uploads if upload.id.startswith(name) or upload.key.startswith(name)]
    matches = exact or begun
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise ConfigurationError(f"the journal has no upload {name!r}; see `asyncsdk uploads list`. Nothing was sent.")
    ids = ", ".join([upload.id for upload in matches[:5]] + ["…"] * (len(matches) > 5))
    raise ConfigurationError(
        f"{len(matches)} uploads begin with {name!r} ({ids}); give more of the id. Nothing was sent."
    )


def unfinished(uploads: Sequence[Remembered]) -> list[Remembered]:
    """Those that can still become a file."""
    return [upload for upload in uploads if upload.state in UNDER_WAY]


def left_out(uploads: Sequence[Remembered]) -> str:
    """How many of which state are not shown without --all: `12 completed, 1 expired: --all shows them`; '' for none."""
    counts = Counter(upload.state for upload in uploads if upload.state not in UNDER_WAY)
    if not counts:
        return ""
    more = ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items()))
    return f"{more}: --all shows {'them' if counts.total() > 1 else 'it'}"


def only_one(uploads: Sequence[Remembered], name: str | None, *, verb: str) -> Remembered | None:
    """The upload called `name`; without a name the only one, or None if there is none.

    Raises ConfigurationError with a list if there are several: `verb` is what was to be done.
    """
    if name is not None:
        return find(uploads, name)
    if len(uploads) > 1:
        raise ConfigurationError(f"{len(uploads)} uploads to {verb}: give the ID of one.{_listed(uploads)}")
    return next(iter(uploads), None)


def _listed(uploads: Sequence[Remembered]) -> str:
    some = [f"\n  {upload.id}  {state_of(upload)}  {upload.source or ''}".rstrip() for upload in uploads[:MOST_LISTED]]
    more = len(uploads) - len(some)
    return "".join(some) + (f"\n  and {more:,} more: asyncsdk uploads list --all" if more else "")


def chosen(uploads: Sequence[Remembered], name: str | None, *, every: bool) -> list[Remembered]:
    """The uploads to resume: the one called `name`, all that stopped half-way, or the only one that did.

    Raises ConfigurationError if that is ambiguous or can't be done.
    """
    if name is not None and every:
        raise ConfigurationError("an ID and --all exclude each other. Nothing was sent.")
    if name is not None:
        return [resumable(find(uploads, name))]
    stopped = [upload for upload in uploads if upload.stopped and upload.is_from_a_path]
    if len(stopped) > 1 and not every:
        raise ConfigurationError(
            f"{len(stopped)} uploads stopped half-way. Give an ID or --all; nothing was sent:{_listed(stopped)}"
        )
    return stopped


def moved(uploads: Sequence[Remembered], name: str | None, *, every: bool) -> Remembered:
    """The upload called `name`, or the only one that stopped, whose file is elsewhere now.

    Raises ConfigurationError if that is ambiguous or can't be done.
    """
    if every:
        raise ConfigurationError("--from and --all exclude each other. Nothing was sent.")
    stopped = [upload for upload in uploads if upload.stopped]
    upload = only_one(uploads if name is not None else stopped, name, verb="resume")
    if upload is None:
        raise ConfigurationError("no upload stopped half-way: there is nothing to resume. Nothing was sent.")
    return resumable(upload, moved=True)


def changed_since(upload: Remembered, size: int) -> str:
    """Why an upload is not resumed whose file has another size now, and what to do with it. `size` is in bytes."""
    return (
        f"{upload.id} is not resumed: {upload.source} had {upload.bytes:,} bytes when it began, and has {size:,} now.\n"
        f"  To drop it: asyncsdk uploads cancel {upload.id}. "
        f"If its file was moved: asyncsdk uploads resume {upload.id} --from NEWPATH"
    )


def nothing_stopped(uploads: Sequence[Remembered]) -> str:
    """That there is nothing to resume; and what is under way, which another process sends."""
    sent = [f" Process {upload.pid} is sending {upload.source}." for upload in unfinished(uploads) if upload.pid]
    others = [upload for upload in uploads if upload.stopped and not upload.is_from_a_path]
    if others:
        which = ", ".join(upload.id for upload in others[:MOST_LISTED])
        return (
            f"no upload of a path stopped half-way: there is nothing to resume here. {which} came otherwise, such as a "
            f"piece of --split or with --key: the same `asyncsdk upload` command goes on.{''.join(sent[:MOST_LISTED])}"
        )
    return f"no upload stopped half-way: there is nothing to resume.{''.join(sent[:MOST_LISTED])}"


def names(uploads: Sequence[Remembered]) -> dict[str, Remembered]:
    """The uploads by file name, with the id added if one file is uploaded twice."""
    sources = [upload.source for upload in uploads]
    return {
        str(upload.source) if sources.count(upload.source) == 1 else f"{upload.source} ({upload.id})": upload
        for upload in uploads
    }


def resumable(upload: Remembered, *, moved: bool = False) -> Remembered:
    """Return the upload. Raises ConfigurationError unless it can be resumed from its path; from another if `moved`."""
    if upload.state not in UNDER_WAY:
        raise ConfigurationError(
            f"{upload.id} is {upload.state}: there is nothing to resume. "
            "`asyncsdk upload` starts a new one. Nothing was sent."
        )
    if not upload.is_from_a_path and not moved:
        raise ConfigurationError(
            f"{upload.id} was sent under a key ({upload.source}), not from a path. To resume it from a file with that "
            f"content: asyncsdk uploads resume {upload.id} --from PATH. Nothing was sent."
        )
    return upload


def rows(
    uploads: Sequence[Remembered],
    *,
    now: float,
    width: int | None = None,
    shorten: Callable[[str, int], str] = lambda name, _: name,
) -> list[str]:
    """A table: a line of headings, then one for each upload. Empty columns are left out.

    In `width` cells, if that is given: columns that can be spared go, and `shorten(name, cells)` cuts the files' names.
    """
    cells = [_HEADINGS, *(_cells(upload, now=now) for upload in uploads)]
    columns = [column for column in range(len(_HEADINGS)) if any(row[column] for row in cells[1:])]
    widths = {column: max(len(row[column]) for row in cells) for column in columns}
    if width is not None:
        left, spared = width - _sum_of(widths), list(_SPARED)
        while left < LEAST_OF_A_NAME and spared:
            left += widths.pop(spared.pop(0), -2) + 2
        cells = [(*row[:_FILE], shorten(row[_FILE], max(left, LEAST_OF_A_NAME))) for row in cells]
        widths[_FILE] = 0  # it is the last: nothing has to be in line after it
    return ["  ".join(row[column].ljust(widths[column]) for column in widths).rstrip() for row in cells]


def _sum_of(widths: Mapping[int, int]) -> int:
    """How many cells all columns but that of the file take, each with the gap after it."""
    return sum(width + 2 for column, width in widths.items() if column != _FILE)


def _cells(upload: Remembered, *, now: float) -> tuple[str, ...]:
    server = (upload.base_url or "").partition("://")[2]
    row = (
        upload.id,
        state_of(upload),
        done_of(upload),
        expiry_of(upload, now=now),
        upload.purpose,
        upload.file_id,
        server,
        upload.source,
    )
    return tuple(cell or "" for cell in row)


def facts(upload: Remembered, *, now: float) -> str:
    """All that is known about an upload, a line for each fact."""
    shown = {
        **asdict(upload),
        "state": state_of(upload),
        "created_at": None if upload.created_at is None else units.clock_time(upload.created_at, now=now),
        "expires_at": expiry_of(upload, now=now) or None,
    }
    del shown["pid"]
    return "\n".join(f"{name}: {value}" for name, value in shown.items() if value is not None)


def state_of(upload: Remembered) -> str:
    """Its state in words."""
    return f"sending ({upload.pid})" if upload.pid is not None else upload.state


def done_of(upload: Remembered) -> str:
    """How much the server has."""
    if upload.bytes is None:
        return ""
    return (
        units.size(upload.bytes)
        if upload.bytes_done == upload.bytes
        else units.part_of(upload.bytes_done, upload.bytes)
    )


def expiry_of(upload: Remembered, *, now: float) -> str:
    """When it expires on the server, while it can be resumed."""
    if upload.state not in UNDER_WAY or upload.expires_at is None:
        return ""
    return f"in {units.duration(upload.expires_at - now)}"


def _of(entry: JournalEntry, upload: ResumeState, now: float) -> Remembered:
    opened, completed = upload.opened, upload.completed
    stage = upload.stage
    is_posting = isinstance(opened, Posting)  # which has no time to end in: it is looked for, whenever that is
    if opened and not is_posting and stage in {Stage.PENDING, Stage.COMPLETING} and now >= opened.expires_at:
        stage = Stage.EXPIRED
    size = opened.bytes if opened else (completed.file.get("bytes") if completed else None)
    return Remembered(
        id=upload.upload_id,
        key=entry.key,
        state=str(stage),
        pid=entry.owner.pid if entry.owner else None,
        source=opened.source if opened else None,
        bytes=size,
        bytes_done=(size or 0) if completed else upload.bytes_held,
        purpose=opened.purpose if opened else None,
        created_at=opened.created_at if opened else None,
        expires_at=opened.expires_at if opened and not is_posting else None,
        base_url=opened.base_url if opened else None,
        file_id=completed.file.get("id") if completed else None,
        md5=completed.md5 if completed else None,
    )
