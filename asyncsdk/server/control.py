"""The control routes, outside /v1 and for this machine only: what was asked of the server, and what shall go wrong."""

from __future__ import annotations

import ipaddress

from aiohttp import web
from attrs import define

from asyncsdk.server.edits.log import EditLog
from asyncsdk.server.errors import ApiError, bad_request
from asyncsdk.server.faults import Faults, fault_to_json, faults_from_json
from asyncsdk.server.log import RequestLog
from asyncsdk.server.wire import read_json


@define(eq=False)
class Control:
    """`GET stats`, `requests` and `edits`; `POST faults` with `{"faults": [...]}` adds, `DELETE` forgets them."""

    log: RequestLog
    faults: Faults
    edits: EditLog

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/stats", self.stats, allow_head=False),
            web.get("/requests", self.requests, allow_head=False),
            web.get("/edits", self.edited, allow_head=False),
            web.post("/faults", self.add_faults),
            web.delete("/faults", self.clear_faults),
        ]

    async def stats(self, request: web.Request) -> web.Response:
        _require_this_machine(request)
        return self._stats()

    async def requests(self, request: web.Request) -> web.Response:
        _require_this_machine(request)
        return web.json_response({"requests": [record.to_json() for record in self.log.records]})

    async def edited(self, request: web.Request) -> web.Response:
        _require_this_machine(request)
        return web.json_response(self.edits.to_json())

    async def add_faults(self, request: web.Request) -> web.Response:
        _require_this_machine(request)
        fields = await read_json(request)
        try:
            self.faults.add(*faults_from_json(fields.get("faults", [])))
        except ValueError as error:
            raise bad_request(str(error), "faults") from error
        return self._stats()

    async def clear_faults(self, request: web.Request) -> web.Response:
        _require_this_machine(request)
        self.faults.clear()
        return self._stats()

    def _stats(self) -> web.Response:
        unmet = [fault_to_json(fault) for fault in self.faults.unmet()]
        return web.json_response({**self.log.to_json(), "unmet_faults": unmet})


def _require_this_machine(request: web.Request) -> None:
    if request.remote is None or not ipaddress.ip_address(request.remote).is_loopback:
        raise ApiError(404, f"Invalid URL ({request.method} {request.path})")
