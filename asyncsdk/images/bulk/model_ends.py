"""Whether the models of a run end, looked up once for each before anything is paid."""

from __future__ import annotations

import logging
from collections.abc import Sized

import anyio
from attrs import define, field

from asyncsdk import api
from asyncsdk.client import Client
from asyncsdk.errors import AsyncSDKError, ConfigurationError
from asyncsdk.images.shutdown import Ending, ending

LOOK_UP_SECONDS = 10.0

logger = logging.getLogger(__name__)


@define(eq=False)
class ModelEnds:
    """The ends of the models of one run, which takes `seconds` at least, as far as that is known."""

    client: Client
    seconds: float = 0.0
    _locks: dict[str, anyio.Lock] = field(factory=dict, init=False)
    _endings: dict[str, Ending | None] = field(factory=dict, init=False)

    @classmethod
    def of(cls, client: Client, edits: object, rate: float | None) -> ModelEnds:
        """Those of a run of `edits` at `rate` images a minute, each of which has one at least."""
        return cls(client, len(edits) / rate * 60 if rate and isinstance(edits, Sized) else 0.0)

    async def check(self, model: object) -> None:
        """Raise ConfigurationError for a model that has ended; one that ends within the run is a warning, once."""
        if not isinstance(model, str):  # the server chooses; or it refuses what was not checked
            return
        async with self._locks.setdefault(model, anyio.Lock()):
            if model not in self._endings:
                found = self._endings[model] = await self._look_up(model)
                if found is not None and not found.has_ended:
                    logger.warning("%s", found.in_words)
        found = self._endings[model]
        if found is not None and found.has_ended:
            raise ConfigurationError(found.in_words)

    async def _look_up(self, model: str) -> Ending | None:
        """Where the server does not say, nothing is said of it."""
        try:
            request = api.retrieve_model(model)
            info = await self.client.send(request, max_retries=0, timeout=LOOK_UP_SECONDS)
        except AsyncSDKError:
            return None
        return ending(model, info.shutdown_date, self.client.clock.now(), self.seconds)
