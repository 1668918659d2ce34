"""`--journal postgresql://…`: the real commands, with the journal in a database."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.cli.support import MakeFile, Run
from tests.ports import HeldPort
from tests.postgres.server import SUPERUSER, PostgresServer

MIB = 1 << 20
CANARY = "canary7f3a9c"
ROOT = Path(__file__).parents[2]


def test_an_upload_that_stopped_is_listed_shown_resumed_and_forgotten(
    run: Run, server: LocalServer, make_file: MakeFile, database_url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ASYNCSDK_JOURNAL", database_url)
    make_file(3 * MIB + 1, "train.jsonl", 0)
    server.inject(Fault("part", "answer", status=400, nth=2))
    options = ["--purpose", "batch", "--part-size", "1MiB", "--concurrency", "1"]
    assert run("upload", "train.jsonl", *options).code == 1
    upload = server.uploads[-1].id
    assert re.search(rf"{upload}  pending  1[.0 MB]* of 3", run("uploads", "list").out)
    assert "state: pending" in run("uploads", "show", upload[:12]).out
    resumed = run("uploads", "resume")
    assert (resumed.code, len(server.files)) == (0, 1)
    assert run("uploads", "list", "--all").out.count("completed") == 1
    assert run("uploads", "prune").out == "0 uploads removed from the journal\n"
    assert run("upload", "train.jsonl", *options).out.endswith("nothing was sent\n")


def test_an_upload_that_stopped_is_cancelled(
    run: Run, server: LocalServer, make_file: MakeFile, database_url: str
) -> None:
    make_file(3 * MIB + 1, "train.jsonl", 0)
    server.inject(Fault("part", "answer", status=400, nth=2))
    options = ["--purpose", "batch", "--part-size", "1MiB", "--concurrency", "1"]
    assert run("upload", "train.jsonl", *options, "--journal", database_url).code == 1
    upload = server.uploads[-1].id
    assert run("uploads", "cancel", "--journal", database_url).out == f"{upload}: cancelled\n"
    assert server.uploads[-1].status == "cancelled"


def test_neither_the_password_nor_the_key_is_where_others_can_see_it(
    server: LocalServer, make_file: MakeFile, postgres_server: PostgresServer, database: str
) -> None:
    path = make_file(2 * MIB, "train.jsonl", 0)
    key, url = f"sk-{CANARY}", f"postgresql://{SUPERUSER}@127.0.0.1:{postgres_server.port}/{database}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PGPASSWORD": postgres_server.password}
    environment |= {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": server.url, "ASYNCSDK_JOURNAL": url}
    command = [sys.executable, "-m", "asyncsdk", "upload", str(path), "--purpose", "batch", "--verbose"]
    options = ["--part-size", "512KiB", "--concurrency", "1", "--limit-rate", "2MB"]
    with subprocess.Popen([*command, *options], env=environment, stdout=PIPE, stderr=STDOUT) as process:
        seen = []
        while process.poll() is None:
            seen.append(postgres_server.sql("select row_to_json(a) from pg_stat_activity a", database=database))
            seen.append(Path(f"/proc/{process.pid}/cmdline").read_text())
            time.sleep(0.05)
        assert process.stdout is not None
        output = process.stdout.read().decode()
    assert process.returncode == 0, output
    tables = postgres_server.sql(
        *(f"select row_to_json(t) from asyncsdk.{name} t" for name in ("holder", "upload_key", "upload_record")),
        database=database,
    )
    sessions = "".join(seen)
    assert "asyncsdk.upload_key" in sessions
    assert '"completed"' in tables
    for secret in (key, postgres_server.password):
        assert secret not in output + tables + sessions + postgres_server.log()


def test_a_database_that_refuses_is_wrong_usage_and_nothing_is_sent(
    run: Run, server: LocalServer, make_file: MakeFile, database: str, postgres_server: PostgresServer
) -> None:
    make_file(1000, "train.jsonl", 0)
    url = postgres_server.url(database, password=CANARY)
    for command in (["upload", "train.jsonl", "--purpose", "batch"], ["uploads", "list"], ["uploads", "prune"]):
        ran = run(*command, "--journal", url)
        assert ran.code == 2
        assert "refuses the user or the password" in ran.err
        assert CANARY not in ran.err + ran.out
    assert server.requests == []


def test_a_database_that_does_not_answer_may_do_so_later(
    run: Run, server: LocalServer, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("asyncpg")
    monkeypatch.setattr("asyncsdk.postgres.faults.FIRST_PATIENCE", 0.1)
    make_file(1000, "train.jsonl", 0)
    with HeldPort() as port:
        ran = run("upload", "train.jsonl", "--purpose", "batch", "--journal", f"postgresql://127.0.0.1:{port}/uploads")
    assert ran.code == 75
    assert "no server answers at that address. Nothing was sent." in ran.err
    assert server.requests == []


def test_of_many_files_a_database_that_refuses_is_said_once(
    run: Run, server: LocalServer, make_file: MakeFile, database: str, postgres_server: PostgresServer
) -> None:
    for number in range(5):
        make_file(1000, f"in/{number}.bin", number)
    ran = run("upload", "in", "--purpose", "batch", "--journal", postgres_server.url(database, password=CANARY))
    assert (ran.code, ran.err.count("refuses the user or the password"), ran.err.count("in/")) == (2, 1, 0)
    assert server.requests == []


@pytest.mark.parametrize("command", [["upload", "train.jsonl", "--purpose", "batch"], ["uploads", "list"]])
def test_a_url_with_a_typo_is_wrong_usage(run: Run, make_file: MakeFile, command: list[str]) -> None:
    make_file(1000, "train.jsonl", 0)
    ran = run(*command, "--journal", f"postgresql:/me:{CANARY}@db/uploads")
    assert ran.code == 2
    assert "can't use a place that begins with postgresql:; did you mean postgresql://?" in ran.err
    assert CANARY not in ran.err + ran.out


def test_the_sql_for_users_who_may_not_create_is_printed(run: Run) -> None:
    ran = run("uploads", "schema")
    assert ran.code == 0
    assert ran.out.index("create table asyncsdk.upload_key") < ran.out.index("-- grant select, insert, update, delete")
