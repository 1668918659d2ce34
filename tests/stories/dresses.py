"""The responses to an edit as compatible servers, gateways and broken lines give them: one picture, in many dresses."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from typing import Any

from attrs import frozen

from tests.raw_server import Talk, reply
from tests.stories.pictures import png

PICTURES = [png(seed, (16, 15 + seed)) for seed in range(1, 5)]  # some need padding, some do not
PAGE = b"<html><body>502 Bad Gateway <svg></svg></body></html>"
MANY = {"one": PICTURES[:1], "two": PICTURES[:2], "four with one bad": [*PICTURES[:2], PAGE, PICTURES[3]]}
EVENTS = "Content-Type: text/event-stream"

Item = dict[str, Any]
Dress = Callable[[list[bytes]], bytes]


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def body(items: list[Item], **more: Any) -> str:
    return json.dumps({"created": 1, "data": items, "usage": {"total_tokens": 7}, **more})


def in_json(item: Callable[[bytes], Item], **more: Any) -> Dress:
    return lambda contents: reply(200, body([item(content) for content in contents], **more))


def texts(dressed: Callable[[str], str]) -> Dress:
    return in_json(lambda content: {"b64_json": dressed(b64(content))})


def changed(change: Callable[[str], str | bytes], *, headers: dict[str, str] | None = None) -> Dress:
    """JSON that is changed as a whole."""
    return lambda contents: reply(200, change(body([{"b64_json": b64(content)} for content in contents])), headers)


def events(contents: list[bytes], **more: Any) -> list[Item]:
    return [
        {"type": "image_edit.completed", "b64_json": b64(content), "usage": {"total_tokens": 7}, **more}
        for content in contents
    ]


def frames(contents: list[bytes], **more: Any) -> str:
    return "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events(contents, **more))


def stream(change: Callable[[str], str] = str, **more: Any) -> Dress:
    return lambda contents: reply(200, change(frames(contents, **more)), {"Content-Type": "text/event-stream"})


def named_by_the_line_alone(contents: list[bytes]) -> bytes:
    found = [(one.pop("type"), json.dumps(one)) for one in events(contents)]
    return reply(200, "".join(f"event: {kind}\ndata: {data}\n\n" for kind, data in found))


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode()


def without_its_last_chunk(contents: list[bytes]) -> bytes:
    content = body([{"b64_json": b64(one)} for one in contents]).encode()
    return head("Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(content), content)


def stream_without_its_last_chunk(contents: list[bytes]) -> bytes:
    content = frames(contents).encode()
    return head("Transfer-Encoding: chunked", EVENTS) + b"%x\r\n%b\r\n" % (len(content), content)


def of_another_length(more: int) -> Dress:
    def dressed(contents: list[bytes]) -> bytes:
        content = body([{"b64_json": b64(one)} for one in contents]).encode()
        return head(f"Content-Length: {len(content) + more}") + content

    return dressed


def lines(text: str) -> str:
    return "\r\n".join(text[start : start + 76] for start in range(0, len(text), 76))


PARTIAL = f"data: {json.dumps({'type': 'image_edit.partial_image', 'b64_json': b64(png(9))})}\n\n"

DRESSES: dict[str, Dress] = {
    "plain": texts(str),
    "a data URL": in_json(lambda content: {"url": f"data:image/png;base64,{b64(content)}"}),
    "a data URL beside null": in_json(lambda content: {"b64_json": None, "url": f"data:;base64,{b64(content)}"}),
    "a data URL as the item": in_json(lambda content: f"data:image/png;base64,{b64(content)}"),  # type: ignore[arg-type,return-value]  # no item at all
    "a prefix": texts(lambda text: f"data:image/png;base64,{text}"),
    "lines": texts(lines),
    "no padding": texts(lambda text: text.rstrip("=")),
    "the alphabet for URLs": texts(lambda text: text.translate(str.maketrans("+/", "-_"))),
    "escaped slashes": changed(lambda text: text.replace("/", "\\/")),
    "a mark before JSON": changed(lambda text: b"\xef\xbb\xbf" + text.encode()),
    "JSON called a stream": changed(str, headers={"Content-Type": "text/event-stream"}),
    "JSON in one event": changed(lambda text: f"data: {text}\n\n", headers={"Content-Type": "text/event-stream"}),
    "JSON in one last event": changed(lambda text: f"data: {text}"),
    "JSON in many lines of data": changed(lambda text: "data: " + text.replace(", ", ",\ndata: ") + "\n\ndata: [DONE]"),
    "objects in lines": lambda contents: reply(200, "\n".join(json.dumps(one) for one in events(contents))),
    "a list": lambda contents: reply(200, [{"b64_json": b64(content)} for content in contents]),
    "an unknown shape": lambda contents: reply(
        200, {"output": [{"image": {"b64_json": b64(one)}} for one in contents]}
    ),
    "odd fields": in_json(
        lambda content: {"b64_json": b64(content), "revised_prompt": [7]},
        usage="free",
        created="today",
        size=1024,
        quality={},
        svg_usage=[],
        unreadable=5,
        request_id=7,
    ),
    "usage beyond all numbers": changed(lambda text: text.replace(": 7}", ": Infinity}")),
    "usage of many digits": changed(lambda text: text.replace(": 7}", f": {'7' * 5000}}}")),
    "a stream": stream(),
    "a stream with CR": stream(lambda text: text.replace("\n", "\r")),
    "a stream with CRLF": stream(lambda text: text.replace("\n", "\r\n")),
    "a stream after a mark": stream(lambda text: "\ufeff" + text),
    "a stream called JSON": lambda contents: reply(200, frames(contents), {"Content-Type": "application/json"}),
    "a stream without its last line": stream(str.rstrip),
    "a stream with partial pictures": stream(lambda text: PARTIAL + text),
    "a stream with words between": stream(lambda text: f": hello\n\ndata: ping\n\nretry: 5\n\n{text}data: [DONE]\n\n"),
    "a stream with odd fields": stream(usage=[7], created_at="now", size=None, background=5),
    "events named by their line alone": named_by_the_line_alone,
    "no last chunk": without_its_last_chunk,
    "a stream without its last chunk": stream_without_its_last_chunk,
    "shorter than it says": of_another_length(+5),
    "longer than it says": of_another_length(-1),
    "the bare picture": lambda contents: reply(200, contents[0], {"Content-Type": "image/png"}),
    "the bare picture called something": lambda contents: reply(200, contents[0]),
}


@frozen
class Case:
    """A response and the pictures that are whole in it; `raw` are those that are not."""

    dress: str
    many: str

    @property
    def name(self) -> str:
        return f"{self.dress}, {self.many}"

    @property
    def count(self) -> int:
        return len(MANY[self.many])

    @property
    def whole(self) -> list[bytes]:
        return [content for content in MANY[self.many] if content is not PAGE]

    @property
    def raw(self) -> list[bytes]:
        return [content for content in MANY[self.many] if content is PAGE]

    @property
    def wire(self) -> bytes:
        return DRESSES[self.dress](MANY[self.many])


CASES = [Case(dress, many) for dress in DRESSES for many in MANY if many == "one" or "bare" not in dress]


async def answer_by_prompt(talk: Talk) -> None:
    """Answer an edit as the case that its prompt names, and hang up."""
    request = await talk.hear()
    match = re.search(rb'name="prompt"\r\n\r\n(.*?)\r\n', request.body)
    assert match is not None
    answered = next(case for case in CASES if case.name == match[1].decode())
    head, end, content = answered.wire.partition(b"\r\n\r\n")
    await talk.say(head + b"\r\nConnection: close" + end)
    # as between the packets of a response that has the size of real ones; what follows a whole one is an error at once
    await asyncio.sleep(0.3 if answered.dress == "longer than it says" else 0.01)
    await talk.say(content)
