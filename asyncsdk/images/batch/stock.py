"""The pictures of ours that are on the server: which can be referred to, and which can be deleted (pure).

A picture is uploaded once, however many edits have it, and known by the digest of its content. It must be there until
its batch has ended, which takes a day and more; and nothing of ours is left there once no batch needs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import define, field, frozen

KEPT_SECONDS = 72 * 3600  # `expires_after` of an upload
LEAST_LEFT = 30 * 3600.0  # seconds: a batch has 24 hours, and waits before it is created


@frozen
class UploadedPicture:
    """A picture on the server: the digest of its content, and the file that it is in."""

    digest: str
    file_id: str
    expires_at: float | None = None  # unix time of the server; None: until it is deleted

    def stays(self, *, now: float) -> bool:
        """Whether it stays long enough for a batch that is created now."""
        return self.expires_at is None or self.expires_at - now > LEAST_LEFT


@define(eq=False)
class PictureStock:
    """What was uploaded, and which batches need it."""

    _newest: dict[str, UploadedPicture] = field(factory=dict, init=False)
    _all: dict[str, UploadedPicture] = field(factory=dict, init=False)  # by file
    _needed: Counter[str] = field(factory=Counter, init=False)  # how many batches need a file
    _files_of: dict[str, set[str]] = field(factory=dict, init=False)  # what each batch needs

    def add(self, picture: UploadedPicture) -> None:
        """A picture was uploaded."""
        self._newest[picture.digest] = self._all[picture.file_id] = picture

    def find(self, digest: str, *, now: float) -> UploadedPicture | None:
        """The picture of this content, if it stays long enough for a batch that is created now."""
        picture = self._newest.get(digest)
        return picture if picture is not None and picture.stays(now=now) else None

    def stays(self, file_ids: Iterable[str], *, now: float) -> bool:
        """Whether all of these stay long enough for a batch that is created now."""
        known = [self._all.get(file_id) for file_id in file_ids]
        return all(picture is not None and picture.stays(now=now) for picture in known)

    def need(self, file_id: str, batch: str) -> None:
        """A line of this batch, which has not ended, refers to the file."""
        files = self._files_of.setdefault(batch, set())
        if file_id not in files:
            files.add(file_id)
            self._needed[file_id] += 1

    def lost(self, file_id: str) -> None:
        """The server does not have the file any more: it was deleted, by us or by others."""
        picture = self._all.pop(file_id, None)
        if picture is not None and self._newest.get(picture.digest) is picture:
            del self._newest[picture.digest]

    def end(self, batch: str) -> None:
        """Every row of this batch is recorded: it needs nothing any more."""
        for file_id in self._files_of.pop(batch, ()):
            self._needed[file_id] -= 1
            if not self._needed[file_id]:
                del self._needed[file_id]

    def pictures(self) -> list[UploadedPicture]:
        """All that are there, those that are found last."""
        return sorted(self._all.values(), key=lambda picture: self._newest.get(picture.digest) is picture)

    def needs(self, batch: str) -> list[str]:
        """The files that a batch refers to."""
        return sorted(self._files_of.get(batch, ()))

    def deletable(self, *, now: float) -> list[str]:
        """The files that no batch needs, and that did not expire by themselves."""
        return [
            picture.file_id
            for picture in self._all.values()
            if picture.file_id not in self._needed and (picture.expires_at is None or picture.expires_at > now)
        ]
