"""Pictures of a batch on their way: written to drafts as they come, named once it is known whose they are.

To what saves pictures a draft is its picture's first bytes, which tell what it is; the rest is on disk already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from attrs import define, field, frozen

from asyncsdk import files
from asyncsdk.images.header import picture_problem
from asyncsdk.images.saving import FileWriter
from asyncsdk.wal import disk

BEGINNING = 1 << 16  # bytes of a picture that tell its kind


class PictureDraft(files.Draft):
    """A picture that is written in pieces, and may get its name at the second try."""

    beginning: bytes = b""

    def add(self, chunk: bytes) -> None:
        """The next bytes."""
        self.append(chunk)
        if len(self.beginning) < BEGINNING:
            self.beginning += chunk[: BEGINNING - len(self.beginning)]

    def give_name(self, target: Path) -> OSError | None:
        """Give it this name, durably, unless something has it; where that fails it stays a draft.

        Raises OSError. Returns the error where the name may not survive a power cut.
        """
        self.target = target
        with self._named_errors():
            with self._opened() as fd:
                disk.sync(fd)
            files.make_directory(target.parent, self.below)
            files.name_file(self.path, target)
        self.drop()
        return files.doubt_about(target)


class DraftedPicture(bytes):
    """The first bytes of the picture that is in `draft`."""

    draft: PictureDraft

    @classmethod
    def of(cls, draft: PictureDraft) -> DraftedPicture:
        picture = cls(draft.beginning)
        picture.draft = draft
        return picture


@frozen
class DraftWriter(FileWriter):
    """Names drafts where others write contents."""

    async def save(
        self,
        path: Path,
        content: bytes,
        *,
        overwrite: bool = False,
        mode: int = files.BY_UMASK,
        on_saved: Callable[[], object] = lambda: None,
    ) -> None:
        """Save one file: a draft gets the name `path`, which must be free. Raises OSError where it is not saved."""
        if not isinstance(content, DraftedPicture):
            await super().save(path, content, overwrite=overwrite, mode=mode, on_saved=on_saved)
            return
        content.draft.below = self.below
        name = partial(files.in_saving_thread, content.draft.give_name, path, again=self.again)
        doubt = await files.patiently(name, self.again, on=OSError)
        on_saved()
        if doubt is not None:
            self.doubts.append(doubt)

    async def has(self, path: Path, content: bytes) -> bool:
        """Whether the picture of a draft is at `path` already."""
        return isinstance(content, DraftedPicture) and await files.in_thread(_are_equal, content.draft.path, path)


@define(eq=False)
class LineDrafts:
    """The pictures of the line that is being read, by their number in it.

    `directory` is where they go; `folder` is for drafts, None for the same.
    """

    directory: Path
    folder: Path | None
    _drafts: dict[int, PictureDraft] = field(factory=dict, init=False)

    async def add(self, index: int, chunk: bytes) -> None:
        """The next bytes of a picture. Raises OSError."""
        draft = self._drafts.get(index)
        if draft is None:
            draft = self._drafts[index] = PictureDraft(self.directory / f"picture-{index}", self.folder)
        await files.in_saving_thread(draft.add, chunk)

    def take(self) -> dict[int, PictureDraft]:
        """Those of the line that ended; the next line begins."""
        drafts, self._drafts = self._drafts, {}
        return drafts


async def problems_of(drafts: dict[int, PictureDraft]) -> dict[int, str]:
    """Why drafts are not pictures, by their numbers. Raises OSError."""
    problems = dict[int, str]()
    for index, draft in drafts.items():
        problem = await files.in_thread(_problem_of, draft)
        if problem is not None:
            problems[index] = problem
    return problems


async def drop(drafts: Iterable[PictureDraft]) -> None:
    """Remove what got no name."""
    for draft in drafts:
        await files.in_saving_thread(draft.drop)


def _problem_of(draft: PictureDraft) -> str | None:
    return picture_problem(disk.read(draft.path))


def _are_equal(one: Path, other: Path) -> bool:
    try:
        return disk.read(one) == disk.read(other)
    except OSError:
        return False
