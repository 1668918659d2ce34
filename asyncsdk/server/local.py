"""LocalServer: the server as an object, run in this event loop or in a thread, with what tests ask of it."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from os import PathLike
from pathlib import Path
from typing import Self

from aiohttp import web
from attrs import Factory, define, field
from attrs.validators import optional
from yarl import URL

from asyncsdk.server import listener
from asyncsdk.server.app import make_app
from asyncsdk.server.batches.endpoint import Batches
from asyncsdk.server.batches.objects import StoredBatch
from asyncsdk.server.edits.endpoint import Edits
from asyncsdk.server.edits.history import EditLog
from asyncsdk.server.edits.once import OnceByKey
from asyncsdk.server.edits.painting import PaintedEdit
from asyncsdk.server.fault_plan import FaultPlan
from asyncsdk.server.faults import Fault
from asyncsdk.server.files import Files
from asyncsdk.server.listener import ServerTiming
from asyncsdk.server.log import RequestLog, RequestRecord
from asyncsdk.server.model_list import Models
from asyncsdk.server.objects import StoredFile, StoredUpload
from asyncsdk.server.rate import TokenBucket
from asyncsdk.server.repository import Repository
from asyncsdk.server.rules import CreatedAt, Differences
from asyncsdk.server.uploads import Uploads
from asyncsdk.server.validators import (
    COUNT,
    DAYS,
    DONE_OR_REFUSED,
    FLAG,
    HEADER,
    HOST,
    KEY,
    NAMES,
    PORT,
    SECONDS,
    one_of,
)


@define(eq=False, repr=False)
class LocalServer:
    """A local OpenAI API for uploads, files, image edits and batches.

    `async with LocalServer() as server` runs it in this event loop; `with LocalServer() as server` in a thread, which a
    blocking client needs. Use `server.url` as the client's base URL.

    Edits really change pictures (they need Pillow: the extra `server`): where a mask is transparent, or
    everywhere without one, in a colour that depends on the prompt. A prompt with the word "forbidden" is refused as by
    the safety system, with "forbidden-output" at its second stage.

    Args:
        directory: Where everything is stored; a server started on it again continues. None: a temporary directory.
        api_key: The only accepted key, as bearer token or as `api-key`. None: any key is accepted.
        upload_ttl: Seconds after which an upload that is not completed expires.
        faults: What goes wrong.
        host: The name or address to listen on.
        port: The port to listen on; 0 takes a free one.
        hosts: Names that requests may use for it besides localhost, `host` and addresses; others are refused, so
            that no web page can reach it by a name of the page's own (DNS rebinding).
        connections: How many connections it accepts at a time.
        ssl_context: Serve TLS with it.
        repeated_complete: 200: a repeated complete returns the same upload again; a status of 400 or above refuses it
            with that. What the real server does is not known.
        images_per_minute: The limit on input images of edits, above which they get a 429. It is spread evenly: a
            burst above one second's share (with 60, above one) is refused. None: no limit.
        files_per_minute: The limit on POST /files, evenly too; OpenAI's is 1,000. None: no limit.
        parts_in_order: Complete takes parts only in the order in which they came, as servers on S3 do.
        min_part: The bytes that each part but the last must have, or complete is refused; 1 as OpenAI's.
        ignore_md5: The md5 of complete is taken and not compared.
        created_at: "upload": a File has the `created_at` of its upload, as OpenAI's; "complete": its own.
        processing_seconds: How long a file is "uploaded" before it is "processed".
        requests_per_minute: The limit on all calls, evenly too. None: no limit.
        edit_seconds: The least time that each edit takes, in seconds; not those of batches.
        batch_seconds: The least time that each batch takes, in seconds: a tenth of it until it is validated, and its
            edits are spread evenly over the next eight tenths.
        batch_window: Seconds after which a batch expires, and its requests that are not done with it.
        listing_delay: Seconds after which a new batch is in the list. What the real server does is not known.
        batch_tokens: How many tokens of input all batches of a model may have waiting; a batch above that fails. None:
            no limit.
        documented_tokens: What an edit used is by the rules that are documented for its model, or were measured.
        idempotency_header: A header whose key makes an edit once: asked again with it, the same answer comes.
        idempotency_seconds: How long such a key is remembered. None: for ever.
        model_ends: The models that GET /models/{model} knows, each with the day on which it ends (YYYY-MM-DD), "" for
            none. None: every model, as edits take any, and none ends.
        clock: Returns unix seconds, for `created_at`, expiries and the Date header.
        timing: How long it waits for what, in seconds; for tests of the server itself.

    Raises:
        ValueError: An option makes no sense.
        TypeError: `faults` is not a list of `Fault`.
        OSError: On start, it can't listen or write.
        RuntimeError: On start, another server holds the directory.
    """

    directory: str | PathLike[str] | None = None
    _api_key: str | None = field(default=None, kw_only=True, validator=optional(KEY))
    _upload_ttl: int = field(default=3600, kw_only=True, validator=COUNT)
    _faults: Iterable[Fault] = field(default=(), kw_only=True)
    _host: str = field(default="127.0.0.1", kw_only=True, validator=HOST)
    _port: int = field(default=0, kw_only=True, validator=PORT)
    _hosts: Collection[str] = field(default=(), kw_only=True, validator=NAMES)
    _connections: int = field(default=500, kw_only=True, validator=COUNT)
    _ssl_context: ssl.SSLContext | None = field(default=None, kw_only=True)
    _repeated_complete: int = field(default=200, kw_only=True, validator=DONE_OR_REFUSED)
    _images_per_minute: int | None = field(default=None, kw_only=True, validator=optional(COUNT))
    _files_per_minute: int | None = field(default=None, kw_only=True, validator=optional(COUNT))
    _parts_in_order: bool = field(default=False, kw_only=True, validator=FLAG)
    _min_part: int = field(default=1, kw_only=True, validator=COUNT)
    _ignore_md5: bool = field(default=False, kw_only=True, validator=FLAG)
    _created_at: CreatedAt = field(default="upload", kw_only=True, validator=one_of(CreatedAt))
    _processing_seconds: float = field(default=0.0, kw_only=True, validator=SECONDS)
    _requests_per_minute: int | None = field(default=None, kw_only=True, validator=optional(COUNT))
    _edit_seconds: float = field(default=0.0, kw_only=True, validator=SECONDS)
    _batch_seconds: float = field(default=0.0, kw_only=True, validator=SECONDS)
    _batch_window: int = field(default=24 * 3600, kw_only=True, validator=COUNT)
    _listing_delay: float = field(default=0.0, kw_only=True, validator=SECONDS)
    _batch_tokens: int | None = field(default=None, kw_only=True, validator=optional(COUNT))
    _documented_tokens: bool = field(default=False, kw_only=True, validator=FLAG)
    _idempotency_header: str | None = field(default=None, kw_only=True, validator=optional(HEADER))
    _idempotency_seconds: float | None = field(default=None, kw_only=True, validator=optional(SECONDS))
    _model_ends: Mapping[str, str] | None = field(default=None, kw_only=True, validator=optional(DAYS))
    _clock: Callable[[], float] = field(default=time.time, kw_only=True)
    _timing: ServerTiming = field(factory=ServerTiming, kw_only=True)  # for tests
    _plan: FaultPlan = field(default=Factory(lambda self: FaultPlan.of(self._faults), takes_self=True), init=False)
    _log: RequestLog = field(factory=RequestLog, init=False)
    _repository: Repository = field(init=False)
    _edits: Edits = field(init=False)
    _batches: Batches = field(init=False)
    _runner: web.AppRunner | None = field(default=None, init=False)
    _thread: threading.Thread = field(init=False)
    _leave: Callable[[], object] = field(init=False)

    def __repr__(self) -> str:
        return "LocalServer(not running)" if self._runner is None else f"LocalServer({self.url!r})"

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stop()

    def __enter__(self) -> Self:
        started: Future[Callable[[], object]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(started)), name="asyncsdk-server")
        self._thread.start()
        try:
            self._leave = started.result()
        except BaseException:
            started.add_done_callback(_stop_again)  # Ctrl-C may have come first
            self._thread.join()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._leave()
        self._thread.join()

    @property
    def port(self) -> int:
        """The port that it listens on. Raises RuntimeError while it does not run."""
        return int(self._running().addresses[0][1])

    @property
    def url(self) -> str:
        """The base URL for a client, such as `http://127.0.0.1:8787/v1`. Raises RuntimeError while it does not run."""
        scheme = "http" if self._ssl_context is None else "https"
        return str(URL.build(scheme=scheme, host=self._host, port=self.port, path="/v1"))

    @property
    def directory_in_use(self) -> Path:
        """Where everything is stored: `directory`, or the temporary one."""
        return self._repository.store.root

    @property
    def files(self) -> list[StoredFile]:
        """The files that have not expired, oldest first."""
        return self._repository.files()

    @property
    def uploads(self) -> list[StoredUpload]:
        """The uploads that it remembers, with their current status."""
        return self._repository.all_uploads()

    @property
    def batches(self) -> list[StoredBatch]:
        """The batches, oldest first, with their current status."""
        return list(self._repository.batches.values())

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
        file = self._repository.file(file_id)
        if file is None:
            raise KeyError(file_id)
        return self._repository.store.whole(file)

    @property
    def requests(self) -> list[RequestRecord]:
        """The calls that have ended, oldest first (the last 10,000)."""
        return list(self._log.records)

    def clear_requests(self) -> None:
        """Forget the calls that have ended, and count from zero again."""
        self._log.clear()

    @property
    def calls(self) -> Mapping[str, int]:
        """How many calls of each route began, by the names that faults use."""
        return dict(self._log.calls)

    @property
    def edits(self) -> EditLog:
        """Counts of the image edits that are finished, whether their response arrived or not: each would be billed."""
        return self._edits.log.copy()

    @property
    def bytes_received(self) -> int:
        """How many bytes of bodies it has read."""
        return self._log.bytes_received

    @property
    def parts_in_flight(self) -> int:
        """How many parts are arriving now, without those that a fault stalls for ever."""
        return self._log.in_flight()["part"]

    @property
    def max_parts_in_flight(self) -> int:
        """How many parts were arriving at once, at most."""
        return self._log.max_in_flight["part"]

    def inject(self, *faults: Fault) -> None:
        """Plan more faults; they count calls from now on.

        Args:
            faults: The faults to add.

        Raises:
            TypeError: One is not a `Fault`; none was added.
        """
        self._plan.add(*faults)

    def clear_faults(self) -> None:
        """Forget all faults, met and unmet."""
        self._plan.clear()

    def unmet_faults(self) -> list[Fault]:
        """Return the faults that have not happened as often as planned."""
        return self._plan.unmet()

    def assert_all_met(self) -> None:
        """Check that all faults happened.

        Raises:
            AssertionError: Some did not happen as often as planned; the message names them.
        """
        self._plan.require_all_met()

    async def _start(self) -> None:
        if self._runner is not None:
            raise RuntimeError("This server is running already; for a second one make another LocalServer.")
        directory = None if self.directory is None else Path(self.directory)
        self._repository = Repository(directory, self._clock, self._processing_seconds)
        files = Files(self._repository, TokenBucket(self._files_per_minute, "requests"))
        self._edits = self._edits_in(self._repository)
        self._batches = Batches(
            repository=self._repository,
            edits=self._edits,
            faults=self._plan,
            seconds=self._batch_seconds,
            window=self._batch_window,
            listing_delay=self._listing_delay,
            token_limit=self._batch_tokens,
        )
        app = make_app(
            self._repository,
            self._plan,
            self._log,
            uploads=self._uploads_in(self._repository),
            files=files,
            edits=self._edits,
            batches=self._batches,
            models=Models(self._model_ends),
            api_key=self._api_key,
            rate=TokenBucket(self._requests_per_minute, "requests"),
            host=self._host,
            hosts=self._hosts,
            timing=self._timing,
        )
        try:
            await self._repository.load()
            await self._batches.resume()
            self._runner = await listener.start(
                app,
                self._host,
                self._port,
                ssl_context=self._ssl_context,
                connections=self._connections,
                timing=self._timing,
            )
        except BaseException:
            await self._batches.close()
            await self._repository.close()
            raise

    def _uploads_in(self, repository: Repository) -> Uploads:
        differences = Differences(
            parts_in_order=self._parts_in_order,
            min_part=self._min_part,
            ignore_md5=self._ignore_md5,
            created_at=self._created_at,
        )
        return Uploads(repository, self._upload_ttl, self._repeated_complete, differences)

    def _edits_in(self, repository: Repository) -> Edits:
        once = OnceByKey[PaintedEdit](self._idempotency_header, self._idempotency_seconds, clock=self._clock)
        return Edits(
            repository,
            TokenBucket(self._images_per_minute),
            self._edit_seconds,
            documented_tokens=self._documented_tokens,
            once=once,
        )

    async def _stop(self) -> None:
        running, self._runner = self._running(), None
        await listener.stop(running, self._log.tasks)
        await self._batches.close()
        await self._repository.close()

    async def _live(self, started: Future[Callable[[], object]]) -> None:
        """Run until the function in `started` is called, which any thread may do."""
        leave, loop = asyncio.Event(), asyncio.get_running_loop()
        try:
            await self._start()
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            started.set_exception(error)
        else:
            started.set_result(lambda: loop.call_soon_threadsafe(leave.set))
            await leave.wait()
            await self._stop()

    def _running(self) -> web.AppRunner:
        if self._runner is None:
            raise RuntimeError("This server is not running: enter it with `async with` or `with` first.")
        return self._runner


def _stop_again(started: Future[Callable[[], object]]) -> None:
    if started.exception() is None:
        started.result()()


async def serve(server: LocalServer, on_listening: Callable[[LocalServer], None]) -> None:
    """Run a server until this is cancelled.

    Args:
        server: A server that is not running yet.
        on_listening: Called once, with the server, when its `url` and `port` are known.

    Raises:
        OSError: It can't listen or write.
        RuntimeError: It runs already, or another server holds its directory.
    """
    async with server:
        on_listening(server)
        await asyncio.Event().wait()
