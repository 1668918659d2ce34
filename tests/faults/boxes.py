"""Real middle boxes between client and server, as child processes on this machine: nginx, haproxy, squid.

Each is passed once with what it is known for, and once more while it is killed and started again half-way.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trustme
from attrs import define, field, frozen

from asyncsdk import APIConnectionError, AsyncUploader, Client, Progress, RequestEvent, UploadResult
from asyncsdk.server import Fault, LocalServer
from tests.faults.support import MIB, make_file
from tests.faults.table import Row
from tests.ports import HeldPort

SIZE = 48 * MIB

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{}}
http {{
  access_log off; client_max_body_size 5m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/identity.pem; ssl_certificate_key {folder}/identity.pem;
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_http_version 1.1; }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 200
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
  timeout http-request 1s
  timeout http-keep-alive 200ms
frontend all
  bind 127.0.0.1:{port}
  default_backend api
backend api
  server one 127.0.0.1:{behind}
"""
SQUID = """
http_port 127.0.0.1:{port}
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
access_log none
cache deny all
coredump_dir {folder}
shutdown_lifetime 0 seconds
acl allowed dst 127.0.0.1 ::1
http_access allow allowed
http_access deny all
"""


@frozen
class Kind:
    """A program that passes requests on: how it is set up and started, how it is reached."""

    name: str
    settings: str
    command: Callable[[Path], list[str]]
    tls: bool
    is_proxy: bool = False


KINDS = (
    Kind("nginx", NGINX, lambda path: ["nginx", "-c", str(path), "-p", str(path.parent)], tls=True),
    Kind("haproxy", HAPROXY, lambda path: ["haproxy", "-f", str(path)], tls=False),
    Kind("squid", SQUID, lambda path: ["squid", "-N", "-f", str(path)], tls=True, is_proxy=True),
)


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@define(eq=False)
class Box:
    """One of them, running in `folder` and listening on `port`."""

    kind: Kind
    folder: Path
    behind: int
    _port: HeldPort = field(factory=HeldPort, init=False)  # its own also while it is away
    _process: Process | None = field(default=None, init=False)

    @property
    def port(self) -> int:
        return self._port.number

    async def start(self) -> None:
        user = "user root;" if os.geteuid() == 0 else ""
        path = self.folder / f"{self.kind.name}.conf"
        path.write_text(
            self.kind.settings.format(folder=self.folder, port=self.port, behind=self.behind, user=user).lstrip()
        )
        command = self.kind.command(path)
        self._process = await asyncio.create_subprocess_exec(
            *command, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
        )
        async with asyncio.timeout(20):
            while not listens(self.port):
                if self._process.returncode is not None:
                    raise RuntimeError(f"{self.kind.name} ended with {self._process.returncode}")
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            self._process = None

    async def close(self) -> None:
        """Kill it for good."""
        await self.kill()
        self._port.close()


@define(eq=False)
class Passage:
    """A box between a client and a server, and a file that is to go through it."""

    box: Box
    server: LocalServer
    trust: ssl.SSLContext
    path: Path
    events: list[RequestEvent] = field(factory=list)

    @property
    def base_url(self) -> str:
        if self.box.kind.is_proxy:
            return self.server.url.replace("127.0.0.1", "localhost")
        return f"{'https' if self.box.kind.tls else 'http'}://localhost:{self.box.port}/v1"

    async def upload(self, **options: object) -> UploadResult:
        proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{self.box.port}"} if self.box.kind.is_proxy else {}
        trust = self.trust if self.box.kind.tls else None
        with environment(proxy):
            client = Client("sk-test", base_url=self.base_url, ssl=trust, on_event=self.events.append)
        async with client:
            uploader = AsyncUploader(
                client, journal=self.path.parent / f"journal-{self.path.name}", part_size=16 * MIB, limit_rate=60e6
            )
            return await uploader.upload(self.path, purpose="batch", **options)  # type: ignore[arg-type]  # passed on

    def statuses(self) -> list[int]:
        return sorted({event.status for event in self.events if event.error and event.status})

    def judge(self, row: Row, what: str, result: UploadResult) -> None:
        row.cases += 1
        same = self.server.stored(result.file.id).read_bytes() == self.path.read_bytes()
        row.must(same, f"{what}: other bytes than the source's arrived")
        files = [file for file in self.server.files if file.filename == self.path.name]
        row.must(len(files) == 1, f"{what}: {len(files)} files")


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """With no proxies but these."""
    names = [name for name in os.environ if name.lower().endswith("_proxy")]
    before = {name: os.environ.pop(name) for name in names}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            os.environ.pop(name, None)
        os.environ.update(before)


@asynccontextmanager
async def passage(kind: Kind, folder: Path, what: str) -> AsyncIterator[Passage]:
    """A server, the box before it, and a new file."""
    folder = folder / f"{kind.name}-{what}"
    folder.mkdir()
    authority = trustme.CA()
    identity, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    certificate = authority.issue_cert("localhost")
    certificate.configure_cert(identity)
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "identity.pem"))
    authority.configure_trust(trust)
    with LocalServer(folder / "server", ssl_context=identity if kind.is_proxy else None) as server:
        box = Box(kind, folder, server.port)
        try:
            await box.start()
            yield Passage(box, server, trust, make_file(folder / f"{what}.bin", SIZE))
        finally:
            await box.close()


async def known_for(way: Passage, row: Row) -> None:
    """What this kind of box is known for: its body limit, its hurry, or nothing but being passed."""
    if way.box.kind.name == "haproxy":
        way.server.inject(
            Fault("part", "stall", "after", seconds=3.0, nth=2), Fault("complete", "stall", "done", seconds=3.0)
        )
    way.judge(row, f"{way.box.kind.name}, as it is", await way.upload())
    told = way.statuses()
    row.figures[way.box.kind.name] = " ".join(map(str, told)) or "passed"
    wanted = {"nginx": 413, "haproxy": 504}.get(way.box.kind.name)
    row.must(wanted is None or wanted in told, f"{way.box.kind.name} was to answer {wanted}, and told {told}")


async def restarted(way: Passage, row: Row) -> None:
    """Killed when a part has gone through, and there again two seconds later."""
    killed: list[asyncio.Task[None]] = []

    async def die_and_come_back() -> None:
        await way.box.kill()
        await asyncio.sleep(2)
        await way.box.start()

    def watch(now: Progress) -> None:
        if now.bytes_done and not killed:
            killed.append(asyncio.create_task(die_and_come_back()))

    result = await way.upload(on_progress=watch)
    await asyncio.gather(*killed)
    way.judge(row, f"{way.box.kind.name}, killed half-way", result)
    lost = [event for event in way.events if event.error and issubclass(_error(event), APIConnectionError)]
    row.must(lost, f"{way.box.kind.name} was killed, and nobody noticed")
    row.must(len(way.server.uploads) == 1, f"{way.box.kind.name}: {len(way.server.uploads)} uploads")


def _error(event: RequestEvent) -> type[BaseException]:
    import asyncsdk.errors

    found: type[BaseException] = getattr(asyncsdk.errors, event.error or "", Exception)
    return found


async def pass_boxes(folder: Path) -> Row:
    """All that are installed; those that are not are named."""
    row = Row("boxes")
    for kind in KINDS:
        if shutil.which(kind.name) is None:
            row.figures[kind.name] = "not installed"
            continue
        for number, act in enumerate((known_for, restarted)):
            async with passage(kind, folder, str(number)) as way:
                try:
                    await act(way, row)
                except Exception as error:  # noqa: BLE001 - a row of the table, with the next one still to come
                    row.must(False, f"{kind.name}, {act.__name__}: {type(error).__name__}: {error}")  # noqa: FBT003
    return row
