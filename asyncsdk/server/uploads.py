"""The /uploads endpoints: create, add a part, complete, cancel."""

from __future__ import annotations

from aiohttp import web
from attrs import define

from asyncsdk.server.bodies import drain, read_form, read_json
from asyncsdk.server.errors import invalid, missing, not_found, too_large
from asyncsdk.server.fields import Fields, read_completion, read_upload, refuse_unknown
from asyncsdk.server.ids import new_file_id, new_part_id, new_upload_id
from asyncsdk.server.log import EXCHANGE
from asyncsdk.server.objects import part_to_json
from asyncsdk.server.rules import repeated, require_md5, require_parts, require_pending
from asyncsdk.server.state import Held, Repository

PART_LIMIT = 64 * 2**20
FORM_OVERHEAD = 2**20


@define(eq=False)
class Uploads:
    """`ttl` is the life of an upload in seconds; `repeated_complete` the status of a complete that was done before."""

    state: Repository
    ttl: int
    repeated_complete: int

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/uploads", self.create, name="create"),
            web.post("/uploads/{upload_id}/parts", self.add_part, name="part"),
            web.post("/uploads/{upload_id}/complete", self.complete, name="complete"),
            web.post("/uploads/{upload_id}/cancel", self.cancel, name="cancel"),
        ]

    async def create(self, request: web.Request) -> web.Response:
        fields = await read_json(request)
        await self.state.sweep()
        upload = read_upload(
            fields, upload_id=new_upload_id(), file_id=new_file_id(), created_at=self.state.now(), ttl=self.ttl
        )
        await self.state.add_upload(upload)
        request[EXCHANGE].upload_id = upload.id
        return web.json_response(upload.to_json())

    async def add_part(self, request: web.Request) -> web.Response:
        held = self._find(request)
        require_pending(held.upload, self.state.clock())
        if (request.content_length or 0) > PART_LIMIT + FORM_OVERHEAD:
            raise too_large("The part", PART_LIMIT)
        async with self.state.incoming(PART_LIMIT) as incoming:
            form = await read_form(request, lambda header: incoming if header.name == "data" else None)
            if not form.files:
                raise missing("data")
            refuse_unknown(Fields(form.fields))
            if not incoming.size:
                raise invalid("data", "it is empty")
            async with held.lock:
                require_pending(held.upload, self.state.clock())
                part_id = new_part_id()
                await self.state.add_part(held, part_id, incoming)
        request[EXCHANGE].part_id = part_id
        return web.json_response(part_to_json(part_id, held.upload.id, self.state.now()))

    async def complete(self, request: web.Request) -> web.Response:
        held = self._find(request)
        wanted = read_completion(await read_json(request))
        async with held.lock:
            if held.upload.status == "completed":
                upload = repeated(held.upload, wanted.part_ids, self.repeated_complete)
                return web.json_response(upload.to_json())
            require_pending(held.upload, self.state.clock())
            require_parts(held.upload, held.parts, wanted.part_ids)
            if wanted.md5 is not None:
                found = await self.state.md5(held, wanted.part_ids)
                require_md5(wanted.md5, found[::-1] if request[EXCHANGE].course.sees_wrong_md5() else found)
            await self.state.complete(held, wanted.part_ids)
        return web.json_response(held.upload.to_json())

    async def cancel(self, request: web.Request) -> web.Response:
        held = self._find(request)
        await drain(request)
        async with held.lock:
            require_pending(held.upload, self.state.clock())
            await self.state.end(held, "cancelled")
        return web.json_response(held.upload.to_json())

    def _find(self, request: web.Request) -> Held:
        upload_id = request.match_info["upload_id"]
        held = self.state.upload(upload_id)
        if held is None:
            raise not_found("Upload", upload_id)
        return held
