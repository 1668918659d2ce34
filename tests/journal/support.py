"""Records to write down, and a look at what a process holds open."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from asyncsdk.uploads.journal import Completed, Log, Opened, Part
from asyncsdk.uploads.journal.file import FEW_RECORDS

KEY = "0123456789abcdef0123456789abcdef"
NOW = 1_795_000_000.123


def opened(upload: str = "upload_1", **changes: Any) -> Opened:
    fields: dict[str, Any] = {
        "at": NOW,
        "key": KEY,
        "base_url": "https://api.openai.com/v1",
        "organization": None,
        "project": "proj_1",
        "source": "/data/train.jsonl",
        "bytes": 5_000_000_000,
        "filename": "train.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "fine-tune",
        "expires_after": {"anchor": "created_at", "seconds": 3600},
        "created_at": int(NOW),
        "expires_at": int(NOW) + 3600,
        "mtime_ns": 1_794_999_999_000_000_001,
        "inode": 42,
    }
    return Opened(upload=upload, **(fields | changes))


def part(number: int, upload: str = "upload_1") -> Part:
    return Part(
        upload=upload, offset=number * 2**24, length=2**24, id=f"part_{number}", xxh3=f"{number:032x}", at=NOW + number
    )


def completed(upload: str = "upload_1", at: float = NOW + 60) -> Completed:
    return Completed(upload=upload, at=at, file={"id": "file-1", "object": "file", "bytes": 5}, md5="0" * 32)


def segments(root: Path, key: str = KEY) -> list[Path]:
    return sorted((root / "uploads" / key).glob("*.jsonl"))


def open_below(root: Path) -> list[str]:
    """Return the files below `root` that this process has open, once idle threads have had time to let go."""
    deadline = time.monotonic() + 10.0
    while (held := _open_below(root)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return held


def _open_below(root: Path) -> list[str]:
    targets = [path_of(int(fd.name)) for fd in Path("/proc/self/fd").iterdir()]
    return [target for target in targets if target.startswith(str(root))]


def path_of(fd: int) -> str:
    """Return what a descriptor of this process leads to, or nothing."""
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""


async def append_parts(log: Log, count: int = FEW_RECORDS) -> None:
    """Parts in one write, so many that settling frees room."""
    await asyncio.gather(*(log.append(part(number)) for number in range(count)))
