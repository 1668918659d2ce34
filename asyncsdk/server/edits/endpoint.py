"""The /images/edits endpoint, and the pictures whose URLs its responses contain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from aiohttp import web
from attrs import define, field

from asyncsdk.server.bodies import drain, read_form, read_json, send
from asyncsdk.server.edits import responses
from asyncsdk.server.edits.fields import OLD_MODEL, EditRequest, read_edit, require_compatible
from asyncsdk.server.edits.history import EditLog, RecentEdits
from asyncsdk.server.edits.memory import MemoryBudget
from asyncsdk.server.edits.once import OnceByKey
from asyncsdk.server.edits.painting import PaintedEdit, paint
from asyncsdk.server.edits.pictures import BODY_LIMIT, PICTURE_LIMIT, FormPictures, GivenPictures, read_references
from asyncsdk.server.errors import ApiError, invalid, needs_pillow, not_found
from asyncsdk.server.fields import Fields
from asyncsdk.server.ids import new_picture_name
from asyncsdk.server.log import ACTIVE_REQUEST
from asyncsdk.server.rate import TokenBucket
from asyncsdk.server.repository import Repository


def can_edit() -> bool:
    """Whether Pillow is installed, which edits need."""
    return find_spec("PIL") is not None


@define(eq=False)
class Edits:
    """`rate` limits the input images; each edit waits `seconds` once it is painted.

    With `documented_tokens` what it used is by the rules of its model. `once`: how requests are known again.
    """

    repository: Repository
    rate: TokenBucket = field(factory=TokenBucket)
    seconds: float = 0.0
    log: EditLog = field(factory=EditLog)
    memory: MemoryBudget = field(factory=MemoryBudget)
    recent: RecentEdits = field(factory=RecentEdits)
    documented_tokens: bool = False
    once: OnceByKey[PaintedEdit] = field(factory=partial(OnceByKey, clock=time.time))

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/images/edits", self.edit, name="edit")]

    def public_routes(self) -> list[web.RouteDef]:
        return [web.get("/_pictures/{name}", self.picture, name="picture", allow_head=False)]

    async def edit(self, request: web.Request) -> web.StreamResponse:
        if not can_edit():
            await drain(request)  # a response before the end of the body may not arrive: the edit would look paid
            raise needs_pillow()
        with self.memory.reserve() as request[ACTIVE_REQUEST].count_bytes:
            return await self._edit(request)

    async def batched(self, fields: Fields, request_id: str) -> dict[str, Any]:
        """Make the edit of a line of a batch, and return its response. Raises ApiError."""
        if not can_edit():
            raise needs_pillow()
        with self.memory.reserve() as count_bytes:
            pictures = await read_references(fields, partial(self._content, count_bytes))
            edit = read_edit(fields, pictures=len(pictures.images))
            require_compatible(edit, None if pictures.overlay is None else pictures.overlay.field)
            stage = responses.moderation_stage(edit.prompt)
            if stage is not None:
                raise responses.blocked(stage, request_id)
            painted = await self.repository.paint(paint, pictures, edit)
            self._count(edit, painted)
            return responses.response_json(edit, painted, [], self.repository.now(), documented=self.documented_tokens)

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        pictures, edit = await self._read(request)
        request[ACTIVE_REQUEST].hooks.count_images(edit.input_images, edit.model)
        self.rate.take(edit.input_images, edit.model, time.monotonic())
        stage = responses.moderation_stage(edit.prompt)
        refusal = None if stage is None else responses.blocked(stage, request[ACTIVE_REQUEST].request_id)
        if refusal is not None and not (edit.stream and stage == "output"):
            raise refusal
        painted, is_new = await self.once(self._key_of(request), partial(self._painted, pictures, edit))
        if refusal is None and is_new:
            self._count(edit, painted)
        if edit.stream:
            return await self._stream(request, edit, painted, refusal)
        urls = [await self._keep(request, picture) for picture in painted.pictures] if edit.as_url else []
        now = self.repository.now()
        response = responses.response_json(edit, painted, urls, now, documented=self.documented_tokens)
        return web.json_response(response)

    def _key_of(self, request: web.Request) -> str | None:
        return None if self.once.name is None else request.headers.get(self.once.name)

    async def _painted(self, pictures: GivenPictures, edit: EditRequest) -> PaintedEdit:
        painted = await self.repository.paint(paint, pictures, edit)
        await asyncio.sleep(self.seconds)
        return painted

    def _count(self, edit: EditRequest, painted: PaintedEdit) -> None:
        self.log.count(edit.prompt, edit.n)
        self.recent.add(edit.prompt, edit.n, edit.model or "", painted.thumbnails)

    async def picture(self, request: web.Request) -> web.Response:
        """Return a picture to every caller that has its URL, for an hour."""
        name = request.match_info["name"]
        content = await self.repository.picture(name)
        if content is None:
            raise not_found("Picture", name)
        return web.Response(body=content, content_type="image/png")

    async def _read(self, request: web.Request) -> tuple[GivenPictures, EditRequest]:
        if request.content_type == "application/json":
            fields = await read_json(request, BODY_LIMIT)
            pictures = await read_references(fields, partial(self._content, request[ACTIVE_REQUEST].count_bytes))
        else:
            files = FormPictures()
            form = await read_form(request, files.sink)
            fields, pictures = Fields(form.fields), files.take()
        if request.headers.get("Accept") == "text/event-stream" and fields.get("model") != OLD_MODEL:
            fields.setdefault("stream", True)
        edit = read_edit(fields, pictures=len(pictures.images))
        if edit.is_old and request.content_type == "application/json":
            raise invalid("model", f"'{edit.model}' takes its picture as multipart/form-data alone")
        require_compatible(edit, None if pictures.overlay is None else pictures.overlay.field)
        return pictures, edit

    async def _content(self, count_bytes: Callable[[int], None], file_id: str, name: str) -> bytes:
        file = self.repository.file(file_id)
        if file is None:
            raise not_found("File", file_id)
        if file.bytes >= PICTURE_LIMIT:
            raise invalid(name, f"a picture must be smaller than {PICTURE_LIMIT} bytes")
        count_bytes(file.bytes)
        return b"".join([block async for block in self.repository.read_file(file)])

    async def _stream(
        self, request: web.Request, edit: EditRequest, painted: PaintedEdit, refusal: ApiError | None
    ) -> web.StreamResponse:
        hooks, now = request[ACTIVE_REQUEST].hooks, self.repository.now()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await hooks.reach("done")
        await response.prepare(request)
        for index in range(edit.partial_images):
            await send(request, response, responses.partial(edit, painted, index, now))
        end = responses.ending(edit, painted, refusal, now, documented=self.documented_tokens)
        await send(request, response, end[: len(end) // 2])
        await hooks.reach("answering")
        await send(request, response, end[len(end) // 2 :], is_last=True)
        await response.write_eof()
        return response

    async def _keep(self, request: web.Request, picture: bytes) -> str:
        """Store a picture and return its URL."""
        name = new_picture_name()
        await self.repository.sweep()
        await self.repository.keep_picture(name, picture)
        return str(request.url.origin() / "_pictures" / name)
