"""Waiting for what is to happen, however long the machine takes to come to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LONGEST = 20.0  # seconds; what has not happened by then never does


async def until(condition: Callable[[], object]) -> None:
    """Return once `condition` holds. Raises TimeoutError where it never does."""
    async with asyncio.timeout(LONGEST):
        while not condition():
            await asyncio.sleep(0.001)
