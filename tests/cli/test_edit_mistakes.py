"""`asyncsdk edit` and a beginner's mistakes: each message says what to type instead, and what it cost."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

USUAL = ["--prompt", "a red hat", "--model", "gpt-image-2"]
MODERATED = " The same edit would be refused again: change the prompt or the picture."
CREDIT = " Once the account has credit or a higher limit, the same command sends it."
TOO_MANY = " This edit alone is above the limit: use fewer pictures, or a smaller --n."
OWN = {"error": {"message": "no", "type": "invalid_request_error"}}


@pytest.fixture(autouse=True)
def picture(otter: Path) -> Path:
    return otter


def test_a_directory_and_a_job_file_come_with_the_command_that_does_them(
    run: Run, server: LocalServer, tmp_path: Path
) -> None:
    (tmp_path / "my photos").mkdir()
    photo(tmp_path / "my photos" / "a.png", (16, 16))
    ran = run("edit", "my photos", *USUAL, "--size", "1024x1024", "--out", "out", "--json")
    assert (ran.code, server.calls.get("edit", 0), ran.records[0]["status"]) == (2, 0, "refused")
    first, command, last = ran.err.splitlines()
    assert first == "error: my photos is a directory, and `edit` edits one picture. To edit each picture in it:"
    assert last == "  Nothing was sent, nothing was paid."
    assert run(*shlex.split(command)[1:]).code == 0
    assert (tmp_path / "out" / "a.png").exists()
    (tmp_path / "jobs.jsonl").write_text('{"image": "otter.png"}\n')
    ran = run("edit", "jobs.jsonl", *USUAL, "--out", "b.jpg")
    assert ran.err.startswith("error: jobs.jsonl is a job file, and `edit` edits one picture. To run its jobs:\n")
    assert run(*shlex.split(ran.err.splitlines()[1])[1:]).code == 0
    assert (tmp_path / "out" / "1.jpg").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-"], "Standard input can't be read yet; write it to a file first."),
        (["otter.png", "--out", "-"], "--out: a file name is needed, `-` is not taken."),
        (["ftp://me:pw@host/a.png?sig=secret"], "ftp://host/a.png can't be used: the scheme ftp:// is not known"),
        (["otter.png", "--mask", "ftp://host/m.png"], "ftp://host/m.png can't be used"),
        (["otter.png", "--reference", "ftp://host/m.png"], "ftp://host/m.png can't be used"),
        (["s3://bucket/photos/"], "is a directory, and `edit` edits one picture. To edit each picture in it"),
        (["https://host/jobs.csv"], "jobs.csv is a job file, and `edit` edits one picture."),
        (["data:image/png;base64," + "A" * 5000], "data:… is not a file: write what it holds to one"),
        (["file:///nowhere/a.png"], "image: /nowhere/a.png does not exist."),
        (["*.webp"], "*.webp does not exist. In quotes * is not expanded; for several pictures there is edit-many."),
        (["book.xlsx"], "book.xlsx is not a picture: it is a spreadsheet, not a job file: in Excel, save it as"),
        (["otter.png", "--size", "1024*1024"], "--size 1024*1024 is not a size that gpt-image-2 takes: did you mean"),
        (["otter.png", "--size", "1024X512"], "did you mean '1024x512'? Nothing was sent."),
        (["otter.png", "--size", "1024 x 512 px"], "did you mean '1024x512'? Nothing was sent."),
        (["otter.png", "--size", "1024"], "did you mean '1024x1024'? Nothing was sent."),
        (["otter.png", "--size", "large"], "'auto', or a width and a height such as '1024x1536'. Nothing was sent."),
        (["otter.png", "--model", "dall-e-2", "--size", "512"], "did you mean '512x512'?"),
        (["otter.png", "--model", "dall-e-2", "--size", "300x300"], "256x256, 512x512, 1024x1024. Nothing was sent."),
        (["otter.png", "--n", "two"], "Invalid value for --n: 'two' is not a whole number."),
        (["otter.png", "--n", "1.5"], "Invalid value for --n: '1.5' is not a whole number."),
        (["otter.png", "--n", "0"], "--n 0 is not a whole number from 1 to 10."),
    ],
)
def test_a_mistake_is_named_before_anything_is_sent(
    run: Run, server: LocalServer, arguments: list[str], said: str
) -> None:
    usual = [*USUAL[: 2 if "--model" in arguments else 4], *([] if "--out" in arguments else ["--out", "out"])]
    ran = run("edit", *usual, *arguments)
    assert (ran.code, server.calls.get("edit", 0)) == (2, 0)
    assert said in ran.err
    assert "Nothing was sent" in ran.err
    assert "secret" not in ran.err
    assert "pw@" not in ran.err


def test_bad_options_are_named_before_what_is_in_the_way_and_no_directory_is_made(
    run: Run, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    assert "--n 11 is not a whole number" in run("edit", "otter.png", *USUAL, "--n", 11, "--out", ".").err
    environment.delenv("OPENAI_API_KEY")
    assert "no API key" in run("edit", "otter.png", *USUAL, "--out", "otter.png").err
    assert run("edit", "otter.png", *USUAL, "--out", "new").code == 2
    assert {path.name for path in tmp_path.iterdir()} == {"otter.png"}


@pytest.mark.parametrize(
    ("status", "body", "ended"),
    [
        (400, OWN, (1, " The same edit would be refused again: change what the server names.")),
        (400, {"error": {"message": "no", "type": "x", "code": "moderation_blocked"}}, (1, MODERATED)),
        (400, "a proxy's page", (1, "")),
        (401, OWN, (1, " Set the right key in OPENAI_API_KEY (for Azure in AZURE_OPENAI_API_KEY).")),
        (402, OWN, (1, CREDIT)),
        (403, OWN, (1, " Use another key or another --model.")),
        (404, {"error": {"message": "no", "type": "x", "code": "model_not_found"}}, (1, " Choose another --model.")),
        (413, "too large", (1, " Use a smaller picture.")),
        (429, OWN, (75, " The same command tries again.")),
        (429, {"error": {"message": "x Limit 5, Requested 10", "type": "x"}}, (1, TOO_MANY)),
        (429, {"error": {"message": "x", "type": "insufficient_quota"}}, (1, CREDIT)),
        (503, OWN, (75, " The same command tries again.")),
    ],
)
def test_a_refusal_says_that_nothing_was_paid_and_what_to_do(
    run: Run, server: LocalServer, status: int, body: object, ended: tuple[int, str]
) -> None:
    server.inject(Fault("edit", "answer", status=status, body=body, headers={"retry-after-ms": "1"}, times=9))
    ran = run("edit", "otter.png", *USUAL, "--out", "out")
    assert (ran.code, ran.err.splitlines()[-1]) == (ended[0], f"  Nothing was paid.{ended[1]}")


def test_without_a_connection_it_says_what_to_check(run: Run, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    ran = run("edit", "otter.png", *USUAL, "--out", "out", "--json")
    assert ran.err == (
        "error: can't connect to 127.0.0.1:1 (Connection refused). Nothing was sent. Check the base URL, the network, "
        "and the proxy if you use one.\n  Nothing was paid. The same command tries again.\n"
    )
    assert (ran.code, ran.records[0]["error"]["retryable"]) == (75, True)


@pytest.mark.parametrize("status", [200, 401, 404, 429])
def test_what_a_record_calls_retryable_is_what_the_exit_code_says(run: Run, server: LocalServer, status: int) -> None:
    body = "<html>a page</html>" if status == 200 else OWN
    server.inject(Fault("edit", "answer", status=status, body=body, headers={"retry-after-ms": "1"}, times=9))
    ran = run("edit", "otter.png", *USUAL, "--out", "out", "--json")
    assert ran.records[0]["status"] == "failed"
    assert ran.records[0]["error"]["retryable"] is (ran.code == 75)
