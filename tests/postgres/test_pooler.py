"""Through PgBouncer in transaction mode, where each statement may run in another session."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from asyncsdk.uploads.journal.postgres import PostgresJournal
from tests.journal.support import KEY, append_parts, completed, opened
from tests.ports import HeldPort
from tests.postgres.server import SUPERUSER, PostgresServer, unprivileged
from tests.postgres.test_claims import other, rival

CONFIG = """
[databases]
* = host=127.0.0.1 port={target} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
server_reset_query_always = 1
logfile = {log}
"""


@pytest.fixture
def pooled_url(postgres_server: PostgresServer, database: str) -> Iterator[str]:
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("no PgBouncer (apt-get install pgbouncer)")
    directory = postgres_server.directory
    with HeldPort() as port:
        config, log = directory / f"pgbouncer-{port}.ini", directory / f"pgbouncer-{port}.log"
        fields = {"target": postgres_server.port, "user": SUPERUSER, "password": postgres_server.password}
        config.write_text(CONFIG.format(**fields, port=port, log=log))
        with subprocess.Popen([program, str(config)], stderr=subprocess.DEVNULL, **unprivileged()) as process:
            try:
                deadline = time.monotonic() + 60
                while "process up" not in (log.read_text() if log.exists() else ""):
                    assert process.poll() is None, "it ended"
                    assert time.monotonic() < deadline, "it does not start"
                    time.sleep(0.02)
                yield f"postgresql://anybody@127.0.0.1:{port}/{database}"
            finally:
                process.terminate()


async def test_many_at_once_work_through_a_pooler_that_lends_a_session_for_a_statement(pooled_url: str) -> None:
    async def work(number: int) -> None:
        async with other(pooled_url, number).claim(f"key{number}") as log:
            await log.append(opened())
            await append_parts(log)
            await asyncio.sleep(0.3)  # the lease is renewed
            await log.append_final(completed())

    await asyncio.gather(*map(work, range(4)))
    entries = await PostgresJournal(pooled_url).entries()
    assert [entry.records for entry in entries] == [(opened(), completed())] * 4


async def test_a_key_is_held_by_one_through_a_pooler_too(pooled_url: str) -> None:
    inside = 0

    async def own(number: int) -> None:
        nonlocal inside
        async with rival(pooled_url, number).claim(KEY):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*map(own, range(4)))
