"""Claims, reads and releases of keys in a database: those that wait at the same time go in one statement."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from attrs import define, field

from asyncsdk.postgres.database import Database
from asyncsdk.postgres.takeover import NONE, GivenUp

AWAY_SECONDS = 0.3  # for giving back, from a database that does not answer


@define(eq=False)
class KeyClaim:
    """A claim of a key. `theirs` may be replaced by it; `row` is what came of it, and `rows` are the key's records."""

    key: str
    attempt: uuid.UUID = field(factory=uuid.uuid4)
    theirs: GivenUp = NONE
    is_left: bool = field(default=False, init=False)  # nobody wants it any more
    row: Any = field(default=None, init=False)
    rows: Sequence[Any] = field(default=(), init=False)

    @property
    def epoch(self) -> int | None:
        """None while the key is not ours."""
        epoch: int | None = None if self.row is None else self.row["epoch"]
        return epoch

    def release(self, database: Database) -> tuple[Any, ...]:
        """The statement that gives the key back, and its arguments."""
        return "upload_release", database.holder, _as_json([self])


async def claim_keys(database: Database, claims: Sequence[KeyClaim]) -> list[None]:
    """Claim what can be claimed now: that has an epoch then."""
    try:
        rows = await database.run("upload_claim", database.holder, _as_json(claims))
    finally:
        for claim in claims:  # one may have been given back before the last attempt claimed it, as after an outage
            if claim.is_left:
                database.owe(*claim.release(database))
    by_attempt = {row["asked"]: row for row in rows}
    for claim in claims:
        claim.row = by_attempt[claim.attempt]
    return [None] * len(claims)


async def read_keys(database: Database, claims: Sequence[KeyClaim]) -> list[None]:
    """Read all records of these keys."""
    rows = await database.run("upload_read", json.dumps([claim.key for claim in claims]))
    by_key = {key: list(group) for key, group in groupby(rows, itemgetter("key"))}
    for claim in claims:
        claim.rows = by_key.get(claim.key, ())
    return [None] * len(claims)


async def release_keys(database: Database, claims: Sequence[KeyClaim]) -> list[None]:
    """Give these keys back, those that are ours."""
    await database.run("upload_release", database.holder, _as_json(claims), patience=AWAY_SECONDS)
    return [None] * len(claims)


def _as_json(claims: Sequence[KeyClaim]) -> str:
    return json.dumps(
        [
            {
                "key": claim.key,
                "attempt": str(claim.attempt),
                "theirs": None if claim.theirs.attempt is None else str(claim.theirs.attempt),
                "is_gone": claim.theirs.is_gone,
            }
            for claim in claims
        ]
    )
