"""The /images/edits endpoint, and the pictures that its answers point to."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, OrderedDict
from importlib.util import find_spec
from typing import Any

from aiohttp import web
from attrs import define, evolve, field

from asyncsdk.server import edit_answers, edit_pictures, painting
from asyncsdk.server.edit_fields import OLD_MODEL, Wanted, read_edit
from asyncsdk.server.errors import ApiError, not_found
from asyncsdk.server.ids import new_request_id
from asyncsdk.server.image_rate import ImageRate
from asyncsdk.server.log import EXCHANGE
from asyncsdk.server.painting import Given
from asyncsdk.server.state import State
from asyncsdk.server.wire import read_form, read_json

PROMPTS_LIMIT = 100_000
URLS_LIMIT = 1000
URL_SECONDS = 3600.0


@define
class EditLog:
    """What was edited, and so would have been paid: `by_prompt` counts it for the first 100,000 prompts."""

    edits: int = 0
    images: int = 0
    by_prompt: Counter[str] = field(factory=Counter)

    def count(self, wanted: Wanted) -> None:
        self.edits += 1
        self.images += wanted.n
        if wanted.prompt in self.by_prompt or len(self.by_prompt) < PROMPTS_LIMIT:
            self.by_prompt[wanted.prompt] += 1

    def to_json(self) -> dict[str, Any]:
        return {"edits": self.edits, "images": self.images, "by_prompt": self.by_prompt}


@define(eq=False)
class Edits:
    """`images_per_minute` is the limit on input images; each edit takes `seconds` more than it needs."""

    state: State
    rate: ImageRate = field(factory=ImageRate)
    seconds: float = 0.0
    log: EditLog = field(factory=EditLog)
    _pictures: OrderedDict[str, tuple[float, bytes]] = field(factory=OrderedDict, init=False)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/images/edits", self.edit, name="edit")]

    def public_routes(self) -> list[web.RouteDef]:
        return [web.get("/_pictures/{name}", self.picture, name="picture", allow_head=False)]

    async def edit(self, request: web.Request) -> web.StreamResponse:
        if find_spec("PIL") is None:
            raise ApiError(501, "Image edits need Pillow: pip install 'asyncsdk[server]'", type="server_error")
        pictures, mask, wanted = await self._read(request)
        self.rate.take(wanted.input_images, wanted.model, time.monotonic())
        stage = edit_answers.moderation_stage(wanted.prompt)
        if stage is not None and not (wanted.stream and stage == "output"):
            raise edit_answers.blocked(stage, new_request_id())
        made = [await self._made(pictures, mask, wanted, index) for index in range(wanted.n)]
        await asyncio.sleep(self.seconds)
        if wanted.size is None:
            wanted = evolve(wanted, size=await self.state.work(painting.size_of, pictures[0]))
        if wanted.stream:
            return await self._stream(request, wanted, made, blocked=stage)
        self.log.count(wanted)
        urls = [self._keep(request, picture) for picture in made] if wanted.as_url else []
        return web.json_response(edit_answers.answer(wanted, made, urls, self.state.now()))

    async def picture(self, request: web.Request) -> web.Response:
        """A picture whose URL was given, for an hour, to whoever has the URL."""
        name = request.match_info["name"]
        until, content = self._pictures.get(name, (0.0, b""))
        if until <= self.state.clock():
            raise not_found("Picture", name)
        return web.Response(body=content, content_type="image/png")

    async def _read(self, request: web.Request) -> tuple[list[Given], Given | None, Wanted]:
        if request.content_type == "application/json":
            fields = await read_json(request)
            pictures, mask = await edit_pictures.referred(fields, self._content)
        else:
            spool = edit_pictures.FormPictures()
            form = await read_form(request, spool.sink)
            fields = dict(form.fields)
            pictures, mask = spool.take(fields)
        wanted = read_edit(fields, pictures=len(pictures))
        edit_pictures.check(pictures, old=wanted.model == OLD_MODEL)
        return pictures, mask, wanted

    async def _content(self, file_id: str) -> bytes:
        if self.state.file(file_id) is None:
            raise not_found("File", file_id)
        return b"".join([block async for block in self.state.read_file(file_id)])

    async def _made(self, pictures: list[Given], mask: Given | None, wanted: Wanted, index: int) -> bytes:
        return await self.state.work(painting.edit, pictures, mask, wanted, index)

    async def _stream(
        self, request: web.Request, wanted: Wanted, made: list[bytes], *, blocked: str | None
    ) -> web.StreamResponse:
        exchange = request[EXCHANGE]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        if blocked is None:
            self.log.count(wanted)
        await exchange.reach("done")
        await response.prepare(request)
        for index in range(wanted.partial_images):
            await response.write(edit_answers.event(wanted, made[0], self.state.now(), index=index))
        await exchange.reach("answering")
        if blocked is not None:
            await response.write(edit_answers.error_event(edit_answers.blocked(blocked, new_request_id())))
        else:
            for picture in made:
                await response.write(edit_answers.event(wanted, picture, self.state.now()))
        await response.write_eof()
        return response

    def _keep(self, request: web.Request, picture: bytes) -> str:
        name = f"img-{secrets.token_hex(12)}.png"
        self._pictures[name] = (self.state.clock() + URL_SECONDS, picture)
        while len(self._pictures) > URLS_LIMIT:
            self._pictures.popitem(last=False)
        return str(request.url.origin() / "_pictures" / name)
