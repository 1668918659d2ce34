"""Whether a directory is private: its owner, and which other users may write in it. Blocking, for threads."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shlex
import stat
from contextlib import suppress
from pathlib import Path

_PRIVATE_FILE = 0o600

_warned_of = set[int]()  # devices
logger = logging.getLogger(__name__)


class NotPrivateError(PermissionError):
    """A directory belongs to another user, or others may write in it; the text contains what to do first."""


def refuse_foreign(path: Path, status: os.stat_result) -> None:
    """Raise NotPrivateError where the directory `path` belongs to another user."""
    if not is_ours(path, status):
        raise NotPrivateError(errno.EPERM, _foreign(path, status), str(path))


def refuse_shared(folder: Path, status: os.stat_result, name: str) -> None:
    """Raise NotPrivateError where others may replace what is in `folder`; `name` is what is kept in it.

    On a file system that keeps no modes that is not known, which is logged once.
    """
    if not _is_shared(status):
        return
    if _keeps_modes(folder):
        raise NotPrivateError(errno.EPERM, _shared(folder, status, name), str(folder))
    if status.st_dev not in _warned_of:
        _warned_of.add(status.st_dev)
        logger.warning(
            "%s: its file system keeps no permissions. Any user who can write there could make up records: "
            "use it only where that is you alone.",
            folder,
        )


def is_ours(path: Path, status: os.stat_result) -> bool:
    """Whether the directory `path` is the user's, or root's that we may read, or has the owner that we have there.

    Mounts of FAT, SMB and squashed NFS give one owner to all that is made in them.
    """
    if not _has_owners() or status.st_uid == os.geteuid():
        return True
    if status.st_uid == 0 and os.access(path, os.R_OK | os.X_OK):
        return True
    made = _made_in(path)
    return made is not None and made.st_uid == status.st_uid


def _is_shared(status: os.stat_result) -> bool:
    """Whether others may rename and remove what is in this directory; in a sticky one (/tmp) only their own.

    A group with the number of the directory's owner has no other member, by custom. A user relies on that for their own
    group and root's, root for anybody's.
    """
    if not _has_owners() or status.st_mode & stat.S_ISVTX:
        return False
    user = os.geteuid()
    group_is_private = status.st_gid == status.st_uid and (user == 0 or status.st_uid in (0, user))
    return bool(status.st_mode & (stat.S_IWOTH if group_is_private else stat.S_IWOTH | stat.S_IWGRP))


def _keeps_modes(folder: Path) -> bool:
    """Whether a file that is made for us alone in `folder` is so. Where none can be made, it is assumed."""
    made = _made_in(folder)
    return made is None or not made.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _made_in(folder: Path) -> os.stat_result | None:
    """The status of a private file that we make in `folder`; None where we can't. It is removed at once.

    It is looked at by its descriptor, so no other can be put in its place meanwhile.
    """
    path = folder / f".asyncsdk-{secrets.token_hex(8)}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
    except OSError:
        return None
    try:
        with suppress(OSError):  # a file system may inherit modes, and take others when asked
            os.fchmod(fd, _PRIVATE_FILE)
        return os.fstat(fd)
    finally:
        os.close(fd)
        with suppress(OSError):
            path.unlink()


def _foreign(path: Path, status: os.stat_result) -> str:
    as_root = os.geteuid() == 0
    ways = f"sudo -u '#{status.st_uid}'"
    if as_root:
        ways = f"{ways}, docker run --user {status.st_uid}:{status.st_gid}"
    chown = f"{'' if as_root else 'sudo '}chown -R {os.geteuid()} {shlex.quote(str(path))}"
    return (
        f"{path} belongs to another user (uid {status.st_uid}): work as that user ({ways}), or, if you trust what it "
        f"holds, make it yours: {chown}"
    )


def _shared(folder: Path, status: os.stat_result, name: str) -> str:
    chmod = f"chmod go-w {shlex.quote(str(folder))}"
    if os.geteuid() not in (0, status.st_uid):
        chmod = f"ask its owner (uid {status.st_uid}) for {chmod}"
    return (
        f"others may write in {folder}, and so make up what is remembered there: {chmod}, or name "
        f"{folder / 'private' / name}, which is made for you alone"
    )


def _has_owners() -> bool:
    return hasattr(os, "geteuid")
