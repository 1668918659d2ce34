"""A server's true books, and its answers as they go out: what was really kept, and really paid."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import zlib
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from itertools import count
from typing import Any, Literal

from attrs import define, field, frozen

from tests.raw_server import Received
from tests.stories.pictures import png

Route = Literal["create", "part", "complete", "cancel", "list", "get", "delete", "content", "edit", "stream"]


@define(eq=False)
class Books:
    """What the server really holds, and how often it was really paid."""

    uploads: dict[str, dict[str, Any]] = field(factory=dict)
    parts: dict[str, bytes] = field(factory=dict)
    files: dict[str, dict[str, Any]] = field(factory=dict)
    contents: dict[str, bytes] = field(factory=dict)
    paid: Counter[str] = field(factory=Counter)
    _numbers: count[int] = field(factory=lambda: count(1))

    def act(self, route: Route, request: Received) -> tuple[int, Any]:
        """Do what is asked; the status and the JSON of the true answer, or bytes."""
        path = request.target.partition("?")[0].split("/")
        name = path[3] if len(path) > 3 and route not in {"edit", "stream"} else ""
        if name and name not in self.uploads | self.files:
            return 404, {"error": {"message": f"No such object: {name}", "type": "invalid_request_error"}}
        answer: tuple[int, Any] = getattr(self, f"_{route}")(name, request)
        return answer

    def new(self, kind: str) -> str:
        return f"{kind}_{next(self._numbers):06d}"

    def hold(self, content: bytes, **fields: Any) -> dict[str, Any]:
        """A file is there."""
        file: dict[str, Any] = {"id": self.new("file"), "object": "file", "bytes": len(content), "status": "processed"}
        file |= fields
        self.files[file["id"]], self.contents[file["id"]] = file, content
        return file

    def _create(self, _: str, request: Received) -> tuple[int, Any]:
        asked, now = json.loads(request.body), int(time.time())
        upload: dict[str, Any] = {"id": self.new("upload"), "object": "upload", "status": "pending", "file": None}
        upload |= {name: asked[name] for name in ("bytes", "filename", "purpose")}
        self.uploads[upload["id"]] = upload | {"created_at": now, "expires_at": now + 3600}
        return 200, self.uploads[upload["id"]]

    def _part(self, name: str, request: Received) -> tuple[int, Any]:
        boundary = request.headers["content-type"].partition("boundary=")[2].encode()
        content = request.body.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n--" + boundary + b"--\r\n")
        part: dict[str, Any] = {"id": self.new("part"), "object": "upload.part", "upload_id": name}
        part["created_at"] = int(time.time())
        self.parts[part["id"]] = content
        return 200, part

    def _complete(self, upload_id: str, request: Received) -> tuple[int, Any]:
        upload, asked = self.uploads[upload_id], json.loads(request.body)
        content = b"".join(self.parts.get(part, b"") for part in asked["part_ids"])
        refusal = None
        if upload["status"] != "pending":
            refusal = f"Upload {upload_id} has status '{upload['status']}'"
        elif len(content) != upload["bytes"] or asked.get("md5") != hashlib.md5(content).hexdigest():
            refusal = "the parts are not the file"
        if refusal is not None:
            return 400, {"error": {"message": refusal, "type": "invalid_request_error"}}
        fields = {name: upload[name] for name in ("filename", "purpose", "created_at")}
        upload |= {"status": "completed", "file": self.hold(content, **fields)}
        return 200, upload

    def _cancel(self, name: str, _: Received) -> tuple[int, Any]:
        self.uploads[name]["status"] = "cancelled"
        return 200, self.uploads[name]

    def _list(self, _: str, __: Received) -> tuple[int, Any]:
        return 200, {"object": "list", "data": list(self.files.values())[::-1], "has_more": False}

    def _get(self, name: str, _: Received) -> tuple[int, Any]:
        return 200, self.files[name]

    def _delete(self, name: str, _: Received) -> tuple[int, Any]:
        return 200, {"id": name, "object": "file", "deleted": bool(self.files.pop(name))}

    def _content(self, name: str, _: Received) -> tuple[int, Any]:
        return 200, self.contents[name]

    def _edit(self, _: str, request: Received) -> tuple[int, Any]:
        picture = self._picture(request)
        usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        return 200, {"created": 1, "data": [{"b64_json": base64.b64encode(picture).decode()}], "usage": usage}

    def _stream(self, _: str, request: Received) -> tuple[int, Any]:
        text = base64.b64encode(self._picture(request)).decode()
        return 200, {"type": "image_edit.completed", "b64_json": text, "usage": {"total_tokens": 3}}

    def _picture(self, request: Received) -> bytes:
        prompt = request.body.partition(b'name="prompt"\r\n\r\n')[2].partition(b"\r\n")[0].decode()
        self.paid[prompt] += 1
        return picture_of(prompt)


def picture_of(prompt: str) -> bytes:
    """The one right picture for a prompt."""
    return png(seed=zlib.crc32(prompt.encode()))


@frozen
class Told:
    """An answer on its way out; `content` is JSON, or bytes, `other` the true one to somebody else's call."""

    route: Route
    content: Any
    other: Any
    status: int = 200

    def wire(self, body: bytes | None = None, *, status: int | None = None, **headers: str) -> bytes:
        """As HTTP, with another body, status and headers where they are given (`Content_Type`)."""
        body = self.body(self.content) if body is None else body
        kind = {"content": "application/octet-stream", "stream": "text/event-stream"}
        lines = {"Content-Type": kind.get(self.route, "application/json"), "Date": formatdate(usegmt=True)}
        lines |= {"Content-Length": str(len(body))} | {name.replace("_", "-"): text for name, text in headers.items()}
        head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
        return f"HTTP/1.1 {status or self.status} Whatever\r\n{head}\r\n".encode() + body

    def body(self, content: Any) -> bytes:
        if isinstance(content, bytes):
            return content
        text = json.dumps(content).encode()
        return b"data: %b\n\n" % text if self.route == "stream" and self.status == 200 else text

    def changed(self, change: Callable[[Any], Any]) -> bytes:
        """With `change` made to the object itself: a page's or an answer's first item, an upload's file too."""
        return self.wire(self.body(_deeply(json.loads(json.dumps(self.content)), change)))


def _deeply(value: Any, change: Callable[[Any], Any]) -> Any:
    if not isinstance(value, dict):
        return value
    value = {name: _deeply(item, change) if isinstance(item, dict) else item for name, item in value.items()}
    if isinstance(value.get("data"), list):
        value["data"] = [_deeply(item, change) for item in value["data"]]
    return change(value)


def route_of(request: Received) -> Route:
    """Which of the calls it is."""
    method, path = request.method, request.target.partition("?")[0].removeprefix("/v1")
    if path == "/images/edits":
        return "stream" if b'name="stream"' in request.body else "edit"
    last: dict[str, Route] = {"parts": "part", "complete": "complete", "cancel": "cancel", "content": "content"}
    if (name := path.rpartition("/")[2]) in last:
        return last[name]
    if path == "/uploads":
        return "create"
    return "list" if path == "/files" else "delete" if method == "DELETE" else "get"


def another(route: Route, content: Any) -> Any:
    """A true answer of the same kind and size to somebody else."""
    if isinstance(content, bytes):
        return content[::-1]
    if route in {"edit", "stream"}:
        text = base64.b64encode(picture_of("somebody else's")).decode()
        return (
            {"type": "image_edit.completed", "b64_json": text} if route == "stream" else {"data": [{"b64_json": text}]}
        )
    if route == "list":
        return {"object": "list", "data": [{"id": "file_stranger", "object": "file"}], "has_more": False}
    other = dict(content) | {
        name: f"{content[name]}_stranger" for name in ("id", "upload_id", "filename") if name in content
    }
    return other | ({"file": another("get", content["file"])} if content.get("file") else {})
