"""What is wrong is refused with exit code 2 and a clear word, before anything is sent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.support import MakeFile, Run

Calls = Callable[[], int]


@pytest.fixture(autouse=True)
def good(make_file: MakeFile) -> Path:
    return make_file(1000, "good.jsonl")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--purpose", "batch"], "SOURCE is missing"),
        (["good.jsonl"], "--purpose is missing"),
        (["good.jsonl", "--purpose"], "--purpose needs a value"),
        (["good.jsonl", "--purpose", ""], "error: --purpose must be a non-empty string"),
        (["good.jsonl", "--purpose", "batch", "--expires-after", "5m"], "--expires-after: 5m is out of range: from 1h"),
        (["good.jsonl", "--purpose", "batch", "--stall-timeout", "0"], "--stall-timeout 0: it must be above 0 seconds"),
        (["good.jsonl", "--purpose", "batch", "--max-retries", "-1"], "--max-retries must be a number, 0 or more"),
        (["good.jsonl", "--purpose", "batch", "--proxy", "nonsense://x"], "--proxy, "),
        (["good.jsonl", "--purpose", "batch", "--proxy", "http://u:sk-1@x:1"], "--proxy: all users of this machine"),
        (["good.jsonl", "b.jsonl", "--purpose", "batch", "--key", "c"], "--key is for one file or one directory"),
        (["good.jsonl", "--purpose", "batch", "--nope"], "Unknown option: --nope"),
        (["good.jsonl", "--purpose", "batch", "--part-siz", "1"], "Did you mean --part-size?"),
        (
            ["good.jsonl", "--purpose", "batch", "--part-size", "0"],
            "--part-size: 0 is out of range: from 1 byte to 64MiB",
        ),
        (["good.jsonl", "--purpose", "batch", "--part-size", "65MiB"], "65MiB is out of range: from 1 byte to 64MiB"),
        (["good.jsonl", "--purpose", "batch", "--part-size", "abc"], "16MiB"),
        (["good.jsonl", "--purpose", "batch", "--part-size", "-1"], "Nothing was sent"),
        (["good.jsonl", "--purpose", "batch", "--limit-rate", "fast"], "not a rate"),
        (
            ["good.jsonl", "--purpose", "batch", "--limit-rate", "0"],
            "--limit-rate 0: it must be a number of bytes a second above 0. Not",
        ),
        (
            ["good.jsonl", "--purpose", "batch", "--concurrency", "0"],
            "--concurrency 0: it must be an integer from 1 to 256. Not",
        ),
        (["good.jsonl", "--purpose", "batch", "--concurrency", "-1"], "an integer from 1 to 256"),
        (
            ["good.jsonl", "--purpose", "batch", "-c", "many"],
            "Invalid value for -c: 'many' is neither a whole number nor auto. Nothing",
        ),
        (["good.jsonl", "--purpose", "batch", "--expires-after", "soon"], "30d"),
        (
            ["good.jsonl", "--purpose", "batch", "--expires-after", "31d"],
            "--expires-after: 31d is out of range: from 1h to 30d.",
        ),
        (["good.jsonl", "--purpose", "batch", "--md5", "rot13"], '"hex", "base64", "off"'),
        (["good.jsonl", "--purpose", "batch", "--on-busy", "cry"], '"wait", "fail"'),
        (["good.jsonl", "--purpose", "batch", "--progress", "loud"], '"lines"'),
        (["good.jsonl", "--purpose", "batch", "--json", "--quiet"], "choose one"),
        (["good.jsonl", "b.jsonl", "--purpose", "batch", "--filename", "c"], "--filename is for one file, but 2"),
        (["good.jsonl", "--purpose", "batch", "--base-url", "nonsense"], "is not an http(s) URL"),
        (["good.jsonl", "--purpose", "batch", "--base-url", "ftp://x/v1"], "is not an http(s) URL"),
        (
            ["good.jsonl", "--purpose", "batch", "--base-url", "http://u:p@x/v1"],
            "must contain no user name or password",
        ),
        (["good.jsonl", "--purpose", "batch", "--auth", "basic"], '"bearer", "api-key"'),
        (["good.jsonl", "--purpose", "batch", "--query", "novalue"], "NAME=VALUE"),
        (["good.jsonl", "--purpose", "batch", "--header", "novalue"], "NAME:VALUE"),
        (["good.jsonl", "--purpose", "batch", "--header", "a b: c"], "is not a header name"),
        (["good.jsonl", "--purpose", "batch", "--header", "Authorization: Bearer sk-1"], "Set OPENAI_API_KEY"),
        (["good.jsonl", "--purpose", "batch", "--header", "Api-Key: sk-1"], "all users of this machine can see"),
        (["good.jsonl", "--purpose", "batch", "--ca-file", "missing.pem"], "missing.pem"),
        (["good.jsonl", "--purpose", "batch", "--ca-file", "good.jsonl"], "no certificates in good.jsonl"),
    ],
)
def test_an_upload_with_a_bad_option_is_refused(run: Run, calls: Calls, arguments: list[str], said: str) -> None:
    ran = run("upload", *arguments)
    assert (ran.code, ran.out, calls()) == (2, "", 0)
    assert said in ran.err
    assert ran.err.startswith("error: ")
    assert "Traceback" not in ran.err
    assert "sk-1" not in ran.err


@pytest.mark.parametrize("kind", ["nothing", "directory", "pipe", "empty file", "device", "name with a NUL"])
def test_a_file_that_cant_be_sent_is_refused(run: Run, calls: Calls, tmp_path: Path, kind: str) -> None:
    bad = tmp_path / "bad"
    if kind == "directory":
        bad.mkdir()
    elif kind == "pipe":
        os.mkfifo(bad)
    elif kind == "empty file":
        bad.touch()
    name = {"device": "/dev/null", "name with a NUL": "bad\0name"}.get(kind, str(bad))
    ran = run("upload", name, "--purpose", "batch")
    assert (ran.code, ran.out, calls()) == (2, "", 0)
    assert ran.err.startswith("error: ")
    assert "Nothing was sent." in ran.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(run: Run, calls: Calls, good: Path) -> None:
    good.chmod(0)
    ran = run("upload", good, "--purpose", "batch")
    assert (ran.code, ran.out, calls()) == (2, "", 0)
    assert "Permission denied" in ran.err


def test_one_bad_file_among_good_ones_and_none_is_sent(run: Run, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    ran = run("upload", "good.jsonl", "missing", "empty", "--purpose", "batch", "--json")
    assert (ran.code, calls()) == (2, 0)
    assert len(ran.err.splitlines()) == 2
    assert "missing" in ran.err
    assert "empty" in ran.err
    told = {record["source"]: record["error"]["type"] for record in ran.records}
    assert told == {"good.jsonl": "NotSent", "missing": "SourceError", "empty": "SourceError"}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OPENAI_API_KEY": ""}, "set OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "sk-se\ncret"}, "line break"),
        ({"OPENAI_API_KEY": "sk-sécret"}, "another character that no key has"),
        ({"OPENAI_BASE_URL": "localhost:8787"}, "is not an http(s) URL"),
        ({"OPENAI_API_KEY": "", "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}, "set AZURE_OPENAI_API_KEY"),
    ],
)
def test_a_bad_environment_is_refused_and_no_key_is_shown(
    run: Run, calls: Calls, environment: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    ran = run("upload", "good.jsonl", "--purpose", "batch")
    assert (ran.code, ran.out, calls()) == (2, "", 0)
    assert said in ran.err
    assert "cret" not in ran.err


def test_a_journal_that_cant_be_made_is_refused_with_both_ways_out(
    run: Run, calls: Calls, environment: pytest.MonkeyPatch, good: Path
) -> None:
    environment.setenv("ASYNCSDK_JOURNAL", str(good / "journal"))
    ran = run("upload", "good.jsonl", "--purpose", "batch")
    assert (ran.code, ran.out, calls()) == (2, "", 0)
    assert "can't create the journal" in ran.err
    assert "Name a directory that can be written (--journal, ASYNCSDK_JOURNAL), or memory to go without." in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "See it work; that needs no account:\n  asyncsdk demo\n"),
        (["uploads"], "resume"),
        (["files"], "content"),
    ],
)
def test_without_a_command_the_commands_are_listed_and_nothing_is_done(
    run: Run, arguments: list[str], said: str
) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert said in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["uplod"], 'Did you mean "upload"?'),
        (["uploads", "lst"], 'Did you mean "list"?'),
        (["uploads", "resume", "--from", "x", "--all"], "exclude each other"),
        (["uploads", "show", "upload_x"], "the journal has no upload 'upload_x'"),
        (["uploads", "cancel", "upload_x"], "the journal has no upload 'upload_x'"),
        (["uploads", "resume", "upload_x"], "the journal has no upload 'upload_x'"),
        (["uploads", "resume", "upload_x", "--all"], "exclude each other"),
        (["files", "list", "--limit", "0"], "--limit 0"),
        (["files", "content", "file-x", "--json"], "need --out"),
        (["serve", "--upload-ttl", "never"], "30d"),
        (["serve", "--faults", "missing.json"], "missing.json: No such file"),
        (["serve", "--faults", "good.jsonl"], "--faults good.jsonl"),
        (["demo", "missing.bin"], "missing.bin is not a file"),
        (["demo", "good.jsonl"], "too small to be stopped half-way"),
    ],
)
def test_other_commands_refuse_too(run: Run, calls: Calls, arguments: list[str], said: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out, calls()) == (2, "", 0)
    assert said in ran.err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "my files",
            "my files contains no file to send. Nothing was sent.",
        ),
        ("sftp://host/a.jsonl?sig=secret", "sftp://host/a.jsonl can't be used: the scheme sftp:// is not known. Known"),
        ("s3://bucket/a.jsonl?secret", "s3://bucket/a.jsonl can't be used: a ? ends its path. Write %3F"),
    ],
)
def test_what_is_no_file_comes_with_what_to_type_instead(
    run: Run, calls: Calls, tmp_path: Path, source: str, said: str
) -> None:
    (tmp_path / "my files").mkdir()
    ran = run("upload", source, "--purpose", "batch")
    assert (ran.code, ran.out, calls()) == (2, "", 0)
    assert ran.err.startswith(f"error: {said}")
    assert "secret" not in ran.err


def test_of_standard_input_and_urls_edit_many_says_the_same(run: Run, calls: Calls) -> None:
    for source, said in (("-", "Standard input can't be read yet"), ("data:,x", "data:… is not a file")):
        ran = run("edit-many", source, "--prompt", "x", "--out", "out")
        assert (ran.code, calls()) == (2, 0)
        assert said in ran.err


def test_a_fraction_is_not_rounded_where_a_whole_number_is_meant(run: Run, calls: Calls) -> None:
    for name in ("--concurrency", "--part-size"):
        assert "Nothing was sent" in run("upload", "good.jsonl", "--purpose", "batch", name, "1.5x").err
    ran = run("upload", "good.jsonl", "--purpose", "batch", "--concurrency", "1.5")
    assert (ran.code, calls()) == (2, 0)
    assert "Invalid value for --concurrency: '1.5' is neither a whole number nor auto." in ran.err


def test_a_word_too_much_is_named(run: Run, calls: Calls) -> None:
    ran = run("files", "show", "file-1", "file-2")
    assert (ran.code, calls()) == (2, 0)
    assert ran.err.startswith("error: 'file-2' is too much: what is before it is all that the command takes.")
