"""The routes outside `/v1`: the request log, what is stored, the faults to inject, and `GET /health`.

Control needs the server's key; without one, only programs on this machine may use it. Health needs no key and shows no
content.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from aiohttp import web
from attrs import asdict, define

from asyncsdk.server.bodies import read_json_value
from asyncsdk.server.edits.history import EditLog
from asyncsdk.server.errors import bad_request, not_found
from asyncsdk.server.fault_plan import FaultPlan
from asyncsdk.server.faults import Route, fault_to_json, faults_from_json
from asyncsdk.server.fields import integer
from asyncsdk.server.log import RequestLog
from asyncsdk.server.repository import Repository
from asyncsdk.server.validators import did_you_mean

_SELECT = ("route", "status", "after")
_ROUTES = tuple(route for route in get_args(Route) if route != "*")


@define(eq=False)
class Control:
    """Below `/_control`, as JSON:

    GET stats           counts of calls by route, ended and under way, and the unmet faults
    GET requests        the calls that ended, oldest first; `?route=part`, `?status=500`, `?after=NUMBER` select
    DELETE requests     forgets them and their counts
    GET edits           counts of the finished image edits
    GET files           the files that have not expired, oldest first
    GET files/ID        where the bytes of a file are on the server's disk, in one piece: `{"path": …}`
    GET uploads         the uploads that it remembers, with their current status
    GET batches         the batches, oldest first
    GET faults          all faults, each with `calls`, how often it was `met`, how often it is `due`; and `all_met`
    POST faults         adds one, or those of a list or `{"faults": [...]}`, as `Fault` takes them; returns the stats
    DELETE faults       forgets them; returns the stats
    """

    log: RequestLog
    faults: FaultPlan
    edits: EditLog
    repository: Repository

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/stats", self.stats, allow_head=False),
            web.get("/requests", self.requests, allow_head=False),
            web.delete("/requests", self.clear_requests),
            web.get("/edits", self.edited, allow_head=False),
            web.get("/files", self.files, allow_head=False),
            web.get("/files/{file_id}", self.stored, allow_head=False),
            web.get("/uploads", self.uploads, allow_head=False),
            web.get("/batches", self.batches, allow_head=False),
            web.get("/faults", self.planned, allow_head=False),
            web.post("/faults", self.add_faults),
            web.delete("/faults", self.clear_faults),
        ]

    async def stats(self, _request: web.Request) -> web.Response:
        return self._stats()

    async def requests(self, request: web.Request) -> web.Response:
        query = request.query
        for name in query:
            _require_one_of("the query", name, _SELECT, param=name)
        if "route" in query:
            _require_one_of("route", query["route"], (*_ROUTES, "unknown"), param="route")
        status = integer("status", query["status"]) if "status" in query else None
        records = self.log.find(
            route=query.get("route"), status=status, after=integer("after", query.get("after", "0"))
        )
        return web.json_response({"requests": [record.to_json() for record in records]})

    async def clear_requests(self, _request: web.Request) -> web.Response:
        self.log.clear()
        return self._stats()

    async def planned(self, _request: web.Request) -> web.Response:
        planned = [each.to_json() for each in self.faults.planned]
        return web.json_response({"faults": planned, "all_met": not self.faults.unmet()})

    async def edited(self, _request: web.Request) -> web.Response:
        return web.json_response(self.edits.to_json())

    async def files(self, _request: web.Request) -> web.Response:
        return web.json_response({"files": [asdict(file) for file in self.repository.files()]})

    async def stored(self, request: web.Request) -> web.Response:
        file_id = request.match_info["file_id"]
        file = self.repository.file(file_id)
        if file is None:
            raise not_found("File", file_id)
        return web.json_response({"path": str(await self.repository.whole(file))})

    async def uploads(self, _request: web.Request) -> web.Response:
        return web.json_response({"uploads": [asdict(upload) for upload in self.repository.all_uploads()]})

    async def batches(self, _request: web.Request) -> web.Response:
        return web.json_response({"batches": [asdict(batch) for batch in self.repository.batches.values()]})

    async def add_faults(self, request: web.Request) -> web.Response:
        value = await read_json_value(request)
        try:
            self.faults.add(*faults_from_json(value))
        except ValueError as error:
            raise bad_request(str(error), "faults") from error
        return self._stats()

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self.faults.clear()
        return self._stats()

    def _stats(self) -> web.Response:
        unmet = [fault_to_json(fault) for fault in self.faults.unmet()]
        return web.json_response({**self.log.to_json(), "unmet_faults": unmet})


def _require_one_of(what: str, name: str, names: Collection[str], *, param: str) -> None:
    if name not in names:
        raise bad_request(f"{what}: {name!r:.80} is not one of {', '.join(names)}{did_you_mean(name, names)}.", param)


async def health(_: web.Request) -> web.Response:
    """Return 200 as soon as the server accepts requests."""
    return web.json_response({"status": "ok"})


ROUTES = (web.get("/health", health),)
