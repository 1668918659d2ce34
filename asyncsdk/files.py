"""Whole-file jobs, such as reading, saving atomically, or streaming to a path; each runs in a daemon thread."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
from aiofiles.os import wrap
from attrs import define, field

from asyncsdk.retry import pause_after
from asyncsdk.threads import DaemonThreadPool, NoThreadError
from asyncsdk.wal import NotDurableError, disk

T = TypeVar("T")
Again = Callable[[Exception], Awaitable[bool]]

PRIVATE, BY_UMASK = 0o600, 0o666
FOLDER_MODE = 0o755  # less the umask; a ledger is kept only where nobody else may write
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# Separate pools: a read that hangs, such as of a dead network disk, keeps no paid image from being saved.
_READING = DaemonThreadPool("asyncsdk-reading", 16)
_SAVING = DaemonThreadPool("asyncsdk-saving", 8, cancellable=False)  # a disk that hangs may still take it later

logger = logging.getLogger(__name__)


@define
class Waiting:
    """Waits for failures that pass, in total as long as each kind is worth (`retry.pause_after`)."""

    waited: float = 0.0

    async def again(self, error: Exception) -> bool:
        """Wait a moment if `error` may pass; return whether to try again."""
        pause = pause_after(error, self.waited)
        if pause is not None:
            await anyio.sleep(pause)
            self.waited += pause
        return pause is not None


async def patiently(job: Callable[[], Awaitable[T]], again: Again, *, on: type[Exception] = Exception) -> T:
    """What `job` returns, tried again as long as `again` says so of what it raised, if that is an `on`."""
    while True:
        try:
            return await job()
        except on as error:
            if not await again(error):
                raise


async def in_thread(
    job: Callable[..., T], *arguments: Any, again: Again | None = None, pool: DaemonThreadPool | None = None
) -> T:
    """Run `job`, which reads or computes, in a thread, of `pool` if it has its own. A cancelled caller does not wait.

    Where the system gives no thread, `again` decides how long to try; then NoThreadError is raised.
    """
    return await _submitted(_READING if pool is None else pool, partial(job, *arguments), again)


async def in_saving_thread(job: Callable[..., T], *arguments: Any, again: Again | None = None) -> T:
    """Run `job`, which writes, in a thread, as `in_thread` does: a cancelled caller waits for what it has begun."""
    return await _submitted(_SAVING, partial(job, *arguments), again)


async def _submitted(pool: DaemonThreadPool, job: Callable[[], T], again: Again | None) -> T:
    return await patiently(lambda: wrap(job)(executor=pool), again or Waiting().again, on=NoThreadError)


async def stream_to(
    path: str | os.PathLike[str], chunks: AsyncIterator[bytes], *, mode: int = BY_UMASK, below: Path | None = None
) -> int:
    """Save `chunks` at `path` with permissions `mode`, and return how many bytes there were.

    They go to a temporary file beside it, which replaces it once all is written and synced: a reader of `path` sees
    the old file or the new one, never half of one. `below` is as with `save`. Raises OSError, also for a device or a
    pipe at `path`, which is never replaced by a file.
    """
    draft = Draft(Path(path), mode=mode, below=below)
    try:
        async for chunk in chunks:
            await in_saving_thread(draft.append, chunk)
        size, _ = await in_saving_thread(draft.keep)
    except BaseException:
        with anyio.move_on_after(0.5, shield=True):
            await in_saving_thread(draft.drop)
        raise
    return size


async def save(
    path: str | os.PathLike[str],
    content: bytes,
    *,
    overwrite: bool = True,
    drafts: Path | None = None,
    mode: int = BY_UMASK,
    below: Path | None = None,
    again: Again | None = None,
    on_saved: Callable[[], object] = lambda: None,
) -> OSError | None:
    """Save `content` at `path` with permissions `mode`, durably, whole or not at all; missing directories are made.

    `drafts` is a directory for the temporary file, on the same file system, else that of `path`; `clear_drafts` removes
    what a killed process leaves there. `below` is a directory that is not made again if it is gone. `again` decides
    how long to wait for a failure that passes, such as a lack of descriptors. `on_saved` is called once the file is
    there, before its directory is synced.

    Raises OSError where nothing was saved: FileExistsError where something is there and `overwrite` is False. Returns
    the error of the directory's sync, after which the file is there, and its name may not survive a power cut.
    """
    target, again = Path(path), again or Waiting().again

    async def job() -> OSError | None:  # a draft that failed is dropped: each attempt has its own
        draft = Draft(target, drafts, mode=mode, below=below)
        return await in_saving_thread(partial(draft.save, content, overwrite=overwrite), again=again)

    doubt = await patiently(job, again)
    on_saved()
    while doubt is not None and await again(doubt):
        doubt = await in_saving_thread(doubt_about, target, again=again)
    return doubt


def make_directory(path: Path, below: Path | None = None) -> None:
    """Make a directory and its missing parents, of these only those below `below`, if that is given. Blocking.

    Nobody else may write in them, as a ledger in one needs.

    Raises OSError: NotADirectoryError where a file is in the way, FileNotFoundError where `below` is gone: made again,
    it would be in the way of the directory that was moved or unmounted.
    """
    if below is not None and not below.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(below))
    try:
        if below is None:
            _make_with_parents(path)
            return
        for folder in reversed([folder for folder in (path, *path.parents) if below in folder.parents]):
            folder.mkdir(FOLDER_MODE, exist_ok=True)  # one at a time: `below` may go at any moment
    except FileExistsError as error:  # which would look as if a file to be saved existed already
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path)) from error


async def make_writable(folder: Path) -> None:
    """Make a directory and its missing parents, and check with a temporary file that it is writable. Raises OSError."""
    await in_saving_thread(_make_writable, folder)


def clear_drafts(folder: Path) -> None:
    """Remove the drafts that a killed process left in `folder`. Blocking. Raises OSError."""
    for path in folder.glob(".asyncsdk-*"):
        path.unlink()


async def read(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """The whole of a regular file of at most `limit` bytes.

    Raises OSError: EFBIG for a larger one before anything of it is read, EISDIR for a directory, EINVAL for a pipe.
    """
    return await in_thread(_read, path, limit)


async def existing(paths: Iterable[Path], *, again: Again | None = None) -> list[Path]:
    """Those of `paths` where something is."""
    return await in_thread(_existing, list(paths), again=again)


async def gone(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` where nothing is, or an empty file, such as a power cut or a full disk may leave."""
    return await in_thread(lambda: [path for path in paths if not _has_content(path)])


async def below(folder: Path) -> list[Path]:
    """The files in a directory at any depth, in order, without what is ours in it (`.asyncsdk…`)."""
    found = sorted(await in_thread(lambda: [path for path in folder.rglob("*") if path.is_file()]))
    return [path for path in found if "/.asyncsdk" not in f"/{path.relative_to(folder).as_posix()}"]


async def remove(paths: Iterable[Path]) -> None:
    """Remove files, if they are there. Raises OSError."""
    for path in paths:
        await in_saving_thread(partial(path.unlink, missing_ok=True))


async def no_directories(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` where something is that is not a directory, or can't be looked at."""
    return await in_thread(
        lambda: [path for path in paths if os.path.lexists(path) and not os.path.isdir(path)]  # noqa: PTH112 - which raises nothing
    )


async def move(path: Path, target: Path, *, below: Path | None = None, again: Again | None = None) -> None:
    """Move a file within its file system; missing directories are made, `below` and `again` as with `save`.

    Raises OSError: FileExistsError where something is at `target`.
    """
    again = again or Waiting().again
    await patiently(partial(in_saving_thread, _move, path, target, below, again=again), again)


def _read(path: str | os.PathLike[str], limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"{status.st_size} bytes, of which at most {limit} are taken", os.fspath(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _make_with_parents(path: Path) -> None:
    try:
        path.mkdir(FOLDER_MODE, exist_ok=True)
    except FileNotFoundError:
        if path.parent == path:
            raise
        _make_with_parents(path.parent)
        path.mkdir(FOLDER_MODE, exist_ok=True)


def _make_writable(folder: Path) -> None:
    make_directory(folder)
    draft = Draft(folder / "any")
    try:
        draft.append(b"x")
    except OSError as error:
        error.filename = os.fspath(folder)
        raise
    finally:
        draft.drop()


def _existing(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if os.path.lexists(path)]


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _move(path: Path, target: Path, below: Path | None) -> None:
    make_directory(target.parent, below)
    name_file(path, target)
    path.unlink(missing_ok=True)


@define
class Draft:
    """The temporary file. No handle outlives a job, and a job whose caller was cancelled can't bring it back."""

    target: Path
    folder: Path | None = None
    mode: int = field(default=BY_UMASK, kw_only=True)
    below: Path | None = field(default=None, kw_only=True)
    path: Path = field(init=False)
    _begun: bool = field(default=False, init=False)
    _dropped: bool = field(default=False, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self.path = (self.folder or self.target.parent) / f".asyncsdk-{secrets.token_hex(8)}"

    def append(self, chunk: bytes) -> None:
        with self._turn, self._named_errors(), self._opened() as fd:
            disk.write_all(fd, chunk)

    def keep(self) -> tuple[int, OSError | None]:
        """Move it to the target; return its size, and the error where its name may not survive a power cut."""
        with self._turn, self._named_errors():
            with self._opened() as fd:
                disk.sync(fd)
                size = os.fstat(fd).st_size
            self.path.replace(self.target)
        return size, doubt_about(self.target)  # not within the turn: a sync that hangs would hold up `drop`

    def save(self, content: bytes, *, overwrite: bool) -> OSError | None:
        """Write and move it at once; it is dropped where that fails."""
        try:
            with self._named_errors():
                with self._opened() as fd:
                    disk.write(fd, content)
                if self.folder is not None:
                    make_directory(self.target.parent, self.below)
                if overwrite:
                    return _replace(self.path, self.target)
                name_file(self.path, self.target)
        except BaseException:
            self.drop()
            raise
        self.drop()  # a second name of the saved file; where that fails, `clear_drafts` removes it
        return doubt_about(self.target)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Let an OSError name what the caller knows: not the draft, but its target, or the directory of drafts."""
        try:
            yield
        except OSError as error:
            if str(self.path) == str(error.filename):
                known = error.filename2 or (self.target if self.folder is None else self.folder)
                error.filename, error.filename2 = os.fspath(known), None
            raise

    @contextmanager
    def _opened(self) -> Iterator[int]:
        if self._dropped:
            raise FileNotFoundError(f"{self.target}: it was dropped before it was whole")
        flags = os.O_WRONLY | os.O_APPEND | _NO_LINK
        if self.folder is not None:
            disk.check_directory(self.folder)  # a link that replaced it leads elsewhere
        if not self._begun:
            _refuse_special(self.target)
            if self.folder is None:
                make_directory(self.target.parent, self.below)
            flags |= os.O_CREAT | os.O_EXCL
        fd = os.open(self.path, flags, self.mode)
        self._begun = True
        try:
            yield fd
        finally:
            os.close(fd)

    def drop(self) -> None:
        with self._turn:
            self._dropped = True
            with suppress(OSError):  # the reason for dropping matters more; `clear_drafts` removes what is left
                self.path.unlink()


def _refuse_special(target: Path) -> None:
    """Raise OSError for a special file: a rename would replace `/dev/null` by a file."""
    with suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.EINVAL, "not a regular file", str(target))


def name_file(path: Path, target: Path) -> None:
    """Give the file at `path` the name `target`, which must not exist; `path` may remain as a second name.

    A hard link is atomic; some file systems have none.
    """
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            path.replace(target)
        except OSError:
            target.unlink()  # our own empty placeholder
            raise


def _replace(draft: Path, target: Path) -> OSError | None:
    """Give the draft its name. Returns what the disk reported where that name may not survive a power cut."""
    try:
        disk.replace(draft, target)
    except NotDurableError as error:
        return _warned(target, error)
    return None


def doubt_about(target: Path) -> OSError | None:
    """What the disk reports where the name of `target`, which is there, may not survive a power cut."""
    try:
        disk.sync_directory(target.parent)
    except OSError as error:
        return _warned(target, error)
    return None


def _warned(target: Path, error: OSError) -> OSError:
    logger.warning("%s is saved, and its name may not survive a power cut: %s", target, error)
    return error
