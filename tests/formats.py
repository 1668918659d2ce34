"""The calls whose journal and ledger lie in tests/data/formats, as several versions of asyncsdk wrote them.

    PYTHONPATH=CHECKOUT python -P tests/formats.py STEP...

plays them with the asyncsdk of that checkout, where clock, ids, process and machine are always the same, so that two
versions with one format write the same bytes. The steps, each with a FOLDER:

    half:FOLDER      uploads and edits, until both have begun what never ends; then the process is killed
    rest:FOLDER      goes on with what lies there, to the end; prints what came of it as JSON
    again:FOLDER     the same once all has ended
    compact:FOLDER   damages the ledger and has it written anew of what is intact
    keep:FOLDER:TO   copies what is on disk, as a fixture is kept: the place where it was written taken out

A fixture is made by `half:F keep:F:…/half rest:F keep:F:…/whole`. `put` lays one down so that it is gone on with.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import itertools
import json
import os
import random
import secrets
import shutil
import signal
import socket
import sys
import time
import traceback
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import CodeType
from typing import Any, Literal

PLACE, MACHINE, PID = "/place", "machine", 4711
NOW, LATER = 1_795_000_000.123, 1_795_000_600.5
BLOCK = 512 * 1024
CONTENT = random.Random(1).randbytes(3 * BLOCK + 1234)
BASE_URL = "http://api.example/v1"
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
PRICES = {
    "models": {
        "gpt-image-2": {
            "text": {"input": 5}, "image": {"input": 8, "output": 30}, "sources": ["here"], "date": "2026-11-01",
            "tokens": {"input": "patches", "sizes": {"1024x1024": {"medium": [100, 1500]}}},
        }
    }
}  # fmt: skip
CLOCK = {"now": NOW}
LIMIT = 60.0  # seconds after which a step that does not end is a failure


def put(fixture: Path, place: Path) -> None:
    """Lay a fixture down at `place` as if its directory had been moved there: each segment says where it lies now.

    One that is only copied is taken for a copy, whose uploads are left to the journal that they were begun in.
    """
    shutil.copytree(fixture, place, dirs_exist_ok=True)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    for path in _segments(place):
        path.write_bytes(told(path.read_bytes(), folder=str(path.parent), inode=path.stat().st_ino))


def kept(place: Path) -> dict[str, bytes]:
    """What is on disk at `place` by its name there, as a fixture keeps it; of pictures only that they are there."""
    found = {}
    for part in ("journal", "out"):
        for path in sorted((place / part).rglob("*")):
            name = path.relative_to(place).as_posix()
            if path.is_file():
                found[name] = b"" if path.suffix == ".png" else path.read_bytes()
            if ".jsonl" in path.name:
                found[name] = told(found[name], folder=f"{PLACE}/{Path(name).parent}", inode=1)
    return found


def told(segment: bytes, **changes: Any) -> bytes:
    """A segment with `changes` to its first line, as far as that has such fields."""
    head, _, lines = segment.partition(b"\n")
    fields = json.loads(head)
    del fields["c"]
    return sealed(fields | {name: value for name, value in changes.items() if name in fields}) + lines


def sealed(fields: dict[str, Any]) -> bytes:
    """`fields` as a line: compact ASCII JSON, CRC-32 of what stands before it, newline."""
    body = json.dumps(fields, separators=(",", ":")).removesuffix("}").encode("ascii")
    return b'%b,"c":"%08x"}\n' % (body, zlib.crc32(body))


def lines_of(found: dict[str, bytes], begin: str) -> list[dict[str, Any]]:
    """The facts in all segments whose names begin so, heads left out."""
    facts = [
        json.loads(line)
        for name, data in sorted(found.items())
        if name.startswith(begin) and name.endswith(".jsonl")
        for line in data.splitlines()
    ]
    return [fact for fact in facts if fact["t"] != "segment"]


def _segments(place: Path) -> Iterator[Path]:
    return place.rglob("*.jsonl")


async def _half(folder: Path) -> None:
    """All that can be written down in the way of a day, and then an upload and an edit that hang."""
    async with _api(folder) as api:
        await _other_uploads(api)
        await _begin_upload(api, folder / "journal")
        await _begin_edits(api, folder / "out")
        print("ready", flush=True)  # noqa: T201 - it is a program
        await asyncio.sleep(LIMIT)


async def _again(folder: Path) -> None:
    await _rest(folder, ended=True)


async def _rest(folder: Path, *, ended: bool = False) -> None:
    async with _api(folder) as api:
        CLOCK["now"] = NOW
        await _other_uploads(api, folder / "scratch")  # so that this server knows what the one before knew
        begun = await _begin_upload(api, folder / "scratch")
        begun.cancel()
        with suppress(asyncio.CancelledError):
            await begun
        api.server.clear_faults()
        if ended:
            await api.upload(folder / "scratch", "half-way")
        CLOCK["now"] = LATER
        calls = dict(api.server.calls)
        result = await api.upload(folder / "journal", "half-way")
        again = await api.upload(folder / "journal", "half-way")
        whole = await api.upload(folder / "journal", "whole")
        first = await api.edit_all(folder / "out", _edits())
        other = await api.edit_all(folder / "out", [api.edit("another", id="first")])
        came = {
            "resumed": result.bytes_resumed,
            "sent": result.bytes_sent,
            "creates": api.server.calls["create"] - calls["create"],
            "parts": api.server.calls["part"] - calls["part"],
            "files": [file.filename for file in api.server.files],
            "right": api.server.stored(result.file.id).read_bytes() == CONTENT,
            "reused": [again.reused, whole.reused],
            "edits": [[outcome.id, outcome.status] for outcome in (*first, *other)],
            "pictures": {o.id: [path.relative_to(folder / "out").as_posix() for path in o.files] for o in first},
            "tokens": {o.id: o.usage.total_tokens for o in first if o.usage},
            "problems": {o.id: o.problem.type for o in (*first, *other) if o.problem},
            "paid": api.server.edits.by_prompt,
        }
    print(json.dumps(came), flush=True)  # noqa: T201 - it is a program


async def _compact(folder: Path) -> None:
    segment = next(iter(sorted((folder / "out").rglob("*.jsonl"))))
    head, fact, *others = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([head, fact.replace(b'"n":1', b'"n":7'), *others]))
    async with _api(folder) as api:
        await api.edit_all(folder / "out", [], accept_damage=True)


async def _other_uploads(api: Any, journal: Path | None = None) -> None:
    """One that is completed, one that is refused and cancelled, one that is refused and gone when it goes on."""
    from asyncsdk import AsyncSDKError
    from asyncsdk.server import Fault

    def refuse(route: Literal["create", "complete"], status: int) -> None:
        api.server.inject(Fault(route, "answer", "before", status=status))

    journal = journal or api.folder / "journal"
    await api.upload(journal, "whole")
    refuse("complete", 400)
    try:
        await api.upload(journal, "cancelled")
    except AsyncSDKError as refused:
        await api.uploader(journal).cancel(refused.upload_id)
    refuse("complete", 400)
    with suppress(AsyncSDKError):
        await api.upload(journal, "gone")
    refuse("complete", 404)
    refuse("create", 400)
    with suppress(AsyncSDKError):
        await api.upload(journal, "gone")
    api.server.assert_all_met()


async def _begin_upload(api: Any, journal: Path) -> asyncio.Task[Any]:
    """Send two parts of four; the third never arrives."""
    from asyncsdk.server import Fault

    api.server.inject(Fault("part", "stall", "before", nth=3))
    begun: asyncio.Task[Any] = asyncio.create_task(api.upload(journal, "half-way"))
    await _until(lambda: _count(journal, b'"t":"part"', within=b"key:half-way") == 2)
    await _until(lambda: not api.server.unmet_faults())
    return begun


async def _begin_edits(api: Any, out: Path) -> asyncio.Task[Any]:
    """Edits that end in each way, and one that was paid when its process is killed."""
    from asyncsdk.server import Fault

    first, forbidden, twice, slow, failed, lost, pending, _ = _edits()
    await api.edit_all(out, [first, forbidden, twice])
    api.server.inject(Fault("edit", "answer", status=429, headers={"retry-after-ms": "1"}))
    await api.edit_all(out, [slow])
    too_many = {"error": {"message": "Limit 5, Requested 10", "code": "rate_limit_exceeded"}}
    api.server.inject(Fault("edit", "answer", status=429, body=too_many))
    await api.edit_all(out, [failed])
    api.server.inject(Fault("edit", "answer", status=504, body="a gateway's page"))
    await api.edit_all(out, [lost])
    await api.edit_all(out, [api.edit("another", id="first")])
    await api.edit_all(out, [twice], redo=["twice"], redo_before=NOW + 1000)
    paid = api.server.edits.edits
    api.server.inject(Fault("edit", "stall", at="done"))
    begun: asyncio.Task[Any] = asyncio.create_task(api.edit_all(out, [pending]))
    await _until(lambda: api.server.edits.edits > paid)
    return begun


def _edits() -> list[Any]:
    edit = _Api.edit
    return [
        edit("first", id="first"),
        edit("forbidden", id="forbidden"),
        edit("two pictures", id="twice", n=2),
        edit("slow", id="slow"),
        edit("failed", id="failed"),
        edit("lost", id="lost"),
        edit("pending", id="pending"),
        edit("new", id="new"),
    ]


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT):
        while not holds():
            await asyncio.sleep(0.005)


def _count(journal: Path, fact: bytes, within: bytes) -> int:
    """How many lines with `fact` there are in segments with `within`."""
    found = [path.read_bytes() for path in _segments(journal)]
    return sum(data.count(fact) for data in found if within in data)


class _Api:
    """A server, and a client that knows it by a name, for keys and records hold that. Each call is a second later."""

    def __init__(self, folder: Path, server: Any, client: Any) -> None:
        self.folder, self.server, self.client = folder, server, client

    def uploader(self, journal: Path) -> Any:
        from asyncsdk import AsyncUploader

        return AsyncUploader(self.client, journal=journal, part_size=BLOCK, concurrency=1, max_retries=0)

    async def upload(self, journal: Path, name: str) -> Any:
        CLOCK["now"] += 1
        upload = self.uploader(journal).upload
        options = {"purpose": "batch", "filename": f"{name}.jsonl", "key": name, "expires_after": 86_400}
        if "check" in inspect.signature(upload).parameters:  # versions before look at nothing
            options["check"] = "none"
        return await upload(CONTENT, **options)

    @staticmethod
    def edit(prompt: str, **fields: Any) -> Any:
        from asyncsdk import ImageEdit

        picture = io.BytesIO(PICTURE)
        picture.name = "/pictures/otter.png"
        return ImageEdit(image=picture, prompt=prompt, model="gpt-image-2", **fields)

    async def edit_all(self, out: Path, edits: list[Any], **options: Any) -> list[Any]:
        from asyncsdk import ImageEditor

        CLOCK["now"] += 1
        async with ImageEditor(self.client, **_prices()).edit_many(
            edits, out=out, concurrency=1, **options
        ) as outcomes:
            return [outcome async for outcome in outcomes]


def _prices() -> dict[str, Any]:
    """Prices that never change, where a version has any: those of the package would change what is written."""
    try:
        from asyncsdk.images.costs.prices import read_table
    except ImportError:
        return {}
    return {"prices": read_table(json.dumps(PRICES), "here")}


@asynccontextmanager
async def _api(folder: Path) -> AsyncIterator[_Api]:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

    from asyncsdk import Client
    from asyncsdk.server import LocalServer

    class Here(AbstractResolver):
        async def resolve(
            self,
            host: str,
            port: int = 0,  # noqa: ARG002 - aiohttp's signature
            family: socket.AddressFamily = socket.AF_INET,
        ) -> list[ResolveResult]:
            return [ResolveResult(hostname=host, host="127.0.0.1", port=server.port, family=family, proto=0, flags=0)]

        async def close(self) -> None:
            pass

    async with (
        LocalServer(hosts=["api.example"]) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Here())) as session,
        Client("sk-test", base_url=BASE_URL, session=session, organization="org-1", project="proj_1") as client,
    ):
        yield _Api(folder, server, client)


def _fix() -> None:
    """Let clock, machine, process and all that is random be the same at each run. Ids count up by who makes them."""
    counts: defaultdict[CodeType, Iterator[int]] = defaultdict(lambda: itertools.count(1))

    def token_hex(count: int) -> str:
        return f"{next(counts[sys._getframe(1).f_code]):0{2 * count}x}"  # noqa: SLF001 - the quick way to the caller

    def choice(letters: Sequence[str]) -> str:
        return letters[next(counts[sys._getframe(1).f_code]) // 7 % len(letters)]  # noqa: SLF001 - the quick way to the caller

    def getpid() -> int:
        """For the package alone: filelock knows by it that it is in a forked child."""
        return PID if sys._getframe(1).f_globals["__name__"].startswith("asyncsdk") else real_pid()  # noqa: SLF001 - the caller

    gmtime, real_pid = time.gmtime, os.getpid
    time.time = lambda: CLOCK["now"]
    time.gmtime = lambda seconds=None: gmtime(CLOCK["now"] if seconds is None else seconds)
    socket.gethostname = lambda: MACHINE
    os.getpid = getpid
    random.getrandbits = lambda _: 0x5EED
    secrets.token_hex = token_hex  # type: ignore[assignment]  # it is always told how many
    with suppress(ImportError):  # what later versions ask the server besides would take ids of those that follow
        from asyncsdk.images.bulk.model_ends import ModelEnds

        async def check(*_: object) -> None:
            return

        ModelEnds.check = check  # type: ignore[assignment,method-assign]
    secrets.choice = choice  # type: ignore[assignment]  # letters are all that is chosen


def _fork(step: Callable[[Path], Coroutine[Any, Any, None]], folder: Path, now: float, *, killed: bool) -> None:
    """Do a step in a child; kill it as soon as it says "ready", or wait for its end."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        if killed:
            os.dup2(theirs, 1)
        try:
            CLOCK["now"] = now
            asyncio.run(step(folder))
            code = 0
        except BaseException:  # noqa: BLE001 - the child must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(theirs)
    if killed:
        os.read(ours, 1)
        os.kill(child, signal.SIGKILL)
    os.close(ours)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != (-signal.SIGKILL if killed else 0):
        raise SystemExit(f"{step.__name__} of {folder} ended with {status}")


def _keep(place: Path, to: Path) -> None:
    for name, data in kept(place).items():
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data or (place / name).read_bytes())


def main() -> None:
    _fix()
    import asyncsdk.server
    from asyncsdk import AsyncUploader, ImageEditor

    _ = asyncsdk.server, AsyncUploader, ImageEditor  # once, for all that is forked
    for argument in sys.argv[1:]:
        step, *names = argument.split(":")
        folder, *to = (Path(name).absolute() for name in names)
        folder.mkdir(mode=0o700, exist_ok=True)
        if step == "keep":
            _keep(folder, *to)
        elif step == "half":
            _fork(_half, folder, NOW, killed=True)
        else:
            _fork({"rest": _rest, "again": _again, "compact": _compact}[step], folder, LATER, killed=False)


if __name__ == "__main__":
    main()
