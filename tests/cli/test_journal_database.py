"""`--journal postgresql://…`: the real commands, with the journal in a database."""

from __future__ import annotations

import re

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.cli.support import MakeFile, Run
from tests.postgres.server import PostgresServer, free_port

MIB = 1 << 20
CANARY = "canary7f3a9c"


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
    monkeypatch.setattr("asyncsdk.postgres.faults.FIRST_PATIENCE", 0.1)
    make_file(1000, "train.jsonl", 0)
    ran = run(
        "upload", "train.jsonl", "--purpose", "batch", "--journal", f"postgresql://127.0.0.1:{free_port()}/uploads"
    )
    assert ran.code == 75
    assert "no server answers at that address. Nothing was sent." in ran.err
    assert server.requests == []


@pytest.mark.parametrize("command", [["upload", "train.jsonl", "--purpose", "batch"], ["uploads", "list"]])
def test_a_url_with_a_typo_is_wrong_usage(run: Run, make_file: MakeFile, command: list[str]) -> None:
    make_file(1000, "train.jsonl", 0)
    ran = run(*command, "--journal", f"postgresql:/me:{CANARY}@db/uploads")
    assert ran.code == 2
    assert "postgresql: is not how such a URL begins" in ran.err
    assert CANARY not in ran.err + ran.out


def test_the_sql_for_users_who_may_not_create_is_printed(run: Run) -> None:
    ran = run("uploads", "schema")
    assert ran.code == 0
    assert ran.out.index("create table asyncsdk.upload_key") < ran.out.index("-- grant select, insert, update, delete")
