"""ServerProcess: the server in a child process, for blocking programs, other languages and measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

import cattrs
from attrs import define, field, fields

from asyncsdk.server.batches.objects import StoredBatch
from asyncsdk.server.edits.history import EditLog
from asyncsdk.server.fault_plan import require_all_met
from asyncsdk.server.faults import Fault, fault_to_json, faults_from_json
from asyncsdk.server.local import LocalServer
from asyncsdk.server.log import RequestRecord
from asyncsdk.server.objects import StoredFile, StoredUpload
from asyncsdk.server.rules import CreatedAt

PROGRAM = (sys.executable, "-m", "asyncsdk.server.__main__")
STOP_SECONDS = 60.0  # it may have to remove gigabytes of temporary files


@define(eq=False, repr=False)
class ServerProcess:
    """A `LocalServer` in a child process: `with ServerProcess() as server`. It can be asked the same.

    It ends with the block, and with the program, however that ends: also a `kill -9` leaves no server running.

    Args:
        directory: Where everything is stored; a server started on it again continues. None: a temporary directory.
        api_key: The only accepted key. None: any key is accepted.
        upload_ttl: Seconds after which an upload that is not completed expires.
        faults: What goes wrong.
        host: The name or address to listen on.
        port: The port to listen on; 0 takes a free one.
        hosts: Names that requests may use for it besides localhost, `host` and addresses.
        connections: How many connections it accepts at a time.
        repeated_complete: The status of a repeated complete: 200, or 400 or above.
        images_per_minute: The limit on input images of edits, evenly: a burst above one second's share is refused.
            None: no limit.
        files_per_minute: The limit on POST /files, evenly too; OpenAI's is 1,000. None: no limit.
        parts_in_order: Complete takes parts only in the order in which they came, as servers on S3 do.
        min_part: The bytes that each part but the last must have, or complete is refused; 1 as OpenAI's.
        ignore_md5: The md5 of complete is taken and not compared.
        created_at: "upload": a File has the `created_at` of its upload, as OpenAI's; "complete": its own.
        processing_seconds: How long a file is "uploaded" before it is "processed".
        requests_per_minute: The limit on all calls, evenly too. None: no limit.
        edit_seconds: The least time that each edit takes, in seconds; not those of batches.
        batch_seconds: The least time that each batch takes, in seconds.
        batch_window: Seconds after which a batch expires.
        listing_delay: Seconds after which a new batch is in the list.
        batch_tokens: How many tokens of input all batches of a model may have waiting. None: no limit.
        documented_tokens: What an edit used is by the rules that are documented for its model, or were measured.
        idempotency_header: A header whose key makes an edit once: asked again with it, the same answer comes.
        idempotency_seconds: How long such a key is remembered. None: for ever.
        model_ends: The models that GET /models/{model} knows, with the day on which each ends. None: all.

    Raises:
        ValueError: An option makes no sense.
        TypeError: `faults` is not a list of `Fault`.
        OSError: On start, it can't listen or write.
        RuntimeError: On start, another server holds the directory, or the process ended.
    """

    directory: str | PathLike[str] | None = None
    _api_key: str | None = field(default=None, kw_only=True)
    _upload_ttl: int = field(default=3600, kw_only=True)
    _faults: Iterable[Fault] = field(default=(), kw_only=True)
    _host: str = field(default="127.0.0.1", kw_only=True)
    _port: int = field(default=0, kw_only=True)
    _hosts: Collection[str] = field(default=(), kw_only=True)
    _connections: int = field(default=500, kw_only=True)
    _repeated_complete: int = field(default=200, kw_only=True)
    _images_per_minute: int | None = field(default=None, kw_only=True)
    _files_per_minute: int | None = field(default=None, kw_only=True)
    _parts_in_order: bool = field(default=False, kw_only=True)
    _min_part: int = field(default=1, kw_only=True)
    _ignore_md5: bool = field(default=False, kw_only=True)
    _created_at: CreatedAt = field(default="upload", kw_only=True)
    _processing_seconds: float = field(default=0.0, kw_only=True)
    _requests_per_minute: int | None = field(default=None, kw_only=True)
    _edit_seconds: float = field(default=0.0, kw_only=True)
    _batch_seconds: float = field(default=0.0, kw_only=True)
    _batch_window: int = field(default=24 * 3600, kw_only=True)
    _listing_delay: float = field(default=0.0, kw_only=True)
    _batch_tokens: int | None = field(default=None, kw_only=True)
    _documented_tokens: bool = field(default=False, kw_only=True)
    _idempotency_header: str | None = field(default=None, kw_only=True)
    _idempotency_seconds: float | None = field(default=None, kw_only=True)
    _model_ends: Mapping[str, str] | None = field(default=None, kw_only=True)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _address: dict[str, Any] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Refuse what makes no sense as a `LocalServer` does, which does nothing else before its start."""
        self._faults = LocalServer(**self._options()).unmet_faults()

    def __repr__(self) -> str:
        return "ServerProcess(not running)" if self._process is None else f"ServerProcess({self._address['url']!r})"

    def __enter__(self) -> Self:
        if self._process is not None:
            raise RuntimeError("This server is running already; for a second one make another ServerProcess.")
        self._process = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own
        try:
            self._address = self._handshake(self._process)
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
        """The port that it listens on."""
        return int(self._running()["port"])

    @property
    def directory_in_use(self) -> Path:
        """Where everything is stored: `directory`, or the temporary one."""
        return Path(self._running()["directory"])

    @property
    def files(self) -> list[StoredFile]:
        """The files that have not expired, oldest first."""
        return cattrs.structure(self._ask("GET", "files")["files"], list[StoredFile])

    @property
    def uploads(self) -> list[StoredUpload]:
        """The uploads that it remembers, with their current status."""
        return cattrs.structure(self._ask("GET", "uploads")["uploads"], list[StoredUpload])

    @property
    def batches(self) -> list[StoredBatch]:
        """The batches, oldest first, with their current status."""
        return cattrs.structure(self._ask("GET", "batches")["batches"], list[StoredBatch])

    def stored(self, file_id: str) -> Path:
        """Return where a file's bytes are on disk, to compare them.

        The first call for a file of several parts makes a copy in one piece.

        Args:
            file_id: The id of the file.

        Returns:
            The path. Do not write there.

        Raises:
            KeyError: There is no such file.
            OSError: The disk refuses the copy.
        """
        try:
            return Path(self._ask("GET", f"files/{quote(file_id, safe='')}")["path"])
        except HTTPError as error:
            error.close()
            if error.code == HTTPStatus.NOT_FOUND:
                raise KeyError(file_id) from None
            raise

    @property
    def requests(self) -> list[RequestRecord]:
        """The calls that have ended, oldest first (the last 10,000)."""
        return [RequestRecord.from_json(record) for record in self._ask("GET", "requests")["requests"]]

    def clear_requests(self) -> None:
        """Forget the calls that have ended, and count from zero again."""
        self._ask("DELETE", "requests")

    @property
    def calls(self) -> Mapping[str, int]:
        """How many calls of each route began, by the names that faults use."""
        return Counter(self._ask("GET", "stats")["requests"])

    @property
    def edits(self) -> EditLog:
        """Counts of the image edits that are finished, whether their response arrived or not: each would be billed."""
        return EditLog.from_json(self._ask("GET", "edits"))

    @property
    def bytes_received(self) -> int:
        """How many bytes of bodies it has read."""
        return int(self._ask("GET", "stats")["bytes_received"])

    @property
    def parts_in_flight(self) -> int:
        """How many parts are arriving now, without those that a fault stalls for ever."""
        return int(self._ask("GET", "stats")["in_flight"].get("part", 0))

    @property
    def max_parts_in_flight(self) -> int:
        """How many parts were arriving at once, at most."""
        return int(self._ask("GET", "stats")["max_in_flight"].get("part", 0))

    def inject(self, *faults: Fault) -> None:
        """Plan more faults; they count calls from now on.

        Args:
            faults: The faults to add.

        Raises:
            TypeError: One is not a `Fault`; none was added.
        """
        self._ask("POST", "faults", {"faults": [fault_to_json(fault) for fault in faults]})

    def clear_faults(self) -> None:
        """Forget all faults, met and unmet."""
        self._ask("DELETE", "faults")

    def unmet_faults(self) -> list[Fault]:
        """Return the faults that have not happened as often as planned."""
        return faults_from_json(self._ask("GET", "stats")["unmet_faults"])

    def assert_all_met(self) -> None:
        """Check that all faults happened.

        Raises:
            AssertionError: Some did not happen as often as planned; the message names them.
        """
        require_all_met(map(_counted, self._ask("GET", "faults")["faults"]))

    def _handshake(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Send the options to the child; return the address that it writes back."""
        assert process.stdin is not None  # noqa: S101 - for the type checker: both are pipes
        assert process.stdout is not None  # noqa: S101 - as above
        options = self._options()
        plain = {"faults": [fault_to_json(fault) for fault in options["faults"]], "hosts": list(options["hosts"])}
        process.stdin.write(json.dumps({**options, **plain}).encode() + b"\n")
        process.stdin.flush()
        reply = json.loads(process.stdout.readline() or b'{"error": "its process ended"}')
        if reply.get("errno") is not None:
            raise OSError(reply["errno"], reply["error"])
        if "error" in reply:
            raise RuntimeError(f"The server did not start: {reply['error']}")
        return dict(reply)

    def _options(self) -> dict[str, Any]:
        """All that was given, by the names of `LocalServer`."""
        given = {each.alias: getattr(self, each.name) for each in fields(type(self)) if each.init}
        return {**given, "directory": None if self.directory is None else fspath(self.directory)}

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self.url.removesuffix('/v1')}/_control/{path}"
        headers = {"Content-Type": "application/json", **({} if self._api_key is None else {"api-key": self._api_key})}
        request = Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)  # noqa: S310 - our own url
        with build_opener(ProxyHandler({})).open(request) as response:
            return dict(json.load(response))

    def _running(self) -> dict[str, Any]:
        if self._process is None:
            raise RuntimeError("This server is not running: enter it with `with` first.")
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"This server's process ended with {code}; its standard error contains the reason.")
        return self._address

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with process:  # closes the pipes: the child stops when its input ends
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
