"""`edit_many(dask=)` on a small cluster of real processes: what a caller sees, and what travels."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from asyncsdk import (
    Client,
    ConfigurationError,
    EditError,
    ImageEdit,
    ImageEditor,
    LedgerError,
    LimitReachedError,
    PostgresLedger,
)
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.server import LocalServer
from tests.fleet import dask_cluster
from tests.fleet.dask_cluster import ROOT, DaskCluster
from tests.postgres.server import PostgresServer
from tests.stories.pictures import png

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed")

KEY, DRIVERS_KEY, WRONG = "sk-worker-5c1f0b7a", "sk-driver-9d2e4c61", "a-wrong-password-8e21"
TABLES = [f"select row_to_json(t) from asyncsdk.{table} t" for table in ("edit", "holder", "ledger", "ledger_worker")]
TERMS = LeaseTerms(lease=4.0, renew_every=1.0)


@pytest.fixture(scope="module")
def cluster(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    environment = {"OPENAI_API_KEY": KEY, "PGPASSWORD": postgres_server.password}
    cluster = DaskCluster(tmp_path_factory.mktemp("dask") / "logs", environment)
    cluster.start(2)
    yield cluster
    cluster.stop()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    return path


def edits_of(picture: Path, number: int) -> list[ImageEdit]:
    return [ImageEdit(image=picture, prompt=f"e{each}", model="m", id=f"e{each}") for each in range(number)]


async def driven(
    server: LocalServer, edits: list[ImageEdit], out: Path, url: str, dask: Any, *, prices: Any = None, **options: Any
) -> list[EditOutcome]:
    ledger = PostgresLedger(url, terms=TERMS)
    async with (
        Client(DRIVERS_KEY, base_url=server.url) as client,
        ImageEditor(client, prices=prices).edit_many(
            edits, out=out, ledger=ledger, dask=dask, concurrency=2, **options
        ) as outcomes,
    ):
        return [outcome async for outcome in outcomes]


async def test_workers_send_and_the_driver_gives_how_each_edit_ended(
    cluster: DaskCluster, database_url: str, picture: Path, tmp_path: Path
) -> None:
    edits = [*edits_of(picture, 12), ImageEdit(image=tmp_path / "missing.png", prompt="p", id="missing")]
    async with LocalServer(api_key=KEY) as server:  # that of the workers, not of the driver
        outcomes = await driven(server, edits, tmp_path / "out", database_url, cluster.address)
        assert {outcome.id: outcome.status for outcome in outcomes} == {f"e{each}": "done" for each in range(12)} | {
            "missing": "refused"
        }
        assert all(outcome.files[0].read_bytes() for outcome in outcomes if outcome.status == "done")
        again = await driven(server, edits, tmp_path / "out", database_url, cluster.address)
        assert {outcome.status for outcome in again} == {"skipped", "refused"}
        assert max(server.edits.by_prompt.values()) == 1


async def test_a_picture_that_only_the_driver_can_read_is_reported_and_not_passed_over(
    cluster: DaskCluster, database_url: str, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(picture.parent)
    alone = ImageEdit(image="/proc/self/cwd/a.png", prompt="p", id="alone")  # workers have another directory
    async with LocalServer() as server:
        one, other = await driven(
            server, [*edits_of(picture, 1), alone], tmp_path / "out", database_url, cluster.address
        )
        assert server.edits.edits == 1
    assert (one.status, other.id, other.status) == ("done", "alone", "failed")
    assert other.problem is not None
    assert "no worker could send it, though its pictures can be read here" in other.problem.message


async def test_max_edits_holds_over_all_workers_and_a_client_of_dask_is_taken_too(
    cluster: DaskCluster, database_url: str, picture: Path, tmp_path: Path
) -> None:
    import distributed

    client = await asyncio.to_thread(distributed.Client, cluster.address, set_as_default=False)
    try:
        async with LocalServer(edit_seconds=0.05) as server:
            with pytest.raises(LimitReachedError, match="max_edits=17 is reached: 17 edits were sent so far"):
                await driven(server, edits_of(picture, 40), tmp_path / "out", database_url, client, max_edits=17)
            assert server.edits.edits == 17
    finally:
        await asyncio.to_thread(client.close)


async def test_what_the_server_refuses_in_every_edit_stops_each_worker_and_the_driver_says_why(
    cluster: DaskCluster, database_url: str, picture: Path, tmp_path: Path
) -> None:
    to: Any = (tmp_path / "out", database_url, cluster.address)
    async with LocalServer() as server:
        refused = [evolve(edit, quality="best") for edit in edits_of(picture, 60)]
        with pytest.raises(EditError, match=r"(?s)tcp://.*: 10 edits in a row .*With another `quality`") as caught:
            await driven(server, refused, *to)
        assert not caught.value.resumable
        assert 10 <= server.calls["edit"] < 2 * (10 + 2)
        outcomes = await driven(server, [evolve(edit, quality="low") for edit in refused], *to)
        assert {outcome.status for outcome in outcomes} == {"done"}
        assert server.edits.edits == 60


async def test_a_table_of_prices_travels_and_all_workers_count_by_it(
    cluster: DaskCluster, database_url: str, picture: Path, tmp_path: Path
) -> None:
    tokens = {"input": "patches", "factors": {"low": 16}}
    image = {"input": 0, "output": 1000}  # dollars for a million tokens: an edit is 196 of them
    entry = {"text": {"input": 0}, "image": image, "tokens": tokens, "sources": ["x"], "date": "2026-11-01"}
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"models": {"gpt-image-2": entry}}))
    plain: Any = {"model": "gpt-image-2", "quality": "low", "size": "1024x1024"}
    edits = [evolve(edit, **plain) for edit in edits_of(picture, 12)]
    async with LocalServer(documented_tokens=True, edit_seconds=0.05) as server:
        to: Any = (tmp_path / "out", database_url, cluster.address)
        with pytest.raises(LimitReachedError, match=r"max_cost=1 is reached: \$0\.980 were spent"):
            await driven(server, edits, *to, prices=mine, max_cost=1)
        assert server.edits.edits == 5
        async with Client(DRIVERS_KEY, base_url=server.url) as client:
            ledger: Any = PostgresLedger(database_url, terms=TERMS)
            run: Any = {"out": to[0], "ledger": ledger, "dask": to[2], "concurrency": 2}
            async with ImageEditor(client, prices=mine).edit_many(edits, **run) as outcomes:
                found = [(outcome.status, outcome.cost) async for outcome in outcomes]
    assert sorted(found) == [("done", 0.196)] * 7 + [("skipped", 0.196)] * 5
    assert outcomes.cost == pytest.approx(7 * 0.196)
    assert outcomes.unpriced_tokens == 0


async def test_no_key_and_no_password_is_anywhere_but_in_the_environment_of_workers(
    cluster: DaskCluster, postgres_server: PostgresServer, database: str, picture: Path, tmp_path: Path
) -> None:
    secrets = [KEY, DRIVERS_KEY, postgres_server.password]
    url, out = postgres_server.url(database), tmp_path / "out"
    async with LocalServer(tmp_path / "server", edit_seconds=1.0) as server:
        looking = await asyncio.to_thread(dask_cluster.looking, cluster.address)
        run = asyncio.ensure_future(driven(server, edits_of(picture, 4), out, url, cluster.address))
        tasks, _ = await asyncio.to_thread(looking.communicate, timeout=60)
        shown = "".join(map(_shown, Path("/proc").glob("[0-9]*/cmdline")))
        await run
    rows = postgres_server.sql(*TABLES, database=database)
    files = "".join(path.read_text(errors="replace") for path in out.rglob("*") if path.is_file())
    assert "asyncsdk-edits" in tasks, "the task was not seen"
    assert database in tasks
    assert "e3" in rows
    where = {"task": tasks, "process list": shown, "row": rows, "log": cluster.log(), "file": files}
    assert [name for name, text in where.items() if any(secret in text for secret in secrets)] == []


async def test_a_worker_without_a_key_one_with_another_ledger_and_one_with_a_wrong_password_say_so(
    postgres_server: PostgresServer, database_url: str, picture: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = postgres_server.new_database()
    elsewhere = postgres_server.url(other, password="").replace(":@", "@")
    lone = DaskCluster(tmp_path / "logs", {"OPENAI_API_KEY": "", "PGPASSWORD": postgres_server.password})
    try:
        lone.start(1)
        lone.environment = {**lone.environment, "OPENAI_API_KEY": KEY, "ASYNCSDK_LEDGER": elsewhere}
        lone.add_worker()
        lone.environment = {"OPENAI_API_KEY": KEY, "PGPASSWORD": WRONG}
        lone.add_worker()
        await asyncio.to_thread(lone.until_there, 3)
        async with LocalServer() as server:
            with pytest.raises((ConfigurationError, LedgerError)):
                await driven(server, edits_of(picture, 3), tmp_path / "out", database_url, lone.address)
            assert server.edits.edits == 0
        joined = postgres_server.sql("select is_over from asyncsdk.ledger_worker", database=other)
        assert set(joined.split()) == {"t"}, "the other ledger believes that a copy works with it"
    finally:
        lone.stop()
    assert "this worker has no API key: set OPENAI_API_KEY in its environment" in caplog.text
    assert "is not the ledger of the process that started this one" in caplog.text
    assert "it refuses the user or the password" in caplog.text
    assert not any(secret in caplog.text + lone.log() for secret in (WRONG, KEY, postgres_server.password))


async def test_a_driver_that_is_left_early_stops_the_workers(
    cluster: DaskCluster, database_url: str, picture: Path, tmp_path: Path
) -> None:
    options: Any = {"out": tmp_path / "out", "ledger": PostgresLedger(database_url, terms=TERMS), "concurrency": 1}
    async with LocalServer(edit_seconds=0.3) as server:
        async with (
            Client(DRIVERS_KEY, base_url=server.url) as client,
            ImageEditor(client).edit_many(edits_of(picture, 80), dask=cluster.address, **options) as outcomes,
        ):
            await anext(outcomes)
        made = -1
        while server.edits.edits > made:  # until what was in flight has ended
            made = server.edits.edits
            await asyncio.sleep(1.5)
        assert made < 80


async def test_ctrl_c_of_the_driver_stops_the_workers_and_the_same_call_goes_on(
    cluster: DaskCluster, database_url: str, postgres_server: PostgresServer, picture: Path, tmp_path: Path
) -> None:
    jobs, total = tmp_path / "jobs.jsonl", 36
    rows = [{"image": str(picture), "prompt": f"e{each}", "model": "m", "id": f"e{each}"} for each in range(total)]
    jobs.write_text("\n".join(map(json.dumps, rows)))
    command = [sys.executable, "-m", "asyncsdk", "edit-many", str(jobs), "--out", str(tmp_path / "out"), "--json"]
    command += ["--dask", cluster.address, "--concurrency", "2", "--ledger", _without_password(database_url)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PGPASSWORD": postgres_server.password}
    environment.pop("OPENAI_API_KEY", None)  # the driver sends nothing
    async with LocalServer(tmp_path / "server", edit_seconds=0.4) as server:
        environment["OPENAI_BASE_URL"] = server.url
        start = dict[str, Any](env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        first = subprocess.Popen(command, **start)
        while server.edits.edits < 4 and first.poll() is None:
            await asyncio.sleep(0.02)
        first.send_signal(signal.SIGINT)
        _, errors = await asyncio.to_thread(first.communicate, timeout=60)
        sent = server.edits.edits
        assert first.returncode == 130, errors.decode()
        assert "no worker sends anything new" in errors.decode()
        assert sent < total
        second = subprocess.Popen(command, **start)
        output, errors = await asyncio.to_thread(second.communicate, timeout=60)
        assert second.returncode == 0, errors.decode()
        assert sorted(json.loads(line)["id"] for line in output.splitlines()) == sorted(row["id"] for row in rows)
        assert server.edits.by_prompt == {row["prompt"]: 1 for row in rows}


def _shown(path: Path) -> str:
    """The command line of a process, which may end at this very moment."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    login, _, where = rest.partition("@")
    return f"{scheme}://{login.partition(':')[0]}@{where}"
