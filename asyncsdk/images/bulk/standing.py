"""How an edit stands with the ledger, and what that means for this run: send it, skip it, or tell of it (pure)."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bulk.states import ItemState

OnUncertain = Literal["report", "retry", "stop"]
Standing = Literal["new", "done", "failed", "refused", "uncertain"]
Verdict = Literal["send", "skip", "refused", "uncertain", "leave"]

_STANDINGS = frozenset({"new", "done", "failed", "refused", "uncertain"})


def _names(given: Collection[str]) -> frozenset[str]:
    if isinstance(given, str):
        raise ConfigurationError(f"{given!r} is one text where several are meant: [{given!r}]. Nothing was sent.")
    return frozenset(given)


def _names_if_any(given: Collection[str] | None) -> frozenset[str] | None:
    return None if given is None else _names(given)


@frozen(kw_only=True)
class Policy:
    """What a caller wants sent again. `redo` names ids; what was done to them since `redo_before` stands.

    Raises ConfigurationError for what is not known.
    """

    on_uncertain: OnUncertain = "report"
    redo: frozenset[str] = field(default=frozenset(), converter=_names)
    redo_before: float = 0.0
    only: frozenset[str] | None = field(default=None, converter=_names_if_any)

    def __attrs_post_init__(self) -> None:
        if self.on_uncertain not in {"report", "retry", "stop"}:
            raise ConfigurationError(
                f"on_uncertain={self.on_uncertain!r} is not known: 'report', 'retry' or 'stop'. Nothing was sent."
            )
        if not math.isfinite(self.redo_before):
            raise ConfigurationError(f"redo_before={self.redo_before!r} is not a unix time. Nothing was sent.")
        for name in (self.only or frozenset()) - _STANDINGS:
            raise ConfigurationError(f"only={name!r} is not known: {', '.join(sorted(_STANDINGS))}. Nothing was sent.")

    def verdict(self, edit_id: str, state: ItemState | None) -> Verdict:
        """What becomes of an edit that stands so: "leave" is for one that this run is not about."""
        stands = standing(state)
        if state is not None and edit_id in self.redo and stands != "failed" and state.at < self.redo_before:
            return "send"
        if self.only is not None and stands not in self.only:
            return "leave"
        if stands == "done":
            return "skip"
        if stands == "refused":
            return "send" if self.only else "refused"
        if stands == "uncertain":
            return "send" if self.on_uncertain == "retry" else "uncertain"
        return "send"


def standing(state: ItemState | None) -> Standing:
    """An intent without a last word is uncertain: the process ended between the two."""
    if state is None:
        return "new"
    return "uncertain" if state.status == "sent" else state.status
