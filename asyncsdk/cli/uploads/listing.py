"""What the journal holds, as people look at it (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import asdict, frozen

from asyncsdk.cli import units
from asyncsdk.errors import ConfigurationError
from asyncsdk.uploads.journal import JournalEntry
from asyncsdk.uploads.resume import ResumeState, Stage, replay

UNDER_WAY = {"pending", "completing"}
_HEADINGS = ("ID", "STATE", "DONE", "EXPIRES", "PURPOSE", "FILE ID", "SERVER", "FILE")


@frozen(kw_only=True)
class Remembered:
    """One upload. `state` is a stage of the journal's; `pid` is of the process that is sending it now.

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
        """Whether the file can be found again: else it was sent from memory, under a name of its own."""
        return bool(self.source) and not str(self.source).startswith("key:")


def remembered(entries: Sequence[JournalEntry], *, now: float) -> list[Remembered]:
    """The newest upload of each key, oldest first; one whose time is over counts as expired."""
    found = [(entry, upload) for entry in entries if (upload := replay(entry.records))]
    uploads = [_of(entry, upload, now) for entry, upload in found]
    return sorted(uploads, key=lambda upload: (upload.created_at or 0, upload.id))


def find(uploads: Sequence[Remembered], name: str) -> Remembered:
    """The upload with this id, or the one whose id or key begins so. Raises ConfigurationError."""
    exact = [upload for upload in uploads if name in {upload.id, upload.key}]
    begun = [upload for upload in uploads if upload.id.startswith(name) or upload.key.startswith(name)]
    matches = exact or begun
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise ConfigurationError(f"the journal holds no upload {name!r}; see `asyncsdk uploads list`.")
    ids = ", ".join([upload.id for upload in matches[:5]] + ["…"] * (len(matches) > 5))
    raise ConfigurationError(f"{len(matches)} uploads begin with {name!r} ({ids}); write more of it.")


def chosen(uploads: Sequence[Remembered], name: str | None, *, every: bool) -> list[Remembered]:
    """Those to go on with: the one called `name`, all that stopped half-way, or the only one that did.

    Raises ConfigurationError where that can't be told, or can't be done.
    """
    if name is not None and every:
        raise ConfigurationError("an ID and --all exclude each other.")
    if name is not None:
        return [_that_can_go_on(find(uploads, name))]
    stopped = [it for it in uploads if it.state in UNDER_WAY and it.pid is None and it.is_from_a_path]
    if len(stopped) > 1 and not every:
        ids = "".join(f"\n  {it.id}  {it.source}" for it in stopped)
        raise ConfigurationError(f"{len(stopped)} uploads stopped half-way; say which, or --all:{ids}")
    return stopped


def names(uploads: Sequence[Remembered]) -> dict[str, Remembered]:
    """The uploads by the names of their files; by their ids too where one file goes up twice."""
    sources = [upload.source for upload in uploads]
    return {str(it.source) if sources.count(it.source) == 1 else f"{it.source} ({it.id})": it for it in uploads}


def _that_can_go_on(it: Remembered) -> Remembered:
    if it.state not in UNDER_WAY:
        raise ConfigurationError(
            f"{it.id} is {it.state}: there is nothing to go on with. `asyncsdk upload` begins anew."
        )
    if not it.is_from_a_path:
        raise ConfigurationError(f"{it.id} was sent from memory: only the program that began it can go on with it.")
    return it


def rows(uploads: Sequence[Remembered], *, now: float) -> list[str]:
    """A table: a line of headings, then one for each upload. Columns that tell nothing are left out."""
    cells = [_HEADINGS, *(_cells(it, now=now) for it in uploads)]
    told = [column for column in range(len(_HEADINGS)) if any(row[column] for row in cells[1:])]
    widths = {column: max(len(row[column]) for row in cells) for column in told}
    return ["  ".join(row[column].ljust(widths[column]) for column in told).rstrip() for row in cells]


def _cells(it: Remembered, *, now: float) -> tuple[str, ...]:
    server = (it.base_url or "").partition("://")[2]
    known = (it.id, state_of(it), done_of(it), expiry_of(it, now=now), it.purpose, it.file_id, server, it.source)
    return tuple(cell or "" for cell in known)


def facts(it: Remembered, *, now: float) -> str:
    """All that is known of one, a line for each fact."""
    shown = {
        **asdict(it),
        "state": state_of(it),
        "created_at": None if it.created_at is None else units.clock_time(it.created_at, now=now),
        "expires_at": expiry_of(it, now=now) or None,
    }
    del shown["pid"]
    return "\n".join(f"{name}: {value}" for name, value in shown.items() if value is not None)


def state_of(it: Remembered) -> str:
    """Its state in words."""
    return f"sending ({it.pid})" if it.pid is not None else it.state


def done_of(it: Remembered) -> str:
    """How much the server holds."""
    if it.bytes is None:
        return ""
    return units.size(it.bytes) if it.bytes_done == it.bytes else units.part_of(it.bytes_done, it.bytes)


def expiry_of(it: Remembered, *, now: float) -> str:
    """When the server drops it, while that matters."""
    if it.state not in UNDER_WAY or it.expires_at is None:
        return ""
    return f"in {units.duration(it.expires_at - now)}"


def _of(entry: JournalEntry, upload: ResumeState, now: float) -> Remembered:
    opened, completed = upload.opened, upload.completed
    stage = upload.stage
    if opened and stage in {Stage.PENDING, Stage.COMPLETING} and now >= opened.expires_at:
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
        expires_at=opened.expires_at if opened else None,
        base_url=opened.base_url if opened else None,
        file_id=completed.file.get("id") if completed else None,
        md5=completed.md5 if completed else None,
    )
