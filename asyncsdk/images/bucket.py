"""A prefix of a bucket as the target of a run. What is paid is on this machine's disk until it is there.

A picture is written durably in the ledger's directory first, by the same code as for a directory; then it is put in the
bucket under a name that was free; then the ledger records that; and only then the first copy goes. So a store that is
away, or a kill at any moment, loses nothing: the next run begins with what waits (`prepare`).

What is in the bucket is listed once, when a run begins: a look for each picture would cost a request each.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote

import anyio
from attrs import define, field

from asyncsdk import files
from asyncsdk.errors import AsyncSDKError, ConfigurationError, LedgerError, RemoteError
from asyncsdk.images.destination import OWN_DIRECTORY, UNDELIVERED, Destination, aside
from asyncsdk.images.ledger import Ledger
from asyncsdk.images.ledger.owner import PictureOwner
from asyncsdk.images.ledger.states import ItemState, is_not_delivered
from asyncsdk.images.outcome import Status
from asyncsdk.images.target import Delivery, DirectoryTarget, Located, Target
from asyncsdk.mime import mime_type_of
from asyncsdk.remote import writing
from asyncsdk.remote.address import RemoteAddress, local_path, remote_address, url_in_path
from asyncsdk.remote.failures import before_sending
from asyncsdk.remote.reading import read_whole
from asyncsdk.remote.stores import RemoteStores

Where = str | os.PathLike[str]
LONGEST_NAME = 200  # characters of a directory's
LARGEST = 1 << 30  # bytes of a picture that waits; a response has at most some hundred MB
PAUSES = (1.0, 4.0, 10.0)  # seconds between attempts at a store that is away, each with obstore's own retries
PROBES = 3  # one is put, the next is refused; a third where another run deletes it in between
PROBE = f"{OWN_DIRECTORY}/probe"
_PROBE = b"asyncsdk put this here to find out whether pictures can be saved. It may be deleted.\n"

logger = logging.getLogger(__name__)


@define(eq=False)
class BucketTarget:
    """A prefix of a bucket; `directory` is where pictures wait until they are there."""

    address: RemoteAddress
    directory: Path
    stores: RemoteStores
    is_elsewhere: bool = field(default=True, init=False)
    recovered: list[str] = field(factory=list, init=False)
    _taken: dict[str, bool] = field(factory=dict, init=False)  # by name, relative: whether it has content
    _copied: dict[str, str] = field(factory=dict, init=False)  # on their way aside, by name: where the copy is

    @property
    def where(self) -> str:
        """The URL."""
        return self.address.shown

    async def look(self) -> None:
        """List what is there. Raises ConfigurationError, or RemoteError where a later call may pass."""
        try:
            async for page in writing.pages(self.address, self.stores):
                self._taken.update((entry.below, entry.size > 0) for entry in page)
        except RemoteError as error:
            raise _unusable(self.address, error) from None

    async def prepare(self, ledger: Ledger) -> None:
        """List what is there, put a small object as pictures are put, and then what waits of earlier runs.

        Raises as `look` does.
        """
        try:
            await files.make_writable(self.directory)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigurationError(
                f"{self.directory}: no picture can wait there ({reason}). Nothing was sent."
            ) from error
        if not ledger.owner(None).is_shared:  # else names are not looked up: a put says which is taken
            await self.look()
        await self._probe()
        await self._recover(ledger)
        rooms = Counter(path.parent for path in await files.below(self.directory.parent))
        for folder, pictures in rooms.items():
            if not folder.is_relative_to(self.directory):
                logger.warning("%s: %d waiting for another out; a run with that one puts them there", folder, pictures)

    async def existing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are taken."""
        return [name for name in names if name in self._taken]

    async def gone(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are not there, or empty."""
        return [name for name in names if not self._taken.get(name)]

    async def blocked(self, place: Destination) -> list[str]:  # noqa: ARG002 - a bucket has no folders
        """Nothing: a bucket has no folders."""
        return []

    def located(self, names: Iterable[str]) -> Located:
        """The URLs."""
        return Located(objects=tuple(map(self.shown, names)))

    def shown(self, name: str) -> str:
        """The URL."""
        return self.address.child(name).shown

    def delivery(self, saved: Sequence[Path], place: Destination, pictures: int, owner: PictureOwner) -> Delivery:
        """Put pictures there under the names of `place`, after older ones of these names were moved aside."""
        return BucketDelivery(self, saved, place.names(pictures), owner)

    def name_of(self, waiting: Path) -> str:
        """The name, relative to the target, of a picture that waits."""
        return waiting.relative_to(self.directory).as_posix()

    async def put(self, name: str, content: bytes, owner: PictureOwner) -> str:
        """Put a picture there, as `name` or as the first name beside it that is free, and return that.

        What is there with the same content was put by an attempt whose answer was lost. Raises RemoteError.
        """
        stem, _, suffix = name.rpartition(".")
        for candidate in chain([name], (f"{each}.{suffix}" for each in owner.beside(stem))):
            is_taken = candidate in self._taken
            if candidate != name and owner.is_anothers(candidate.rpartition(".")[0]):
                continue
            if not is_taken:
                self._taken[candidate] = True  # at once: two edits never try one name
                if await self._create(candidate, content):
                    return candidate
            if await self.has(candidate, content):
                return candidate
        raise AssertionError("numbers do not end")

    async def has(self, name: str, content: bytes) -> bool:
        """Whether the object `name` has this content. Raises RemoteError."""
        try:
            return await read_whole(self.address.child(name), self.stores, limit=len(content)) == content
        except RemoteError as error:
            if error.reason in {"missing", "too large", "empty"}:
                return False
            raise

    async def move_aside(self, name: str) -> str:
        """Move an object to `.asyncsdk/replaced`, and return its name there. Raises RemoteError."""
        if name not in self._copied:
            moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            now = next(each for number in count(1) if (each := aside(name, moment, number)) not in self._taken)
            await writing.copy(self.address.child(name), self.address.child(now), self.stores)
            self._copied[name], self._taken[now] = now, True
        await writing.delete(self.address.child(name), self.stores)  # perhaps again: the answer to it may be lost
        self._taken.pop(name, None)
        return self._copied.pop(name)

    async def _create(self, name: str, content: bytes) -> bool:
        """Put an object unless one is there. Raises RemoteError."""
        address = self.address.child(name)
        try:
            await writing.put(address, content, self.stores, create_only=True, mime_type=mime_type_of(name))
        except RemoteError as error:
            if error.reason == "exists":
                return False
            self._taken.pop(name, None)
            raise
        return True

    async def _probe(self) -> None:
        """Put an object as pictures are put, until it is there. That is refused, so the right to put shows too."""
        address = self.address.child(PROBE)
        keeps = False
        for _ in range(PROBES):
            try:
                await writing.put(address, _PROBE, self.stores, create_only=True, mime_type="text/plain")
            except RemoteError as error:
                if error.reason != "exists":
                    raise _unusable(self.address, error) from None
                keeps = True
                break
        with suppress(RemoteError):
            await writing.delete(address, self.stores)
        if not keeps:
            raise ConfigurationError(
                f"out={self.address.shown!r}: {self.address.store} replaces an object where it is asked not to "
                "(If-None-Match), so a paid picture could be lost there. Use another store, or a directory. "
                "Nothing was sent."
            )

    async def _recover(self, ledger: Ledger) -> None:
        """Put there what waits of earlier runs, and record it. What can't be put goes on waiting."""
        waiting, of_items, states = await files.below(self.directory), defaultdict[str, list[Path]](list), {}
        if waiting and ledger.owner(None).is_shared:
            await self.look()
        owners = await ledger.owners_of([self.name_of(path).rpartition(".")[0] for path in waiting])
        for path, owner in zip(waiting, owners, strict=True):
            if owner is None:
                logger.warning("%s is not of an edit that the ledger knows: it is left where it is", path)
            elif not owner.is_held:  # else another copy of this run puts it there
                of_items[owner.item].append(path)
                states[owner.item] = owner.state
        for item, paths in of_items.items():
            try:
                await self._deliver(ledger, item, states[item], paths)
            except LedgerError:
                raise
            except (AsyncSDKError, OSError) as error:
                if isinstance(error, RemoteError) and error.resumable:  # the others would wait in vain, each for itself
                    raise _unusable(self.address, error) from None
                logger.warning("%s: not put in %s yet: %s", ", ".join(map(str, paths)), self.address, error)

    async def _deliver(self, ledger: Ledger, item: str, state: ItemState, paths: Sequence[Path]) -> None:
        """Put there what waits of one edit. Raises RemoteError, OSError, LedgerError."""
        waiting = dict(sorted(((self.name_of(path), path) for path in paths), key=lambda named: (len(named[0]), named)))
        waiting = {name: waiting[name] for name in dict.fromkeys((*state.files, *waiting)) if name in waiting}
        owner, older = ledger.owner(item), {*state.files, *(state.before.files if state.before else ())}
        requested = [name for name in waiting if name in older or owner.is_anothers(name.rpartition(".")[0])]
        delivery = BucketDelivery(self, [*waiting.values()], requested, owner)
        failure = await delivery.run()
        if failure is not None:
            raise failure
        arrived = dict(zip(waiting, delivery.names, strict=True))
        names = tuple(dict.fromkeys(arrived.get(name, name) for name in (*state.files, *waiting)))
        status = status_with(state, names, is_whole=not await self.gone(names))
        await ledger.delivered(item, names, status)
        await delivery.settle()
        self.recovered += delivery.located.objects


@define(eq=False)
class BucketDelivery:
    """The pictures of one edit on their way; those of `requested` names that are there are moved aside for them."""

    _target: BucketTarget
    _saved: Sequence[Path]
    _requested: Sequence[str]
    _owner: PictureOwner
    _arrived: dict[Path, str] = field(factory=dict, init=False)
    _displaced: list[str] = field(factory=list, init=False)
    _is_cleared: bool = field(default=False, init=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names there; of those that wait the names that they shall have."""
        return tuple(self._arrived.get(path) or self._target.name_of(path) for path in self._saved)

    @property
    def located(self) -> Located:
        """Those that arrived."""
        return self._target.located(self._arrived.values())

    @property
    def displaced(self) -> Located:
        """Older pictures that were moved aside, where they are now."""
        return self._target.located(self._displaced)

    async def run(self) -> Exception | None:
        """Put them there. Returns why not all got there, after waits for what may pass: the others would fail too."""
        for pause in (*PAUSES, None):
            try:
                await self._put_all()
            except (AsyncSDKError, OSError) as error:
                if pause is None or not (isinstance(error, RemoteError) and error.resumable):
                    return error
                await anyio.sleep(pause)
            else:
                break
        return None

    async def _put_all(self) -> None:
        contents = {path: await files.read(path, limit=LARGEST) for path in self._saved}
        if contents and not self._is_cleared and not self._owner.is_shared:  # for nothing, nothing is moved aside
            await self._clear({self._target.name_of(path): content for path, content in contents.items()})
            self._is_cleared = True
        for path, content in contents.items():
            if path not in self._arrived:
                self._arrived[path] = await self._target.put(self._target.name_of(path), content, self._owner)

    async def settle(self) -> None:
        """The ledger has them: the copies on this machine go."""
        with suppress(OSError):  # the next run finds them, and that the bucket has them
            await files.remove(self._saved)

    async def _clear(self, contents: dict[str, bytes]) -> None:
        """Move aside what has one of the names, but for what is the very picture. What can't be moved stays."""
        moved = {}
        try:
            for name in await self._target.existing(self._requested):
                if name not in contents or not await self._target.has(name, contents[name]):
                    moved[name] = await self._target.move_aside(name)
        except RemoteError as error:
            if error.resumable:
                raise
        finally:
            self._displaced += moved.values()
            await self._owner.moved(moved)


def status_with(state: ItemState, names: Sequence[str], *, is_whole: bool) -> Status:
    """What an edit is once those of its pictures that waited are in the bucket; `is_whole`: all of `names` are."""
    if state.status == "done":
        return "done"
    is_complete = len(names) >= state.n if state.status == "sent" else is_not_delivered(state)
    return "done" if is_whole and is_complete else "uncertain"


def _unusable(address: RemoteAddress, error: RemoteError) -> AsyncSDKError:
    """The error of a bucket that takes no pictures, before any is paid."""
    return before_sending(error, f"out={address.shown!r}: no picture can be saved there: ")


def target_of(out: Where | None, ledger: Where | None, stores: RemoteStores) -> Target | None:
    """Where the pictures of a run go that was given this `out`, and keeps its ledger there; None for nowhere.

    Raises ConfigurationError for a URL that can't be used, and for one without a directory for the ledger.
    """
    address = remote_address(out) if isinstance(out, str) else None
    if out is None:
        return None
    if address is None:
        if (url := url_in_path(out)) is not None:
            raise ConfigurationError(
                f"out={str(out)!r} is a path. Is {url} meant? A Path has lost a slash of it: pass the text. "
                "Nothing was sent."
            )
        return DirectoryTarget(Path(local_path(out) if isinstance(out, str) else out))
    if ledger is None:
        raise ConfigurationError(
            f"out={address.shown!r} is a URL, and the ledger, which remembers what is paid, needs a directory of this "
            "machine: name one with ledger=. Nothing was sent."
        )
    if address.is_web:
        raise ConfigurationError(
            f"out={address.shown!r}: no picture can be put on a web server. Give a bucket (s3://, gs://, az://), or a "
            "directory. Nothing was sent."
        )
    return BucketTarget(address, Path(ledger, UNDELIVERED, waiting_room(address)), stores)


def waiting_room(address: RemoteAddress) -> str:
    """The directory of pictures that wait for `address`: they never go to another bucket that has the same ledger."""
    url = address.shown.rstrip("/")
    name = quote(url, safe="")
    return (
        name
        if len(name) <= LONGEST_NAME
        else f"{name[: LONGEST_NAME - 33]}-{blake2b(url.encode(), digest_size=16).hexdigest()}"
    )
