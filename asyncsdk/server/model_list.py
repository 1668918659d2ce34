"""GET /models/{model}: which models there are, and when each ends."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from attrs import define

from asyncsdk.server.errors import not_found
from asyncsdk.server.log import ACTIVE_REQUEST


@define(eq=False)
class Models:
    """`ends` has the day on which a model ends, "" for none; None: any name is a model, without an end."""

    ends: Mapping[str, str] | None = None

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/models/{model}", self.model, name="models.get", allow_head=False)]

    async def model(self, request: web.Request) -> web.Response:
        """Return a model by its name. Raises ApiError for one that there is not."""
        name = request.match_info["model"]
        await request[ACTIVE_REQUEST].hooks.reach("done")
        ends = "" if self.ends is None else self.ends.get(name)
        if ends is None:
            raise not_found("Model", name)
        model = {"id": name, "object": "model", "created": 0, "owned_by": "asyncsdk", "shutdown_date": ends or None}
        return web.json_response(model)
