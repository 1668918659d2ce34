"""Postgres as the one memory of many machines: connections, schema, leases, group commit; its values and errors (pure).

Nothing here knows what is remembered: the journal of uploads, and what else machines share, words what is raised here.
SQL is in `sql/`, one file for each statement, with the law that it keeps at its top.
"""

from __future__ import annotations


class DatabaseFault(Exception):  # noqa: N818 - its owner makes an error of it
    """The database can't do what was asked.

    Attributes:
        reason: What happened, without a password and without what was to be written.
        advice: What to do next.
        is_newer: Whether a newer asyncsdk made the schema.
        passes: Whether it may be over later, with nothing changed.
    """

    def __init__(self, reason: str, advice: str = "", *, is_newer: bool = False, passes: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
        self.is_newer = is_newer
        self.passes = passes

    def again(self) -> DatabaseFault:
        """The same once more, for another caller: each has a traceback of its own."""
        return DatabaseFault(self.reason, self.advice, is_newer=self.is_newer, passes=self.passes)


class NotMadeError(Exception):
    """Nothing was ever written there: the schema is not made yet, and to read is no reason to make it."""
