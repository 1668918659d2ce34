"""The lease of a process: when it is renewed, what it allows, when another may take what it holds (pure).

Rules:

- The database's clock alone says when a lease ends. Its holder counts on its own clock of elapsed time, from before the
  request that renewed it: it is never later than the database, however long the answer took or the machine slept.
- Two thirds of a lease without a renewal, and its holder begins nothing: it renews first, and learns what was taken.
- A lease that lapsed is no proof that its holder is gone. After an outage all leases have lapsed at once: whoever takes
  over has had one lease of unbroken connection, in which a living holder would have renewed.
- A process on this machine that is gone holds nothing, whatever its lease says.
"""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class LeaseTerms:
    """Durations in seconds."""

    lease: float = 60.0
    renew_every: float = 20.0

    @property
    def good_for(self) -> float:
        """For how long after a renewal its holder may begin something."""
        return self.lease * 2 / 3


def is_good(renewed: float | None, now: float, terms: LeaseTerms) -> bool:
    """Whether a holder that renewed its lease at `renewed` may begin something. Both are seconds of elapsed time."""
    return renewed is not None and now - renewed < terms.good_for


def until_renewal(renewed: float | None, now: float, terms: LeaseTerms) -> float:
    """For how many seconds the next renewal can wait."""
    return 0.0 if renewed is None else max(0.0, renewed + terms.renew_every - now)


def may_take_lapsed(connected: float | None, now: float, terms: LeaseTerms) -> bool:
    """Whether what a lapsed lease holds may be taken by a process that is `connected` since then, without a break."""
    return connected is not None and now - connected >= terms.lease


def is_gone(machine: str, here: str, *, lives: bool) -> bool:
    """Whether a holder on `machine` is gone, as seen from the machine `here`, where a process of its id `lives` or not.

    An empty name is that of a machine that can't be told from another.
    """
    return bool(here) and machine == here and not lives
