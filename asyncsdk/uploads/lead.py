"""How far sending may be ahead of hashing.

On a line faster than md5 both want the same cores: bytes sent early only make md5, which ends last, later.
"""

from __future__ import annotations

import anyio
from attrs import define, field

from asyncsdk.threads import Threads
from asyncsdk.uploads.digest import Digest
from asyncsdk.uploads.plan import MIB
from asyncsdk.uploads.progress import Meter

LONGEST_LEAD = 16 * MIB  # about: each connection may add a block. Below it md5 catches up within 25 ms


@define(eq=False)
class Lead:
    """What `meter` counts as sent, against what `digest` has read.

    No lead is too long where not all is read, or where `hashers` have other uploads to read as well: then hashing is
    slow, and sending should not be.
    """

    meter: Meter
    digest: Digest
    hashers: Threads
    _hashed: anyio.Event = field(factory=anyio.Event, init=False)

    @property
    def too_long(self) -> bool:
        """Whether sending should wait for hashing."""
        if self.meter.ahead <= LONGEST_LEAD or self.hashers.busy > 1:
            return False
        return self.digest.reads_all and not self.digest.done

    def hashed_to(self, offset: int) -> None:
        """The hashing pass has come so far."""
        self.meter.hashed_to(offset)
        self._hashed.set()
        self._hashed = anyio.Event()

    async def shortened(self) -> None:
        """Return once hashing has caught up."""
        while self.too_long:
            await self._hashed.wait()
