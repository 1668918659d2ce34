"""`GET /health`, for whoever starts a server and waits for it: no key is asked, nothing of its content is told."""

from __future__ import annotations

from aiohttp import web


async def health(_: web.Request) -> web.Response:
    """200 as soon as it serves."""
    return web.json_response({"status": "ok"})


ROUTES = (web.get("/health", health),)
