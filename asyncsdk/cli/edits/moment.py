"""The numbers of a run at one moment, in words: how many have ended, how fast it goes, what it waits for (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import field, frozen

from asyncsdk.cli import units

if TYPE_CHECKING:
    from asyncsdk.images.batch.progress import BatchProgress
    from asyncsdk.images.ledger.progress import LedgerProgress

WORDS = {
    "done": "done",
    "skipped": "done before",
    "batched": "in batches",
    "refused": "refused",
    "refused before": "refused before",
    "failed": "failed",
    "uncertain": "uncertain",
    "unsaved": "paid but not saved",
    "elsewhere": "paid and saved elsewhere",
    "waiting": "paid and not in the bucket yet",
    "gone": "paid, but pictures are gone",
    "malformed": "malformed",
    "left out": "left out",
}
TOOK_NO_TIME = ("skipped", "refused before", "gone", "malformed", "left out")  # they were done before, or never sent
LONGEST_WAIT_NOT_SHOWN = 2.0  # seconds: shorter waits are part of a steady pace


@frozen(kw_only=True)
class Moment:
    """The numbers of a run now.

    `total` is None if not every row is to be sent. `holding` is the rate limit's wait, and `retrying` counts the edits
    that wait to be sent again, by why. `last_end` is after how many of its `seconds` an edit ended last.

    `cost` is in dollars, by `prices` of that day, and leaves out tokens that are `unpriced`. `not_pictures` counts
    files of folders that are left out, `results` what was left out since it is in --out. `whole` is how far all copies
    are, where there may be others.
    `batches` are those of a run in batches, None of a direct one; they are expected to end in `batches_left` seconds.
    Of its edits `taken` came so far, and those that are not in a batch yet are uploaded for the next one.
    """

    counts: Mapping[str, int] = field(factory=Counter)
    total: int | None = None
    in_flight: int = 0
    images: int = 0
    tokens: int = 0
    cost: float = 0.0
    unpriced: int = 0
    prices: str | None = None
    seconds: float = 0.0
    last_end: float | None = None
    holding: float = 0.0
    retrying: Mapping[str, int] = field(factory=dict)
    not_pictures: int = 0
    results: int = 0
    whole: LedgerProgress | None = None
    batches: Sequence[BatchProgress] | None = None
    batches_left: float | None = None
    taken: int = 0

    @property
    def ended(self) -> int:
        """How many edits have ended, however they ended."""
        return sum(self.counts.values())

    @property
    def left(self) -> float | None:
        """Seconds to the end, at the rate until an edit ended last."""
        if self.batches is not None:
            is_all = self.total is None or self.ended + self.in_flight >= self.total
            return self.batches_left if is_all else None
        made = self.ended - sum(self.counts.get(status, 0) for status in TOOK_NO_TIME)
        seconds = self.seconds if self.last_end is None else self.last_end
        if self.total is None or not made or seconds <= 0:
            return None
        return self.holding + (self.total - self.ended) * seconds / made


def moving(moment: Moment) -> str:
    """The progress of a run: `1,204 of 50,000: 1,190 done, 14 refused; 8 in flight, 240 images a minute, 3 h left`."""
    of_all = "" if moment.total is None else f" of {moment.total:,}"
    counts = ", ".join(counted(moment.counts))
    return f"{moment.ended:,}{of_all}{f': {counts}' if counts else ''}; {', '.join(pace(moment))}"


def counted(counts: Mapping[str, int], remarks: Mapping[str, str] | None = None) -> list[str]:
    """`1,190 done`, `14 refused (12 moderation, 2 by the server)`: the counts that are not 0, in order.

    `remarks` follow the words in parentheses, each by its status.
    """
    shown = {status: f" ({remark})" for status, remark in (remarks or {}).items() if remark}
    return [f"{counts[status]:,} {word}{shown.get(status, '')}" for status, word in WORDS.items() if counts.get(status)]


def pace(moment: Moment) -> list[str]:
    """What is in flight, how fast it goes, and what it waits for."""
    facts = [f"{moment.in_flight} in flight"] if moment.batches is None else _in_batches(moment)
    if moment.images and moment.seconds >= 1 and moment.batches is None:
        facts.append(f"{moment.images * 60 / moment.seconds:.0f} images a minute")
    if moment.tokens:
        facts.append(f"{moment.tokens:,} tokens")
    if moment.holding > LONGEST_WAIT_NOT_SHOWN:
        facts.append(f"waiting {units.duration(moment.holding)} for the rate limit")
    again = sorted(moment.retrying.items(), key=lambda each: (-each[1], each[0]))  # else they change places each time
    facts += [f"{count:,} to be sent again: {why}" for why, count in again]
    if moment.left:
        facts.append(f"{units.duration(moment.left)} left")
    return facts


def _in_batches(moment: Moment) -> list[str]:
    """`500 in batches`, and how many are uploaded for the next one."""
    gathered = moment.taken - moment.ended - moment.in_flight
    return [f"{moment.in_flight:,} in batches", *([f"{gathered:,} for the next one"] if gathered > 0 else [])]
