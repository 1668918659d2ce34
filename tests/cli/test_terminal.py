"""What a server says is nothing for a terminal or a script to obey."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from tests.raw_server import answering, reply

EVIL = "\x1b]0;owned\x07\x1b[2J\nfile-2\u202e"
REFUSED = reply(500, {"error": {"message": EVIL, "code": EVIL}}, {"Retry-After": "0"})
LISTED = reply(200, {"data": [{"id": EVIL, "filename": EVIL, "purpose": EVIL}], "has_more": False})


@pytest.mark.parametrize("answer", [REFUSED, LISTED], ids=["refused", "listed"])
@pytest.mark.parametrize("shape", ["--verbose", "--quiet", "--json"])
async def test_no_control_character_of_a_server_comes_through(answer: bytes, shape: str) -> None:
    async with answering(answer) as server:
        environment = {**os.environ, "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": server.url, "NO_PROXY": "127.0.0.1"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "asyncsdk", "files", "list", shape),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = (output.decode() for output in await process.communicate())
    assert "owned" in out + err
    assert not [c for c in out + err if not c.isprintable() and c != "\n"]
    if answer is LISTED and shape != "--verbose":
        assert len(out.splitlines()) == 1
