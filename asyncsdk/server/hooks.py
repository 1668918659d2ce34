"""CallHooks: the points of a call where a fault can act; by default nothing happens at any of them."""

from __future__ import annotations

from attrs import define

from asyncsdk.server.faults import Moment


@define(eq=False)
class CallHooks:
    """Handlers report here how far they are. Rates are bytes a second, for reading bodies and writing responses."""

    read_rate: int | None = None
    write_rate: int | None = None

    async def reach(self, moment: Moment) -> None:
        """Report that the call has reached a moment; may raise what ends it."""

    def count_images(self, images: int, model: str) -> None:
        """Report that an edit has `images` input images; may raise what ends the call."""

    def sees_wrong_md5(self) -> bool:
        """Whether the md5 of the request counts as wrong."""
        return False
