"""Where the pictures of a run go in the end: what a run asks of its `Target`, and the one that is a directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from asyncsdk import files
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.destination import Destination
from asyncsdk.images.ledger import Ledger
from asyncsdk.images.ledger.owner import PictureOwner


@frozen(kw_only=True)
class Located:
    """Where pictures are: `files` on a disk of this machine, `objects` in a bucket, by their URLs."""

    files: tuple[Path, ...] = ()
    objects: tuple[str, ...] = ()


class Delivery(Protocol):
    """The pictures of one edit on the way to their target."""

    @property
    def names(self) -> tuple[str, ...]:
        """Their names there, as far as they are known, in the order of the pictures."""

    @property
    def located(self) -> Located:
        """Those that arrived."""

    @property
    def displaced(self) -> Located:
        """Older pictures that were moved aside, where they are now."""

    async def run(self) -> Exception | None:
        """Bring them there. Returns why not all arrived, where the next edit's would not either."""

    async def settle(self) -> None:
        """The ledger has them: what was kept until then may go."""


class Target(Protocol):
    """Where the pictures of a run go, by their names relative to it: posix, with suffix."""

    @property
    def where(self) -> str:
        """The target itself, for messages."""

    @property
    def directory(self) -> Path:
        """Where they are written first, which may be the target itself."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether `directory` is not the target, and what is written there only waits for its way."""

    @property
    def recovered(self) -> Sequence[str]:
        """Where the pictures are now that `prepare` brought there for an earlier run."""

    async def look(self) -> None:
        """Learn what is there without changing it. Raises ConfigurationError."""

    async def prepare(self, ledger: Ledger) -> None:
        """Check that a picture can be saved there, before any is paid; bring there what an earlier run could not.

        Raises ConfigurationError.
        """

    async def existing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are taken."""

    async def gone(self, names: Iterable[str]) -> list[str]:
        """Those of `names` of which there is no content."""

    async def blocked(self, place: Destination) -> list[str]:
        """What is in the way of the folders of `place`."""

    def located(self, names: Iterable[str]) -> Located:
        """Where pictures of these names are."""

    def shown(self, name: str) -> str:
        """Where a picture of this name is, for messages."""

    def delivery(self, saved: Sequence[Path], place: Destination, pictures: int, owner: PictureOwner) -> Delivery:
        """How pictures get there that are `saved` in `directory`: under the names that `place` has for `pictures`."""


@frozen
class DirectoryTarget:
    """A directory of this machine: a picture that is written is there."""

    directory: Path
    is_elsewhere: bool = field(default=False, init=False)
    recovered: Sequence[str] = field(default=(), init=False)  # nothing waits on the way to a directory

    @property
    def where(self) -> str:
        """The directory."""
        return str(self.directory)

    async def look(self) -> None:
        """What is there is looked up when it matters."""

    async def prepare(self, ledger: Ledger) -> None:
        """Make the directory, and check that it is writable."""
        try:
            await files.make_writable(self.directory)
            await ledger.watch(self.directory)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigurationError(
                f"out={str(self.directory)!r}: no picture can be saved there ({reason}). Nothing was sent."
            ) from error

    async def existing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` where something is."""
        return self._names(await files.existing(self.directory / name for name in names))

    async def gone(self, names: Iterable[str]) -> list[str]:
        """Those of `names` where nothing is, or an empty file."""
        return self._names(await files.gone(self.directory / name for name in names))

    async def blocked(self, place: Destination) -> list[str]:
        """What is in the way of the folders of `place`."""
        return self._names(await files.no_directories(place.folders))

    def located(self, names: Iterable[str]) -> Located:
        """The paths."""
        return Located(files=tuple(self.directory / name for name in names))

    def shown(self, name: str) -> str:
        """The path."""
        return str(self.directory / name)

    def delivery(self, saved: Sequence[Path], place: Destination, pictures: int, owner: PictureOwner) -> Delivery:  # noqa: ARG002 - as the protocol
        """They are there."""
        return Arrived(tuple(self._names(saved)), Located(files=tuple(saved)))

    def _names(self, paths: Iterable[Path]) -> list[str]:
        return [path.relative_to(self.directory).as_posix() for path in paths]


@frozen
class Arrived:
    """Pictures that were written where they belong."""

    names: tuple[str, ...]
    located: Located
    displaced: Located = Located()  # whose names were cleared as they were written

    async def run(self) -> Exception | None:
        """They are there."""
        return None

    async def settle(self) -> None:
        """Nothing was kept elsewhere."""
