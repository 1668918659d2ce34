"""`edit-many` where the server refuses every edit, or the key: what is said, once, and that the next run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk.cli.edits import report
from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.faults import Route
from tests.cli.support import Run
from tests.stories.pictures import photo

PHOTOS = ("edit-many", "photos", "--prompt", "x", "--model", "gpt-image-2", "--out", "out", "--concurrency", "3")
NO_SUCH_ROUTE = {"error": {"message": "Invalid URL (POST /v2/images/edits)", "type": "invalid_request_error"}}
REFUSED = {"error": {"message": "no such model here", "type": "x", "param": "model", "code": "invalid_value"}}


@pytest.fixture(autouse=True)
def photos() -> None:
    Path("photos").mkdir()
    for seed in range(30):
        photo(Path("photos", f"p{seed:02}.png"), (16, 16), seed=seed)


def test_an_option_that_the_server_refuses_is_not_tried_on_each_picture(run: Run, server: LocalServer) -> None:
    ran = run(*PHOTOS, "--quality", "best")
    sent = server.calls["edit"]
    assert (ran.code, 10 <= sent < 13, server.edits.edits) == (1, True, 0)
    said = ran.err[ran.err.index(f"{sent} refused ({sent} by the server).") :].splitlines()
    assert said[1] == f"  {30 - sent} not sent: see the error below."
    assert said[2].startswith("error: 10 edits in a row were refused in the same way, and none was done between: POST ")
    assert "Invalid value for 'quality': 'best' is not one of" in said[2]
    assert said[3] == (
        "  Nothing was paid for them, and nothing more was sent. With another `quality` all of them are sent. If the "
        "server takes this one later, the same command goes on with the others, and with --only refused it sends "
        "these again."
    )


def test_what_earlier_runs_were_refused_is_told_from_what_this_one_is(run: Run, server: LocalServer) -> None:
    assert run(*PHOTOS[:-1], 1, "--quality", "best").code == 1
    again = run(*PHOTOS[:-1], 1, "--quality", "best", "--json")
    assert (again.code, server.calls["edit"]) == (1, 20)
    assert (
        "10 refused (10 by the server), 10 refused before. Details: out/failed.jsonl\n  10 not sent: see" in again.err
    )
    assert {record["id"] for record in again.records if record.get("earlier")} == {f"p{each:02}" for each in range(10)}
    assert again.err.count(": refused before: POST ") == again.err.count(": refused: POST ") == 10


def test_with_another_value_all_are_sent_and_have_their_own_names(run: Run, server: LocalServer) -> None:
    for _ in range(2):
        assert run(*PHOTOS, "--quality", "best").code == 1
    assert Path("out/failed.jsonl").exists()
    ran = run(*PHOTOS, "--quality", "low")
    assert (ran.code, server.edits.edits) == (0, 30)
    assert {path.name for path in Path("out").glob("*.png")} == {f"p{number:02}.png" for number in range(30)}
    assert not Path("out/failed.jsonl").exists()


def test_once_the_account_has_the_model_the_same_command_sends_all(run: Run, server: LocalServer) -> None:
    server.inject(Fault("edit", "answer", status=400, body=REFUSED, every=1, times=99))
    ran = run(*PHOTOS)
    assert ran.code == 1
    assert "Once `model` is another one, or the account has access to it, the same command goes on, with" in ran.err
    assert ran.err.count("the same command") == 1
    server.clear_faults()
    assert (run(*PHOTOS).code, server.edits.edits) == (0, 30)
    assert not Path("out/failed.jsonl").exists()


def test_a_wrong_key_is_said_once_with_what_to_do(run: Run, server: LocalServer) -> None:
    server.inject(Fault("edit", "answer", status=401, every=1, times=9))
    ran = run(*PHOTOS, "--json")
    assert (ran.code, ran.err.count("edits: 401")) == (1, 1)
    assert ran.err.splitlines()[-1] == "  Set the right key in OPENAI_API_KEY (for Azure in AZURE_OPENAI_API_KEY)."
    assert f"{len(ran.records)} failed. Details: out/failed.jsonl" in ran.err
    assert {record["error"]["status_code"] for record in ran.records} == {401}
    assert len(Path("out/failed.jsonl").read_text().splitlines()) == len(ran.records) == server.calls["edit"]


@pytest.mark.parametrize("route", ["files.create", "batches.create"])
def test_a_wrong_key_for_batches_is_said_once(run: Run, server: LocalServer, route: Route) -> None:
    server.inject(Fault(route, "answer", status=401, every=1, times=99))
    ran = run(*PHOTOS[:-2], "--batch", "--json")
    assert (ran.code, ran.err.count("Check the key")) == (1, 1)
    assert {record["error"]["status_code"] for record in ran.records} == {401}
    assert len(Path("out/failed.jsonl").read_text().splitlines()) == len(ran.records)


def test_a_server_that_is_not_there_is_said_once(run: Run, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    ran = run(*PHOTOS)
    assert (ran.code, ran.err.count("can't connect")) == (75, 1)


def test_what_is_not_why_the_run_stopped_is_said_too(run: Run, server: LocalServer) -> None:
    server.inject(Fault("edit", "answer", status=401, nth=1))
    server.inject(Fault("edit", "answer", status=403, nth=2))
    server.inject(Fault("edit", "stall", seconds=0.3, nth=3))
    ran = run(*PHOTOS)
    assert ran.code == 1
    assert (ran.err.count("edits: 401"), ran.err.count("edits: 403")) == (1, 1)
    assert ran.err.count(": failed: ") == 1


def test_a_missing_route_is_said_at_once_where_others_were_done(run: Run, server: LocalServer) -> None:
    server.inject(Fault("edit", "answer", status=404, body=NO_SUCH_ROUTE, nth=7))
    ran = run(*PHOTOS[:-1], 1)
    assert (ran.code, server.edits.edits) == (3, 29)
    assert ran.err.count("p06: failed: POST /images/edits: 404") == 1


def test_what_does_not_end_the_run_is_said_before_the_next(
    run: Run, server: LocalServer, environment: pytest.MonkeyPatch
) -> None:
    said = list[str]()
    environment.setattr(report, "complain", said.append)
    environment.setattr(report.Report, "_show", lambda _, outcome: said.append(outcome.id))
    environment.setattr(report, "ends_run", lambda *_, **__: True)  # as it is of a batch's line that has a 401
    server.inject(Fault("edit", "answer", status=404, body=REFUSED, nth=2))
    assert run(*PHOTOS[:-1], 1).code == 3
    assert said[1].startswith("p01: failed: POST /images/edits: 404")
    assert said[:1] + said[2:] == [f"p{number:02}" for number in range(30) if number != 1]


def test_of_many_that_are_refused_with_the_same_words_ten_have_a_line_and_all_are_recorded(run: Run) -> None:
    unpriced = (*PHOTOS[:4], "--out", "out", "--max-cost", "5")
    for command, code in (((*unpriced, "--dry-run"), 3), (unpriced, 2)):
        ran = run(*command)
        assert ran.code == code
        assert ran.err.count("Give --model, or its row a `model`.") == report.MOST_ALIKE == 10
        assert "20 more ended as p00 did" in ran.err.splitlines()
    assert len(Path("out/failed.jsonl").read_text().splitlines()) == 30
    records = run(*unpriced, "--json").records
    assert [each["status"] for each in records] == ["refused"] * 30


def test_what_is_refused_with_words_of_its_own_has_its_line(run: Run) -> None:
    for seed in range(30):
        Path("photos", f"p{seed:02}.png").write_bytes(b"no picture")
    ran = run(*PHOTOS)
    assert all(f"p{seed:02}: refused: " in ran.err for seed in range(30))
    assert "more ended as" not in ran.err
