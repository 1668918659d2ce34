"""OpenAI's own document as a judge: does an exchange keep to it?"""

from __future__ import annotations

import email
import email.policy
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from attrs import define, field
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

DOCUMENT = Path(__file__).parents[3] / "shared" / "openai-uploads-images.openapi.yaml"


@define(eq=False)
class Exchange:
    """One request and its answer as they went over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytearray = field(factory=bytearray)
    status: int = 0
    answer: bytearray = field(factory=bytearray)


@define(eq=False)
class Recorder:
    """Hears what an aiohttp session sends and receives."""

    exchanges: list[Exchange] = field(factory=list)

    def trace(self) -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        config.on_request_start.append(self._start)
        config.on_request_headers_sent.append(self._headers)
        config.on_request_chunk_sent.append(self._sent)
        config.on_request_end.append(self._end)
        return config

    def session(self) -> aiohttp.ClientSession:
        """A session that tells everything."""

        class Response(aiohttp.ClientResponse):
            async def start(self, connection: Any) -> aiohttp.ClientResponse:
                await super().start(connection)
                self.content = Tee(self.content)  # type: ignore[assignment]  # reads like it
                return self

        return aiohttp.ClientSession(trace_configs=[self.trace()], response_class=Response)

    async def _start(self, _: Any, context: Any, params: aiohttp.TraceRequestStartParams) -> None:
        context.exchange = Exchange(params.method, params.url.path, dict(params.headers))
        self.exchanges.append(context.exchange)

    async def _headers(self, _: Any, context: Any, params: aiohttp.TraceRequestHeadersSentParams) -> None:
        context.exchange.headers = {name.lower(): value for name, value in params.headers.items()}

    async def _sent(self, _: Any, context: Any, params: aiohttp.TraceRequestChunkSentParams) -> None:
        context.exchange.body += params.chunk

    async def _end(self, _: Any, context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        context.exchange.status = params.response.status
        content: Any = params.response.content
        content.belongs_to(context.exchange)


class Tee:
    """An answer's stream that leaves a copy of what is read with its exchange."""

    def __init__(self, stream: aiohttp.StreamReader) -> None:
        self._stream, self._own = stream, Exchange("", "", {})

    def belongs_to(self, exchange: Exchange) -> None:
        self._own = exchange

    async def readany(self) -> bytes:
        return self._told(await self._stream.readany())

    def read_nowait(self) -> bytes:
        return self._told(self._stream.read_nowait())

    def _told(self, chunk: bytes) -> bytes:
        self._own.answer += chunk
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@define(eq=False)
class Document:
    """The document, and what it says of an exchange."""

    whole: dict[str, Any] = field(factory=lambda: yaml.safe_load(DOCUMENT.read_text()))

    def judge(self, exchange: Exchange, base_path: str = "/v1") -> list[str]:
        """What of `exchange` is not as the document says, in words; empty if all is."""
        operation = self._operation(exchange.method, exchange.path.removeprefix(base_path))
        content = operation.get("requestBody", {}).get("content", {})
        wrong = self._judge_body(content, exchange) if content else (["a body"] if exchange.body else [])
        if exchange.status == 200 and "application/json" in operation["responses"]["200"]["content"]:
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            if "content" not in exchange.path:
                wrong += self._errors(schema, without_known_nulls(json.loads(exchange.answer)))
        return wrong

    def _operation(self, method: str, path: str) -> dict[str, Any]:
        for template, operations in self.whole["paths"].items():
            if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path) and method.lower() in operations:
                found: dict[str, Any] = operations[method.lower()]
                return found
        raise AssertionError(f"the document knows no {method} {path}")

    def _judge_body(self, content: dict[str, Any], exchange: Exchange) -> list[str]:
        kind = exchange.headers["content-type"].partition(";")[0]
        if kind not in content:
            return [f"content type {kind}, not {' or '.join(content)}"]
        if kind == "application/json":
            return self._errors(content[kind]["schema"], json.loads(exchange.body))
        return self._errors(content[kind]["schema"], form_fields(exchange))

    def _errors(self, schema: dict[str, Any], value: object) -> list[str]:
        registry: Registry[Any] = Registry().with_resource("urn:openai", DRAFT202012.create_resource(self.whole))
        reference = {"$ref": f"urn:openai{schema['$ref']}"}
        validator = Draft202012Validator(reference, registry=registry)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def form_fields(exchange: Exchange) -> dict[str, Any]:
    """A multipart body's fields; a file stands as its content in Latin-1, as text of any bytes.

    A form has no numbers and no arrays: digits stand for the one, `name[]` for the other.
    """
    head = f"Content-Type: {exchange.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + bytes(exchange.body), policy=email.policy.HTTP)
    found: dict[str, Any] = {}
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        assert part.get_filename() or part.get_content_type() == "text/plain", f"{name} is a file without a filename"
        value = part.get_content()
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        elif value.isdecimal():
            value = int(value)
        if name.endswith("[]"):
            found.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            found[name] = value
    return found


def without_known_nulls(answer: Any) -> Any:
    """The live server sends these two as null on every File, which the document forbids."""
    if isinstance(answer, list):
        return [without_known_nulls(item) for item in answer]
    if not isinstance(answer, dict):
        return answer
    known = {"expires_at", "status_details"}
    return {name: without_known_nulls(value) for name, value in answer.items() if not (name in known and value is None)}
