"""Which claim may be replaced: that of a process that is gone, or whose lease lapsed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from attrs import frozen

from asyncsdk.postgres.database import Database
from asyncsdk.postgres.machine import is_gone_here

if TYPE_CHECKING:
    import asyncpg


@frozen
class GivenUp:
    """The attempt whose claim may be replaced; `is_gone`: its process is known to be, whatever its lease."""

    attempt: uuid.UUID | None = None
    is_gone: bool = False


NONE = GivenUp()


async def given_up(database: Database, seen: asyncpg.Record) -> GivenUp:
    """Return what the next statement may replace of what one just showed: `attempt`, `pid`, `machine`, `is_alive`.

    That statement takes a claim of this attempt alone, and judges its lease again. Raises DatabaseFault.
    """
    if seen["attempt"] is None:
        return NONE
    if is_gone_here(seen["pid"], seen["machine"]):
        return GivenUp(seen["attempt"], is_gone=True)
    if not seen["is_alive"] and await database.may_take_lapsed():
        return GivenUp(seen["attempt"])
    return NONE
