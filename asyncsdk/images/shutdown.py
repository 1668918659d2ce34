"""What the day on which a model ends means for a run: refused, warned of, or nothing (pure)."""

from __future__ import annotations

from datetime import UTC, datetime

from attrs import frozen

DAY = 86_400.0  # seconds; the end is a day, not an hour, so that a run of minutes may meet it too


@frozen
class Ending:
    """A model that ended, or that ends within the expected time of a run."""

    model: str
    day: str
    has_ended: bool

    @property
    def in_words(self) -> str:
        """What happened, what is safe, what to do."""
        if self.has_ended:
            return (
                f"the model {self.model} ended on {self.day}, as the server says. Nothing was sent for it.\n"
                "  Choose another model."
            )
        return (
            f"the model {self.model} ends on {self.day}, perhaps before this run does: what is not done by then fails, "
            "unpaid. Choose another model for it."
        )


def ending(model: str, day: str | None, now: float, seconds: float) -> Ending | None:
    """What `day` (YYYY-MM-DD, UTC) means at unix time `now` for a run that takes at least `seconds`; None: nothing.

    A model may work until that day is over, or end as it begins.
    """
    begins = _beginning(day)
    if day is None or begins is None:
        return None
    if now >= begins + DAY:
        return Ending(model, day, has_ended=True)
    return Ending(model, day, has_ended=False) if now + max(seconds, DAY) >= begins else None


def _beginning(day: str | None) -> float | None:
    try:
        return datetime.strptime(day or "", "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:  # such as another form of date, of a server that is not OpenAI's
        return None
