"""Where the results of a run go, and where what is remembered of them is kept: a directory, or a bucket."""

from __future__ import annotations

import os
import shlex
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from attrs import frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.images.destination import OWN_DIRECTORY, REPLACED
from asyncsdk.images.ledgers import VARIABLE, ChosenLedger, database_of, directory_of, ledger_from
from asyncsdk.postgres.url import without_password
from asyncsdk.remote.address import RemoteAddress, local_path, remote_address

if TYPE_CHECKING:
    from asyncsdk.images.ledger.postgres import PostgresLedger


@frozen(kw_only=True)
class OutPlace:
    """The results of a run.

    `out` and `ledger` are as the library takes them; `kept` is the directory of the ledger, `records` that of what is
    left. `address` is the bucket's, `directory` that of the pictures if they are on this machine.
    """

    out: str
    ledger: ChosenLedger
    kept: Path
    records: Path
    address: RemoteAddress | None = None
    directory: Path | None = None

    def __str__(self) -> str:
        return self.out if self.address is None else self.address.shown

    @property
    def shared(self) -> PostgresLedger | None:
        """The ledger, if it is in a database."""
        return database_of(self.ledger)

    @property
    def commands_of_left(self) -> str:
        """What lists the edits of a ledger in a database that did not succeed; ASYNCSDK_LEDGER may name it for them.

        A password in it is left out.
        """
        assert self.shared is not None  # noqa: S101 - for the type checker
        url = self.shared.url
        named = "" if os.environ.get(VARIABLE) == url.dsn else f" {shlex.quote(without_password(url))}"
        return f"asyncsdk ledger failed{named}, asyncsdk ledger uncertain{named}"

    @property
    def replaced(self) -> str:
        """Where pictures are that were moved aside."""
        below = f"{OWN_DIRECTORY}/{REPLACED}"
        return str(Path(self.out) / below) if self.address is None else self.address.child(below).shown

    def holds(self, address: RemoteAddress) -> bool:
        """Whether an object is one of the results' prefix."""
        return self.address is not None and _is_below(address, self.address)

    def is_below(self, prefix: RemoteAddress) -> bool:
        """Whether the results are below a prefix."""
        return self.address is not None and _is_below(self.address, prefix)


def out_place(out: str, ledger: str | None) -> OutPlace:
    """Read --out and --ledger. Raises ConfigurationError for a URL that can't be used, or without a ledger."""
    address, chosen = remote_address(out), ledger_from(ledger)
    if address is None:
        directory = Path(local_path(out))
        kept = directory_of(chosen, directory)
        return OutPlace(out=str(directory), ledger=chosen, kept=kept, records=directory, directory=directory)
    if chosen is None:
        raise ConfigurationError(
            f"--out {address} is a URL, and the ledger, which remembers what is paid, needs a directory of this "
            "machine: add --ledger DIR, the same one each time. Nothing was sent."
        )
    kept = directory_of(chosen, None)
    return OutPlace(out=out, ledger=chosen, kept=kept, records=kept, address=address)


def check_page_place(page: RemoteAddress | None, name: str, place: OutPlace) -> None:
    """Raise ConfigurationError unless a gallery can link the results, which it does relative to itself."""
    if page is None and place.address is None:
        return
    if page is None and place.address is not None:
        where = place.address.child("index.html")
        problem = f"a page on a disk can't show what is in {place.address.store}: put it there, as in --gallery {where}"
    elif place.address is None or page is None:
        problem = "it shows the pictures of --out, which are on this machine: give a path"
    elif page.store != place.address.store:
        problem = f"it links the pictures relative to itself, so it has to be in {place.address.store}, as --out is"
    else:
        return
    raise ConfigurationError(f"--gallery {page or name}: {problem}. Nothing was sent.")


def _is_below(address: RemoteAddress, prefix: RemoteAddress) -> bool:
    """Whether an object, or a prefix, is below a prefix, or is that."""
    if address.store != prefix.store:
        return False
    return PurePosixPath("/", address.path).is_relative_to(PurePosixPath("/", prefix.path))
