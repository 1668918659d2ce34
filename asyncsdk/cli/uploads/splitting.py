"""`--split`: a file that is too large for a batch is looked at, and cut at its lines into uploads of their own."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from asyncsdk.cli.uploads.standard_input import DASH
from asyncsdk.errors import AsyncSDKError, ConfigurationError, SourceChangedError, SourceError
from asyncsdk.files import in_thread
from asyncsdk.uploads.jsonl.cutting import LineCutter, Piece, numbered
from asyncsdk.uploads.jsonl.rules import JsonlCheck, refusal

if TYPE_CHECKING:
    from asyncsdk.cli.options import UploadOptions
    from asyncsdk.cli.uploads.sources import UploadSources
    from asyncsdk.uploads.job import UploadJob

BLOCK = 1 << 20


def check_options(jobs: Mapping[str, UploadJob], options: UploadOptions) -> None:
    """Raise ConfigurationError where there is nothing to split."""
    if options.purpose != "batch":
        raise ConfigurationError(f"--split is for --purpose batch, not {options.purpose}. Nothing was sent.")
    for name, job in jobs.items():
        if name == DASH or job.path() is None:
            raise ConfigurationError(
                f"--split is for files on this machine, not for {'standard input' if name == DASH else name}. "
                "Nothing was sent."
            )


async def split_all(
    jobs: Mapping[str, UploadJob], found: UploadSources
) -> tuple[dict[str, UploadJob], dict[str, AsyncSDKError]]:
    """The jobs by name, with pieces in the place of a file that is cut, also in `found`; the errors of what is bad."""
    pieces: dict[str, UploadJob] = {}
    bad: dict[str, AsyncSDKError] = {}
    for name, job in jobs.items():
        try:
            cut = await in_thread(pieces_of, name, job)
            _refuse_taken(name, cut, jobs, pieces)
        except SourceError as error:
            pieces[name], bad[name] = job, error
        else:
            found.cut(name, cut)
            pieces |= cut
    return pieces, bad


def _refuse_taken(name: str, pieces: Mapping[str, UploadJob], *others: Mapping[str, UploadJob]) -> None:
    """Raise SourceError where a piece is called as another file is; the same piece, of a file given twice, may be."""
    taken = next(
        (
            piece
            for piece, job in pieces.items()
            if piece != name and any(piece in jobs and jobs[piece].key != job.key for jobs in others)
        ),
        None,
    )
    if taken is not None:
        raise SourceError(
            f"a piece of {name} would be called {taken}, which is another file of this command: rename that, or send "
            "it by itself. Nothing was sent."
        )


def pieces_of(name: str, job: UploadJob) -> dict[str, UploadJob]:
    """The jobs for a file, by name: itself, if it is within the limits of a batch. Blocking; reads it once, by blocks.

    Raises SourceError for what no batch would take, or that can't be read: `custom_id`s are unique over all pieces.
    """
    path = Path(job.path() or name)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for one who writes
            raise SourceError(f"{path} is not a regular file, and no other can be split. Nothing was sent.")
        with path.open("rb") as file:
            seen = Seen.of(os.fstat(file.fileno()))
            check = JsonlCheck("batch", seen.size, cutter=(cutter := LineCutter()), looks=job.check != "none")
            while (block := file.read(BLOCK)) and not check.is_over:
                check.feed(block)
    except OSError as error:
        raise SourceError(f"can't read {path}: {error.strerror or error}. Nothing was sent.") from error
    check.finish()
    if check.problems:
        raise SourceError(refusal(str(path), "batch", check.problems))
    if len(cutter.pieces) < 2:
        return {name: evolve(job, check="none")}
    count, called = len(cutter.pieces), job.filename or path.name
    key = job.key or os.path.realpath(path)
    return {
        numbered(name, number, count): evolve(
            job,
            source=(numbered(called, number, count), FileSlice(path, seen, piece)),
            filename=numbered(called, number, count),
            key=f"{key} bytes {piece.offset}-{piece.offset + piece.length} of {seen.size}",
            size=piece.length,
            check="none",
        )
        for number, piece in enumerate(cutter.pieces, 1)
    }


@frozen
class Seen:
    """What tells whether a file is still the one that was looked at."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Seen:
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)

    def require(self, path: Path, file: io.FileIO) -> None:
        """Raise SourceChangedError where `file` is not any more what was looked at."""
        if Seen.of(os.fstat(file.fileno())) != self:
            raise SourceChangedError(
                f"{path} changed after it was looked at. The same command looks at it, and cuts it, again."
            )


class FileSlice(io.RawIOBase):
    """A piece of a file, as a file that can be read and has no descriptor open in between.

    Raises SourceChangedError where the file is not any more what was looked at.
    """

    def __init__(self, path: Path, seen: Seen, piece: Piece) -> None:
        super().__init__()
        self._path, self._seen, self._piece, self._position = path, seen, piece, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._piece.length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._piece.length - self._position)
        wanted = left if size < 0 else min(size, left)
        with self._path.open("rb", buffering=0) as file:
            self._seen.require(self._path, file)
            file.seek(self._piece.offset + self._position)
            content = file.read(wanted) or b""
            self._seen.require(self._path, file)
        self._position += len(content)
        return content
