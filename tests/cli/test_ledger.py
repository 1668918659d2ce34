"""`asyncsdk ledger`, and `edit-many --ledger postgresql://…`: the real commands."""

from __future__ import annotations

import json
import shlex
import time
from itertools import chain
from pathlib import Path

import pytest

from asyncsdk.cli.help import EXAMPLES
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run, Start
from tests.postgres.server import PostgresServer
from tests.stories.pictures import png

CANARY = "canary7f3a9c"
OPTIONS = ["-m", "gpt-image-2", "-o", "out", "--yes", "--progress", "none", "-c", "1"]


def write_jobs(*rows: object) -> None:
    Path("jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def photos(run: Run) -> Path:
    folder = Path("photos")
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.png").write_bytes(png())
    return folder


@pytest.fixture
def shared(environment: pytest.MonkeyPatch, database_url: str) -> str:
    environment.setenv("ASYNCSDK_LEDGER", database_url)
    return database_url


def test_the_same_command_pays_each_once_and_the_ledger_is_shown(
    run: Run, server: LocalServer, photos: Path, shared: str
) -> None:
    command = ["edit-many", str(photos), "-p", CANARY, *OPTIONS]
    first, again = run(*command), run(*command)
    assert (first.code, again.code, server.edits.edits) == (0, 0, 3)
    assert "3 done before." in again.err
    assert run("ledger", "show").out.startswith("done: 3\nsent so far: 3 edits, ")
    assert [json.loads(line)["files"] for line in run("ledger", "export").out.splitlines()] == [
        ["a.png"], ["b.png"], ["c.png"],
    ]  # fmt: skip
    assert CANARY not in run("ledger", "export").out
    assert not Path("out/failed.jsonl").exists()


def test_a_ledger_that_only_the_command_names_is_in_the_commands_that_it_says_without_a_password(
    run: Run, server: LocalServer, photos: Path, database_url: str, environment: pytest.MonkeyPatch
) -> None:
    server.inject(Fault("edit", "answer", at="done", status=504))
    scheme, _, rest = database_url.partition("://")
    login, _, where = rest.rpartition("@")
    user, _, password = login.partition(":")
    ran = run("edit-many", str(photos), "-p", "x", *OPTIONS, "--ledger", database_url)
    place = f"{scheme}://{user}@{where}"
    assert f"Details: asyncsdk ledger failed {place}, asyncsdk ledger uncertain {place}\n" in f"{ran.err}\n"
    assert password
    assert password not in ran.err
    environment.setenv("PGPASSWORD", password)
    assert run("ledger", "uncertain", place, "--quiet").out.split() == ["a"]


def test_what_may_be_paid_is_listed_and_released_by_a_person(
    run: Run, server: LocalServer, photos: Path, shared: str
) -> None:
    server.inject(Fault("edit", "answer", at="done", status=504))
    command = ["edit-many", str(photos), "-p", "x", *OPTIONS]
    ran = run(*command)
    assert ran.code == 3
    assert "Details: asyncsdk ledger failed, asyncsdk ledger uncertain" in ran.err
    [name] = run("ledger", "uncertain", "--quiet").out.split()
    ran = run("ledger", "release", name)
    assert (ran.code, server.edits.edits) == (3, 3)
    assert "until then its answer may yet come (--force)" in ran.err
    assert run("ledger", "release", name, "--force").out == f"{name}: the next run sends it again\n"
    assert run(*command).code == 0
    assert server.edits.edits == 4
    assert run("ledger", "uncertain").err == "No edit is uncertain.\n"


def test_what_failed_is_listed_with_the_reason(run: Run, server: LocalServer, photos: Path, shared: str) -> None:
    refusal = {"error": {"message": "no such size", "type": "invalid_request_error", "code": "x"}}
    server.inject(Fault("edit", "answer", status=400, body=refusal))
    assert run("edit-many", str(photos), "-p", "x", *OPTIONS).code == 3
    [line] = run("ledger", "failed").out.splitlines()
    assert "refused: " in line
    assert "no such size" in line


def test_rows_without_an_id_are_refused_before_anything_is_sent(
    run: Run, server: LocalServer, photos: Path, shared: str
) -> None:
    write_jobs({"image": "photos/a.png", "prompt": "x"})
    ran = run("edit-many", "jobs.jsonl", *OPTIONS)
    assert (ran.code, server.edits.edits) == (2, 0)
    assert "line 1 has no id, and a ledger in a database knows an edit by that" in ran.err


def test_an_id_twice_is_refused_before_anything_is_sent_since_copies_begin_anywhere(
    run: Run, server: LocalServer, photos: Path, shared: str
) -> None:
    rows = [
        {"image": "photos/a.png", "prompt": f"p{number}", "id": name} for number, name in enumerate(["a", "b", "A"])
    ]
    write_jobs(*rows)
    ran = run("edit-many", "jobs.jsonl", *OPTIONS)
    assert (ran.code, server.edits.edits) == (2, 0)
    assert "error: line 3 has the id 'A', which line 1 has too. Give each its own id" in ran.err


@pytest.mark.usefixtures("shared", "photos")
@pytest.mark.parametrize("page", [1, 500])
def test_an_id_whose_pictures_would_have_the_names_of_another_edit_is_refused_alone(
    run: Run, server: LocalServer, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.images.bulk.shared_intake.PAGE", page)  # a run may begin with any
    rows = [
        {"image": "photos/a.png", "prompt": "x", "id": "a.1"},
        {"image": "photos/b.png", "prompt": "x", "id": "a", "n": 2},
        {"image": "photos/b.png", "prompt": "x", "id": "../b"},
        {"image": "photos/b.png", "prompt": "x", "id": "c"},
    ]
    write_jobs(*rows)
    for done in ("2 done, 2 refused", "2 done before"):
        ran = run("edit-many", "jobs.jsonl", *OPTIONS)
        assert (ran.code, server.edits.edits) == (3, 2)
        assert done in ran.err
        assert "line 2 has the id 'a', which line 1 has too" in ran.err
        assert "a: refused" in ran.err
        assert "../b: refused" in ran.err
    planned = run("edit-many", "jobs.jsonl", *OPTIONS, "--dry-run")
    assert "2 done before" in planned.err + planned.out


def test_an_id_twice_is_refused_also_where_the_first_can_not_be_sent(
    run: Run, server: LocalServer, photos: Path, shared: str
) -> None:
    rows = [
        {"image": "photos/a.png", "prompt": "x", "id": "a.1"},
        {"image": "photos/b.png", "prompt": "x", "id": "a", "n": 2},
        {"image": "photos/c.png", "prompt": "x", "id": "a"},
    ]
    write_jobs(*rows)
    ran = run("edit-many", "jobs.jsonl", *OPTIONS)
    assert (ran.code, server.edits.edits) == (2, 0)
    assert "error: line 3 has the id 'a', which line 2 has too. Give each its own id" in ran.err


def test_a_number_of_pictures_that_can_not_be_one_is_refused_with_its_row(
    run: Run, server: LocalServer, photos: Path, shared: str
) -> None:
    rows = [
        {"image": "photos/a.png", "prompt": "x", "id": "a", "n": 100_000},
        {"image": "photos/b.png", "prompt": "x", "id": "a.1000"},
    ]
    write_jobs(*rows)
    ran = run("edit-many", "jobs.jsonl", *OPTIONS)
    assert (ran.code, server.edits.edits) == (3, 1)
    assert "1 done, 1 refused" in ran.err


def test_a_ledger_is_copied_into_a_database_and_sealed(
    run: Run, server: LocalServer, photos: Path, database_url: str
) -> None:
    command = ["edit-many", str(photos), "-p", "x", *OPTIONS]
    write_jobs({"image": "photos/a.png", "prompt": "no id"})
    assert run(*command).code == 0
    assert run("edit-many", "jobs.jsonl", *OPTIONS).code == 0
    ran = run("ledger", "copy", "out/.asyncsdk", database_url)
    assert (ran.code, ran.out.startswith("4 edits copied to postgresql://127.0.0.1")) == (0, True)
    assert "1 have a number for an id" in ran.err
    again = run("ledger", "copy", "out/.asyncsdk", database_url, "--json")
    assert (again.code, again.records[0]["is_new"]) == (0, False)
    assert database_url not in ran.out + again.out  # it has a password
    sealed = run(*command)
    assert (sealed.code, "was moved to postgresql://127.0.0.1" in sealed.err) == (2, True)
    ran = run(*command, "--ledger", database_url)
    assert (ran.code, "3 done before." in ran.err, server.edits.edits) == (0, True, 4)


@pytest.fixture
def other(postgres_server: PostgresServer, own_database: str) -> str:
    return postgres_server.url(own_database)


def test_a_ledger_that_was_moved_says_where_it_is(
    run: Run, server: LocalServer, photos: Path, shared: str, other: str
) -> None:
    run("edit-many", str(photos), "-p", "x", *OPTIONS)
    assert run("ledger", "copy", shared, other).code == 0
    assert f"/{other.rpartition('/')[2]}: no run sends from here" in run("ledger", "show").out
    assert run("ledger", "show", "--ledger", other).out.startswith("done: 3\nsent so far: 3 edits, ")
    for words in (["accept"], ["release", "--all"]):
        ran = run("ledger", *words)
        assert (ran.code, "was moved to postgresql://" in ran.err) == (2, True)


def test_a_ledger_is_copied_from_one_that_is_there_and_into_a_database_only(
    run: Run, photos: Path, database_url: str
) -> None:
    assert "FROM nowhere: no ledger is there" in run("ledger", "copy", "nowhere", database_url).err
    assert "a ledger is copied into a database" in run("ledger", "copy", database_url, "out").err
    ran = run("ledger", "copy", database_url, database_url)
    assert (ran.code, "no ledger is there" in ran.err) == (2, True)


def test_what_a_url_of_a_ledger_can_be_is_said_without_what_a_journal_can(run: Run) -> None:
    ran = run("ledger", "show", "--ledger", "mysql://me:secret@db/edits")
    assert (ran.code, "It is a directory or postgresql://" in ran.err) == (2, True)
    assert "memory" not in ran.err
    assert "secret" not in ran.err


def test_a_password_is_in_no_message(
    run: Run, server: LocalServer, photos: Path, database: str, postgres_server: PostgresServer
) -> None:
    url = postgres_server.url(database, password=CANARY)
    for command in (["edit-many", str(photos), "-p", "x", *OPTIONS], ["ledger", "show"]):
        ran = run(*command, "--ledger", url)
        assert ran.code == 2
        assert "refuses the user or the password" in ran.err
        assert CANARY not in ran.err + ran.out
    assert server.edits.edits == 0


def test_a_ledger_in_a_directory_is_shown_too(run: Run, server: LocalServer, photos: Path) -> None:
    run("edit-many", str(photos), "-p", "x", *OPTIONS)
    assert run("ledger", "show", "--ledger", "out/.asyncsdk").out.startswith("done: 3\n")
    assert len(run("ledger", "export", "--ledger", "out/.asyncsdk").out.splitlines()) == 3
    assert run("ledger", "show", "--ledger", Path("out/.asyncsdk").resolve().as_uri()).out.startswith("done: 3\n")
    assert "s3://b/out is a URL. Give a path." in run("ledger", "show", "--ledger", "s3://b/out").err
    ran = run("ledger", "accept", "--ledger", "out/.asyncsdk")
    assert (ran.code, "this is for a ledger in a database" in ran.err) == (2, True)
    assert run("ledger", "show", "--ledger", "nowhere").code == 2
    assert run("ledger", "show").code == 2


def test_the_schema_is_printed_for_users_who_may_not_create_it(run: Run) -> None:
    out = run("ledger", "schema").out
    assert "create table asyncsdk.edit (" in out
    assert "grant select" in out


@pytest.mark.parametrize("words", [[], ["a", "--all"]])
def test_a_release_needs_ids_or_all(run: Run, shared: str, words: list[str]) -> None:
    assert run("ledger", "release", *words).code == 2


def test_a_pool_is_named_and_needs_the_shared_ledger(run: Run, server: LocalServer, photos: Path, shared: str) -> None:
    command = ["edit-many", str(photos), "-p", "x", *OPTIONS]
    ran = run(*command, "--rate-pool", "shop", "--ledger", "here")
    assert ran.code == 2
    assert "--rate-pool shop needs a ledger in a database (--ledger postgresql://…)" in ran.err
    assert server.calls.get("edit", 0) == 0
    assert run(*command, "--rate-pool", "shop", "--images-per-minute", "900").code == 0
    assert server.edits.edits == 3
    ran = run(*command, "--rate-pool", f"sk-{CANARY}")
    assert ran.code == 2
    assert CANARY not in ran.err


def test_a_ledger_is_named_by_its_place_alone_as_the_examples_do(run: Run, server: LocalServer, photos: Path) -> None:
    run("edit-many", str(photos), "-p", "x", *OPTIONS)
    ours = [
        words for words in map(shlex.split, chain(*EXAMPLES.values())) if words[1:2] == ["ledger"] and "out/" in words
    ]
    assert {words[2] for words in ours} == {"show", "failed", "uncertain", "export", "copy"}
    for words in ours:
        if words[2] != "copy":
            assert run(*words[1:]).code == 0
    assert run("ledger", "show", "out").out == run("ledger", "show", "out/.asyncsdk").out
    both = run("ledger", "show", f"postgresql://u:{CANARY}@h/edits", "--ledger", "out")
    assert (both.code, "both name a ledger. Give one of them." in both.err, CANARY in both.err) == (2, True, False)


def test_a_folder_of_pictures_that_is_called_ledger_is_not_taken_for_the_ledger(
    run: Run, server: LocalServer, photos: Path
) -> None:
    photos.rename("ledger")
    Path("photos").mkdir()
    Path("ledger").rename("photos/ledger")
    run("edit-many", "photos", "-p", "x", *OPTIONS)
    assert Path("out/ledger/a.png").exists()
    for place in ("out", "out/.asyncsdk"):
        assert run("ledger", "show", place).out.startswith("done: 3\n")


def test_a_ledger_in_a_database_is_named_by_its_place_alone(
    run: Run, server: LocalServer, photos: Path, database_url: str
) -> None:
    run("edit-many", str(photos), "-p", "x", *OPTIONS, "--ledger", database_url)
    assert run("ledger", "show", database_url).out.startswith("done: 3\n")
    assert len(run("ledger", "export", database_url).out.splitlines()) == 3
    assert run("ledger", "accept", database_url).code == 0


def test_a_list_without_edits_says_where_those_are_that_were_refused_before_they_were_sent(
    run: Run, server: LocalServer, photos: Path
) -> None:
    write_jobs(*({"image": str(photos / "a.png"), "prompt": name, "id": name} for name in ("../x", "y")))
    assert run("edit-many", "jobs.jsonl", *OPTIONS).code == 3
    assert '"../x"' in Path("out/failed.jsonl").read_text()
    where = "What was refused before it was sent is not in the ledger, but in failed.jsonl."
    assert run("ledger", "failed", "out").err == f"No edit is failed or refused. {where}\n"
    assert "lists it in failed.jsonl" in " ".join(run("ledger", "failed", "--help").out.split())


def test_while_a_run_edits_there_its_edits_in_flight_are_explained(
    run: Run, start: Start, server: LocalServer, photos: Path
) -> None:
    server.inject(Fault("edit", "stall", "before", every=1, seconds=30))
    command = ["edit-many", str(photos), "-p", "x", *OPTIONS]
    running = start(*command)
    while not server.calls.get("edit"):
        time.sleep(0.05)
    listed, shown, planned = run("ledger", "uncertain", "out"), run("ledger", "show", "out"), run(*command, "--dry-run")
    for each in (listed, shown, planned):
        assert f"note: process {running.pid} on " in each.err
        assert "is editing there right now: what it has in flight counts as uncertain for now.\n" in each.err
    assert listed.out == "a: uncertain\n"
    assert f"at work: process {running.pid} on " in shown.out
    running.kill()
    running.wait()
    assert "editing there" not in run("ledger", "uncertain", "out").err
