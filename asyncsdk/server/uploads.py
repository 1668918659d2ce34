"""The /uploads endpoints: create, add a part (and its size limit), complete, cancel."""

from __future__ import annotations

from aiohttp import web
from attrs import define

from asyncsdk.server.bodies import drain, read_form, read_json
from asyncsdk.server.errors import invalid, missing, not_found, too_large
from asyncsdk.server.fields import Fields, read_completion, read_upload, refuse_unknown
from asyncsdk.server.ids import new_file_id, new_part_id, new_upload_id
from asyncsdk.server.log import ACTIVE_REQUEST
from asyncsdk.server.objects import part_to_json
from asyncsdk.server.repository import Repository, UploadEntry
from asyncsdk.server.rules import (
    Differences,
    repeated,
    require_md5,
    require_parts,
    require_pending,
    require_usual_parts,
)

PART_LIMIT = 64 * 2**20
FORM_OVERHEAD = 2**20


@define(eq=False)
class Uploads:
    """`ttl` is the life of an upload in seconds; `repeated_complete` the status of a repeated complete."""

    repository: Repository
    ttl: int
    repeated_complete: int
    differences: Differences = Differences()  # noqa: RUF009 - frozen

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/uploads", self.create, name="create"),
            web.post("/uploads/{upload_id}/parts", self.add_part, name="part"),
            web.post("/uploads/{upload_id}/complete", self.complete, name="complete"),
            web.post("/uploads/{upload_id}/cancel", self.cancel, name="cancel"),
        ]

    async def create(self, request: web.Request) -> web.Response:
        fields = await read_json(request)
        await self.repository.sweep()
        upload = read_upload(
            fields, upload_id=new_upload_id(), file_id=new_file_id(), created_at=self.repository.now(), ttl=self.ttl
        )
        await self.repository.add_upload(upload)
        request[ACTIVE_REQUEST].upload_id = upload.id
        return web.json_response(upload.to_json())

    async def add_part(self, request: web.Request) -> web.Response:
        entry = self._find(request)
        require_pending(entry.upload, self.repository.clock())
        if (request.content_length or 0) > PART_LIMIT + FORM_OVERHEAD:
            raise too_large("The part", PART_LIMIT)
        async with self.repository.incoming(PART_LIMIT) as incoming:
            form = await read_form(request, lambda header: incoming if header.name == "data" else None)
            if not form.files:
                raise missing("data")
            refuse_unknown(Fields(form.fields))
            if not incoming.size:
                raise invalid("data", "it is empty")
            async with entry.lock:
                require_pending(entry.upload, self.repository.clock())
                part_id = new_part_id()
                await self.repository.add_part(entry, part_id, incoming)
        request[ACTIVE_REQUEST].part_id = part_id
        return web.json_response(part_to_json(part_id, entry.upload.id, self.repository.now()))

    async def complete(self, request: web.Request) -> web.Response:
        entry = self._find(request)
        fields = read_completion(await read_json(request))
        async with entry.lock:
            if entry.upload.status == "completed":
                upload = repeated(entry.upload, fields.part_ids, self.repeated_complete)
                return web.json_response(self.repository.shown_upload(upload))
            require_pending(entry.upload, self.repository.clock())
            require_parts(entry.upload, entry.parts, fields.part_ids)
            require_usual_parts(entry.parts, fields.part_ids, self.differences)
            if fields.md5 is not None and not self.differences.ignore_md5:
                md5 = await self.repository.md5(entry, fields.part_ids)
                require_md5(fields.md5, md5[::-1] if request[ACTIVE_REQUEST].hooks.sees_wrong_md5() else md5)
            dated = entry.upload.created_at if self.differences.created_at == "upload" else self.repository.now()
            await self.repository.complete(entry, fields.part_ids, dated)
        return web.json_response(self.repository.shown_upload(entry.upload))

    async def cancel(self, request: web.Request) -> web.Response:
        entry = self._find(request)
        await drain(request)
        async with entry.lock:
            require_pending(entry.upload, self.repository.clock())
            await self.repository.end(entry, "cancelled")
        return web.json_response(entry.upload.to_json())

    def _find(self, request: web.Request) -> UploadEntry:
        upload_id = request.match_info["upload_id"]
        entry = self.repository.upload(upload_id)
        if entry is None:
            raise not_found("Upload", upload_id)
        return entry
