"""The request log: calls under way, a record of each that ended, and counts by route."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from attrs import asdict, define, field, frozen

from asyncsdk.server.faults import Fault, fault_to_json, faults_from_json
from asyncsdk.server.hooks import CallHooks
from asyncsdk.server.ids import new_request_id

RECORDS_LIMIT = 10_000
LONGEST_PATH = 200  # characters of a path without a route
LONGEST_VALUE = 100
_QUERY = ("after", "limit", "order", "purpose")  # what the API takes; anything else may be a secret
_KEY = re.compile(r"\b(sk|sess|ek)-[\w-]+")
_SECRET_HEADERS = frozenset({"authorization", "api-key", "proxy-authorization", "cookie"})


@frozen(kw_only=True)
class RequestRecord:
    """A call that ended.

    Args:
        number: Counts the calls from 1, and goes on when the log is cleared.
        route: The name that faults use for it, such as "part"; "unknown" without a matching route.
        method: The HTTP method.
        path: The template of its path, such as `/v1/uploads/{upload_id}/parts`; without a matching route the path
            itself, at most 200 characters of it.
        query: The parameters `after`, `limit`, `order` and `purpose` of its query, as far as it has them.
        status: The status of the response; None where no response was begun.
        bytes: How many bytes of its body were read.
        bytes_sent: How many bytes of the response's body were written.
        seconds: How long it took.
        request_id: The X-Request-ID of the response.
        headers: The request's headers, with lower-case names and without keys, tokens and cookies.
        upload_id: The upload that it concerned, if any.
        batch_id: The batch that it concerned, if any.
        part_id: The part that it added, if any.
        fault: The fault that happened to it, if any.
    """

    number: int
    route: str
    method: str
    path: str
    query: Mapping[str, str]
    status: int | None
    bytes: int
    bytes_sent: int
    seconds: float
    request_id: str
    headers: Mapping[str, str]
    upload_id: str | None
    batch_id: str | None
    part_id: str | None
    fault: Fault | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        plain = asdict(self, recurse=False)
        return {**plain, "fault": None if self.fault is None else fault_to_json(self.fault)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RequestRecord:
        """Read a record.

        Args:
            record: What `to_json` returned.
        """
        fault = record["fault"]
        return cls(**{**record, "fault": None if fault is None else faults_from_json(fault)[0]})


@define(eq=False)
class ActiveRequest:
    """A call under way: its handler writes down here what it learns, and faults act through its hooks."""

    request: web.Request
    route: str
    path: str
    task: asyncio.Task[Any] | None
    started: float
    upload_id: str | None
    batch_id: str | None = None
    part_id: str | None = None
    received: int = 0
    sent: int = 0
    status: int | None = None
    fault: Fault | None = None
    stalled: bool = False
    hooks: CallHooks = field(factory=CallHooks)
    end: Callable[[], None] = lambda: None  # call it before the client can know that its call is over
    count_bytes: Callable[[int], None] = lambda _: None
    request_id: str = field(factory=new_request_id)

    @classmethod
    def of(cls, request: web.Request) -> ActiveRequest:
        """Begin to follow a request; without a matching route, its route is "unknown"."""
        route = request.match_info.route
        path = _shown(request.path, LONGEST_PATH) if route.resource is None else route.resource.canonical
        started = asyncio.get_running_loop().time()
        upload_id, batch_id = (request.match_info.get(name) for name in ("upload_id", "batch_id"))
        return cls(request, route.name or "unknown", path, asyncio.current_task(), started, upload_id, batch_id)

    def answered(self, response: web.StreamResponse) -> None:
        self.status = response.status
        if isinstance(response, web.Response):  # its body is written later, in one piece
            self.sent = response.content_length or 0

    def _query(self) -> Iterator[tuple[str, str]]:
        query = self.request.query
        return ((name, query[name]) for name in _QUERY if name in query)

    def to_record(self, number: int) -> RequestRecord:
        headers = {name.lower(): value for name, value in self.request.headers.items()}
        return RequestRecord(
            number=number,
            route=self.route,
            method=self.request.method,
            path=self.path,
            query={name: _shown(value, LONGEST_VALUE) for name, value in self._query()},
            status=self.status,
            bytes=self.received,
            bytes_sent=self.sent,
            seconds=round(asyncio.get_running_loop().time() - self.started, 6),
            request_id=self.request_id,
            headers={name: value for name, value in headers.items() if name not in _SECRET_HEADERS},
            upload_id=self.upload_id,
            batch_id=self.batch_id,
            part_id=self.part_id,
            fault=self.fault,
        )


def _shown(text: str, longest: int) -> str:
    """`text` as a record keeps it: of bounded length, and without what looks like a key."""
    text = _KEY.sub(r"\1-…", text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


ACTIVE_REQUEST = web.RequestKey("active_request", ActiveRequest)


@define(eq=False)
class RequestLog:
    """The last `RECORDS_LIMIT` calls, and counts of all calls by route."""

    active: set[ActiveRequest] = field(factory=set)
    records: list[RequestRecord] = field(factory=list)
    calls: Counter[str] = field(factory=Counter)
    max_in_flight: Counter[str] = field(factory=Counter)
    bytes_received: int = 0
    ended: int = 0
    _tasks: set[asyncio.Task[Any]] = field(factory=set, init=False)

    @contextmanager
    def follow(self, call: ActiveRequest) -> Iterator[None]:
        """Count a call as under way until it ends: at `call.end()`, at the latest with the block. Then record it."""
        route, task = call.route, call.task
        call.end = lambda: self._end(call)
        self.active.add(call)
        self.calls[route] += 1
        self.max_in_flight[route] = max(self.max_in_flight[route], self.in_flight()[route])
        if task is not None:
            self._tasks.add(task)
        try:
            yield
        finally:
            call.end()
            if task is not None:
                self._tasks.discard(task)

    def find(self, *, route: str | None = None, status: int | None = None, after: int = 0) -> list[RequestRecord]:
        """Return the records of a route, with a status, above a number, oldest first."""
        return [
            record
            for record in self.records
            if record.number > after and route in (None, record.route) and status in (None, record.status)
        ]

    def clear(self) -> None:
        """Forget the calls that ended; the numbers of records go on."""
        self.records.clear()
        self.calls.clear()
        self.max_in_flight.clear()
        self.bytes_received = 0

    def in_flight(self) -> Counter[str]:
        """Count the calls under way by route, without those that stall for ever."""
        return Counter(call.route for call in list(self.active) if not call.stalled)

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of the calls under way, and of those that ended and have not left yet."""
        return list(self._tasks)

    def _end(self, call: ActiveRequest) -> None:
        if call not in self.active:
            return
        self.active.discard(call)
        self.bytes_received += call.received
        self.ended += 1
        self._keep(call.to_record(self.ended))

    def _keep(self, record: RequestRecord) -> None:
        self.records.append(record)
        if len(self.records) > RECORDS_LIMIT:
            del self.records[0]

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.calls,
            "bytes_received": self.bytes_received,
            "in_flight": self.in_flight(),
            "max_in_flight": self.max_in_flight,
        }
