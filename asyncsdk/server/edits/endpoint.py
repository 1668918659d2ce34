"""The /images/edits endpoint, and the pictures that its answers point to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from aiohttp import web
from attrs import define, field

from asyncsdk.server.bodies import read_form, read_json, send
from asyncsdk.server.edits import answers
from asyncsdk.server.edits.fields import OLD_MODEL, Wanted, read_edit, require_compatible
from asyncsdk.server.edits.history import RecentEdits
from asyncsdk.server.edits.log import EditLog
from asyncsdk.server.edits.memory import MemoryBudget
from asyncsdk.server.edits.painting import Painted, paint
from asyncsdk.server.edits.pictures import BODY_LIMIT, PICTURE_LIMIT, FormPictures, GivenPictures, referred
from asyncsdk.server.errors import ApiError, invalid, not_found
from asyncsdk.server.fields import Fields
from asyncsdk.server.ids import new_picture_name
from asyncsdk.server.log import EXCHANGE
from asyncsdk.server.rate import TokenBucket
from asyncsdk.server.state import Repository


@define(eq=False)
class Edits:
    """`rate` limits the input images; each edit takes `seconds` more than it needs."""

    state: Repository
    rate: TokenBucket = field(factory=TokenBucket)
    seconds: float = 0.0
    log: EditLog = field(factory=EditLog)
    room: MemoryBudget = field(factory=MemoryBudget)
    album: RecentEdits = field(factory=RecentEdits)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/images/edits", self.edit, name="edit")]

    def public_routes(self) -> list[web.RouteDef]:
        return [web.get("/_pictures/{name}", self.picture, name="picture", allow_head=False)]

    async def edit(self, request: web.Request) -> web.StreamResponse:
        if find_spec("PIL") is None:
            raise ApiError(501, "Image edits need Pillow: pip install 'asyncsdk[server]'", type="server_error")
        with self.room.lent() as request[EXCHANGE].take:
            return await self._edit(request)

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        pictures, wanted = await self._read(request)
        request[EXCHANGE].course.count_images(wanted.input_images, wanted.model)
        self.rate.take(wanted.input_images, wanted.model, time.monotonic())
        stage = answers.moderation_stage(wanted.prompt)
        refusal = None if stage is None else answers.blocked(stage, request[EXCHANGE].request_id)
        if refusal is not None and not (wanted.stream and stage == "output"):
            raise refusal
        painted = await self.state.paint(paint, pictures, wanted)
        await asyncio.sleep(self.seconds)
        if refusal is None:
            self.log.count(wanted.prompt, wanted.n)
            self.album.add(wanted.prompt, wanted.n, wanted.model or "", painted.thumbnails)
        if wanted.stream:
            return await self._stream(request, wanted, painted, refusal)
        urls = [await self._keep(request, picture) for picture in painted.pictures] if wanted.as_url else []
        return web.json_response(answers.answer(wanted, painted, urls, self.state.now()))

    async def picture(self, request: web.Request) -> web.Response:
        """A picture whose URL was given, for an hour, to whoever has the URL."""
        name = request.match_info["name"]
        content = await self.state.picture(name)
        if content is None:
            raise not_found("Picture", name)
        return web.Response(body=content, content_type="image/png")

    async def _read(self, request: web.Request) -> tuple[GivenPictures, Wanted]:
        if request.content_type == "application/json":
            fields = await read_json(request, BODY_LIMIT)
            pictures = await referred(fields, partial(self._content, request[EXCHANGE].take))
        else:
            files = FormPictures()
            form = await read_form(request, files.sink)
            fields, pictures = Fields(form.fields), files.take()
        if request.headers.get("Accept") == "text/event-stream" and fields.get("model") != OLD_MODEL:
            fields.setdefault("stream", True)
        wanted = read_edit(fields, pictures=len(pictures.images))
        if wanted.is_old and request.content_type == "application/json":
            raise invalid("model", f"'{wanted.model}' takes its picture as multipart/form-data alone")
        require_compatible(wanted, None if pictures.overlay is None else pictures.overlay.field)
        return pictures, wanted

    async def _content(self, take: Callable[[int], None], file_id: str, name: str) -> bytes:
        file = self.state.file(file_id)
        if file is None:
            raise not_found("File", file_id)
        if file.bytes >= PICTURE_LIMIT:
            raise invalid(name, f"a picture must be smaller than {PICTURE_LIMIT} bytes")
        take(file.bytes)
        return b"".join([block async for block in self.state.read_file(file)])

    async def _stream(
        self, request: web.Request, wanted: Wanted, painted: Painted, refusal: ApiError | None
    ) -> web.StreamResponse:
        course, now = request[EXCHANGE].course, self.state.now()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await course.reach("done")
        await response.prepare(request)
        for index in range(wanted.partial_images):
            await send(request, response, answers.partial(wanted, painted, index, now))
        end = answers.ending(wanted, painted, refusal, now)
        await send(request, response, end[: len(end) // 2])
        await course.reach("answering")
        await send(request, response, end[len(end) // 2 :])
        await response.write_eof()
        return response

    async def _keep(self, request: web.Request, picture: bytes) -> str:
        """Keep a picture where its URL points to."""
        name = new_picture_name()
        await self.state.sweep()
        await self.state.keep_picture(name, picture)
        return str(request.url.origin() / "_pictures" / name)
