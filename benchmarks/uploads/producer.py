"""`python -m benchmarks.uploads.producer FILE`: serves FILE by HTTP, as fast as it is read; prints its URL."""

from __future__ import annotations

import sys
from pathlib import Path

from aiohttp import web

PIECE = 1 << 18


async def serve(request: web.Request) -> web.StreamResponse:
    path = request.app[PATH]
    response = web.StreamResponse(headers={"Content-Length": str(path.stat().st_size)})
    await response.prepare(request)
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            await response.write(piece)
    return response


PATH = web.AppKey("path", Path)


async def application() -> web.Application:
    app = web.Application()
    app[PATH] = Path(sys.argv[1])
    app.router.add_get("/", serve)
    app.on_startup.append(announced)
    return app


async def announced(_: web.Application) -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[2]), print=None)
