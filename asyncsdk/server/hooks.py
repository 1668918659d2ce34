"""The course of a call: the points on its way at which something can go wrong; here nothing does."""

from __future__ import annotations

from attrs import define

from asyncsdk.server.faults import Moment


@define(eq=False)
class CallHooks:
    """Handlers tell it where they are. Rates are bytes a second at which bodies are read and answers written."""

    read_rate: int | None = None
    write_rate: int | None = None

    async def reach(self, moment: Moment) -> None:
        """The call has come so far; may raise what ends it."""

    def count_images(self, images: int, model: str) -> None:
        """So many input images are asked of a model; may raise what ends the call."""

    def sees_wrong_md5(self) -> bool:
        """Whether the md5 that was told is to be found wrong."""
        return False
