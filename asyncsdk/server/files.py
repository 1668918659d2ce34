"""The /files endpoints: list, create, retrieve, delete, content."""

from __future__ import annotations

from contextlib import aclosing
from urllib.parse import quote

from aiohttp import web
from attrs import define, field

from asyncsdk.server.bodies import ReceivedForm, count_call, read_form, stream
from asyncsdk.server.errors import (
    empty_file,
    missing,
    mistyped,
    not_found,
    not_served,
    too_large,
    too_much_of,
)
from asyncsdk.server.fields import read_listing, refuse_unknown, take_expires_after, take_purpose, unflatten
from asyncsdk.server.ids import new_file_id, new_part_id
from asyncsdk.server.objects import StoredFile
from asyncsdk.server.rate import TokenBucket
from asyncsdk.server.repository import Repository
from asyncsdk.server.rules import FILE_LIMIT, file_expiry, page_of, require_downloadable, require_file_size

FORM_OVERHEAD = 2**20
NAME_LIMIT = 255  # in the header of a download: clients limit the length of headers


@define(eq=False)
class Files:
    """The files that completed uploads and POST /files have made. `rate` limits POST /files."""

    repository: Repository
    rate: TokenBucket = field(factory=lambda: TokenBucket(unit="requests"))

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/files", self.list_files, name="files.list", allow_head=False),
            web.post("/files", self.create, name="files.create"),
            web.get("/files/{file_id}", self.retrieve, name="files.get", allow_head=False),
            web.delete("/files/{file_id}", self.delete, name="files.delete"),
            web.get("/files/{file_id}/content", self.content, name="files.content", allow_head=False),
        ]

    async def list_files(self, request: web.Request) -> web.Response:
        await self.repository.sweep()
        page, has_more = page_of(self.repository.files(), read_listing(request.query))
        ids = [file.id for file in page]
        body = {
            "object": "list",
            "data": [self.repository.shown_file(file) for file in page],
            "first_id": ids[0] if ids else "",
            "last_id": ids[-1] if ids else "",
            "has_more": has_more,
        }
        return web.json_response(body)

    async def create(self, request: web.Request) -> web.Response:
        await count_call(request, self.rate)
        if (request.content_length or 0) > FILE_LIMIT + FORM_OVERHEAD:
            raise too_large("The file", FILE_LIMIT)
        async with self.repository.incoming(FILE_LIMIT) as incoming:
            form = await read_form(request, lambda header: incoming if header.name == "file" else None)
            if not form.files:
                raise missing("file")
            file = self._new_file(form, incoming.size)
            await self.repository.add_file(file, incoming)
        return web.json_response(self.repository.shown_file(file))

    async def retrieve(self, request: web.Request) -> web.Response:
        return web.json_response(self.repository.shown_file(self._find(request)))

    async def delete(self, request: web.Request) -> web.Response:
        file = self._find(request)
        await self.repository.remove_file(file.id)
        return web.json_response({"id": file.id, "object": "file", "deleted": True})

    async def content(self, request: web.Request) -> web.StreamResponse:
        file = self._find(request)
        require_downloadable(file)
        name = quote(file.filename[:NAME_LIMIT], safe="", errors="replace")
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        }
        async with aclosing(self.repository.read_file(file)) as blocks:
            return await stream(request, blocks, file.bytes, headers)

    def _new_file(self, form: ReceivedForm, size: int) -> StoredFile:
        filename, fields = form.files[0].filename, unflatten(form.fields)
        if filename is None:
            raise mistyped("file", "a file", "")
        if not size:
            raise empty_file("file")
        created_at, purpose, seconds = self.repository.now(), take_purpose(fields), take_expires_after(fields)
        refuse_unknown(fields)
        require_file_size(size, purpose)
        return StoredFile(
            id=new_file_id(),
            bytes=size,
            created_at=created_at,
            expires_at=file_expiry(created_at, purpose, seconds),
            filename=filename,
            purpose=purpose,
            part_ids=(new_part_id(),),
        )

    def _find(self, request: web.Request) -> StoredFile:
        file_id = request.match_info["file_id"]
        file = self.repository.file(file_id)
        if file is None:
            is_misrouted = bool(too_much_of(request.path))  # "files" would be the id
            raise not_served(request.method, request.path) if is_misrouted else not_found("File", file_id)
        return file
