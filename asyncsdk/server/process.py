"""The server in a process of its own: for blocking programs, clients in other languages, and measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from os import PathLike, fspath
from typing import Any, Self
from urllib.request import ProxyHandler, Request, build_opener

from attrs import define, field

from asyncsdk.server.edits.history import EditLog
from asyncsdk.server.fault_plan import require_all_met
from asyncsdk.server.faults import Fault, fault_to_json, faults_from_json
from asyncsdk.server.log import RequestRecord
from asyncsdk.server.validators import NAMES

PROGRAM = (sys.executable, "-m", "asyncsdk.server.__main__")
STOP_SECONDS = 60.0  # gigabytes of temporary files may have to go


@define(eq=False)
class ServerProcess:
    """`with ServerProcess() as server`: a `LocalServer` in a process of its own, which ends with the block.

    It ends with the program too, however that ends: a `kill -9` leaves no server behind.

    Args:
        directory, api_key, upload_ttl, faults, host, port, hosts, connections, repeated_complete, images_per_minute,
        edit_seconds: As of `LocalServer`.

    Raises ValueError for `hosts` that are no names; on start RuntimeError where another option makes no sense, it
    can't listen or write, or another server holds the directory.
    """

    directory: str | PathLike[str] | None = None
    _api_key: str | None = field(default=None, kw_only=True, repr=False)
    _upload_ttl: int = field(default=3600, kw_only=True)
    _faults: Iterable[Fault] = field(default=(), kw_only=True)
    _host: str = field(default="127.0.0.1", kw_only=True)
    _port: int = field(default=0, kw_only=True)
    _hosts: Collection[str] = field(default=(), kw_only=True, validator=NAMES)
    _connections: int = field(default=500, kw_only=True)
    _repeated_complete: int = field(default=200, kw_only=True)
    _images_per_minute: int | None = field(default=None, kw_only=True)
    _edit_seconds: float = field(default=0.0, kw_only=True)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _address: dict[str, Any] = field(factory=dict, init=False)

    def __enter__(self) -> Self:
        if self._process is not None:
            raise RuntimeError("This server is running already; for a second one make another ServerProcess.")
        self._process = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own
        try:
            self._address = self._told(self._process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end()

    @property
    def url(self) -> str:
        """The base URL for a client, such as `http://127.0.0.1:8787/v1`."""
        return str(self._running()["url"])

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._running()["port"])

    @property
    def requests(self) -> list[RequestRecord]:
        """The calls that have ended, oldest first (the last 10,000)."""
        return [RequestRecord.from_json(told) for told in self._ask("GET", "requests")["requests"]]

    def clear_requests(self) -> None:
        """Forget the calls that have ended, and begin to count anew."""
        self._ask("DELETE", "requests")

    @property
    def calls(self) -> Mapping[str, int]:
        """How many calls of each route there were, by the names that faults use."""
        return Counter(self._ask("GET", "stats")["requests"])

    @property
    def edits(self) -> EditLog:
        """The image edits that were done until now, answered or not: each would have been paid."""
        return EditLog.from_json(self._ask("GET", "edits"))

    def inject(self, *faults: Fault) -> None:
        """Let more go wrong; their calls are counted from now on."""
        self._ask("POST", "faults", {"faults": [fault_to_json(fault) for fault in faults]})

    def clear_faults(self) -> None:
        """Let nothing more go wrong."""
        self._ask("DELETE", "faults")

    def unmet_faults(self) -> list[Fault]:
        """The faults that did not happen as often as they should."""
        return faults_from_json(self._ask("GET", "stats")["unmet_faults"])

    def assert_all_met(self) -> None:
        """Raise AssertionError, naming them, if any fault did not happen as often as it should."""
        require_all_met(map(_counted, self._ask("GET", "faults")["faults"]))

    def _told(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Give the child its options; return the address that it answers with."""
        assert process.stdin is not None  # noqa: S101 - for the type checker: both are pipes
        assert process.stdout is not None  # noqa: S101 - as above
        process.stdin.write(json.dumps(self._options()).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline() or b'{"error": "its process ended"}')
        if "error" in answer:
            raise RuntimeError(f"The server did not start: {answer['error']}")
        return dict(answer)

    def _options(self) -> dict[str, Any]:
        return {
            "directory": None if self.directory is None else fspath(self.directory),
            "api_key": self._api_key,
            "upload_ttl": self._upload_ttl,
            "faults": [fault_to_json(fault) for fault in self._faults],
            "host": self._host,
            "port": self._port,
            "hosts": list(self._hosts),
            "connections": self._connections,
            "repeated_complete": self._repeated_complete,
            "images_per_minute": self._images_per_minute,
            "edit_seconds": self._edit_seconds,
        }

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self.url.removesuffix('/v1')}/_control/{path}"
        headers = {"Content-Type": "application/json", **({} if self._api_key is None else {"api-key": self._api_key})}
        asked = Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)  # noqa: S310 - our own url
        with build_opener(ProxyHandler({})).open(asked) as answer:
            return dict(json.load(answer))

    def _running(self) -> dict[str, Any]:
        if self._process is None:
            raise RuntimeError("This server is not running: enter it with `with` first.")
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"This server's process ended with {code}; what it wrote to standard error says why.")
        return self._address

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # closes the pipes: the end of its input is the child's sign to stop
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            finally:
                process.kill()


def _counted(planned: dict[str, Any]) -> tuple[Fault, int, int]:
    counts = {name: planned.pop(name) for name in ("met", "calls", "due")}
    [fault] = faults_from_json(planned)
    return fault, counts["met"], counts["calls"]
