"""How far sending may be ahead of hashing.

On a line faster than md5 both want the same cores: bytes sent early only make md5, which ends last, later.
"""

from __future__ import annotations

import anyio
from attrs import define, field

from asyncsdk.uploads.digest import Digest
from asyncsdk.uploads.plan import MIB
from asyncsdk.uploads.progress import Meter

LONGEST_LEAD = 16 * MIB  # what md5 takes 25 ms for: a slower line never waits


@define(eq=False)
class Lead:
    """What `meter` counts as sent, against what `digest` has read; no lead is too long where not all is read."""

    meter: Meter
    digest: Digest
    _hashed: anyio.Event = field(factory=anyio.Event, init=False)

    @property
    def too_long(self) -> bool:
        """Whether sending should wait for hashing."""
        return self.meter.ahead > LONGEST_LEAD and self.digest.reads_all and not self.digest.done

    def hashed_to(self, offset: int) -> None:
        """The hashing pass has come so far."""
        self.meter.hashed_to(offset)
        self._hashed.set()
        self._hashed = anyio.Event()

    async def shortened(self) -> None:
        """Return once hashing has caught up."""
        while self.too_long:
            await self._hashed.wait()
