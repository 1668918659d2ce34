"""The lease of a process: when it is renewed, what it allows, when another may take what it holds (pure).

Rules:

- The database's clock alone says when a lease ends. Its holder counts on its own clock of elapsed time, from before the
  request that renewed it: it is never later than the database, however long the answer took or the machine slept.
- Two thirds of a lease without a renewal, and its holder begins nothing: it renews first, and learns what was taken.
- A lease that lapsed is no proof that its holder is gone. After an outage all leases have lapsed at once, as after a
  step of the database's clock, and after a sleep of the machines that all of them run on. A process that takes over has
  renewed its own lease for the length of one, on time and by a steady clock, and once more just before: a living
  holder has renewed in that time.
- A lapsed lease is taken from the very claim that was seen under it, by compare-and-set, in a statement that judges it
  again: one that looks lapsed may be of a process that claimed while the statement ran.
- A process on this machine that is gone holds nothing, whatever its lease says.
- A lease that ends later than any can is from before the database's clock was set back. The next renewal of another
  shortens it to one that is renewed now: its holder, if it lives, renews in that time.
"""

from __future__ import annotations

from attrs import frozen

LONGEST = 300.0  # seconds; `holder_renew.sql` takes one of twice that for one from before the clock was set back


@frozen(kw_only=True)
class LeaseTerms:
    """Durations in seconds. Raises ValueError where a lease lasts for no more than two renewals, or too long."""

    lease: float = 60.0
    renew_every: float = 20.0

    def __attrs_post_init__(self) -> None:
        if not 0 < self.renew_every < self.longest_gap:
            raise ValueError(f"a lease of {self.lease:g} s needs to be renewed every {self.lease / 3:g} s or so")
        if self.lease > LONGEST:  # others would shorten it, and take what its holder has
            raise ValueError(f"a lease lasts for {LONGEST:g} s at most, not {self.lease:g}")

    @property
    def good_for(self) -> float:
        """For how long after a renewal its holder may begin something."""
        return self.lease * 2 / 3

    @property
    def longest_gap(self) -> float:
        """Between renewals: in a longer one the lease of another, who renewed just before and just after, may lapse."""
        return self.lease / 2

    @property
    def longest_step(self) -> float:
        """Of the database's clock against elapsed time, the time for an answer included."""
        return self.lease / 3


@frozen
class Renewal:
    """`asked` is when it was asked for, in seconds of elapsed time; `clock` the database's unix time at its answer."""

    asked: float
    clock: float


def is_good(last: Renewal | None, now: float, terms: LeaseTerms) -> bool:
    """Whether a holder whose last renewal this was may begin something; `now` is in seconds of elapsed time."""
    return last is not None and now - last.asked < terms.good_for


def until_renewal(last: Renewal | None, now: float, terms: LeaseTerms) -> float:
    """For how many seconds the next renewal can wait."""
    return 0.0 if last is None else max(0.0, last.asked + terms.renew_every - now)


def is_steady(last: Renewal | None, this: Renewal, terms: LeaseTerms) -> bool:
    """Whether, between two renewals, nothing happened in which leases of living processes lapse."""
    if last is None:
        return False
    here, there = this.asked - last.asked, this.clock - last.clock
    return here <= terms.longest_gap and abs(there - here) <= terms.longest_step


def may_take_lapsed(steady_since: float | None, now: float, terms: LeaseTerms) -> bool:
    """Whether what a lapsed lease holds may be taken by a process whose renewals are steady since then."""
    return steady_since is not None and now - steady_since >= terms.lease


def is_gone(machine: str, here: str, *, lives: bool) -> bool:
    """Whether a holder on `machine` is gone, as seen from the machine `here`, where a process of its id `lives` or not.

    An empty name is that of a machine that can't be told from another.
    """
    return bool(here) and machine == here and not lives
