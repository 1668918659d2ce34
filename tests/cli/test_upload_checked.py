"""`asyncsdk upload` looks at .jsonl for fine-tune and batch before it sends a byte."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.cli.support import MakeFile, Run

Calls = Callable[[], int]
MIB = 1 << 20


def lines(count: int, *, again: int | None = None) -> list[str]:
    """Requests of a batch; the last one may have an id `again`."""
    ids = [*range(1, count), again or count]
    return [json.dumps({"custom_id": f"r-{n}", "method": "POST", "url": "/v1/responses", "body": {}}) for n in ids]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str | bytes, name: str = "b.jsonl") -> Path:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("purpose", "content", "said"),
    [
        ("batch", "\ufeff" + lines(1)[0], "line 1: it begins with a byte order mark (BOM): save the file as UTF-8"),
        ("batch", "\n\n".join(lines(2)), "line 2: it is blank"),
        ("batch", "\n".join(lines(2))[:-1], "line 2: it is not JSON: expecting ',' delimiter at column "),
        ("batch", '{"custom_id": "a", "params": {}}', "line 1: method and url and body are missing"),
        ("fine-tune", '[\n{"messages": []}\n]\n', "line 1: it is not JSON: expecting value at column 2"),
        ("fine-tune", '{"messages": []}\n"text"\n', "line 2: it is a string, not an object"),
    ],
)
def test_what_the_api_would_refuse_later_is_refused_before_anything_is_sent(  # noqa: PLR0917 - three are a row
    run: Run, calls: Calls, write: MakeFile, purpose: str, content: str, said: str
) -> None:
    write(content)
    ran = run("upload", "b.jsonl", "--purpose", purpose, "--json")
    assert (ran.code, calls()) == (2, 0)
    takes = "a batch" if purpose == "batch" else "fine-tuning"
    first, second, *_, last = ran.err.splitlines()
    assert first == f"error: b.jsonl is not a file that {takes} takes:"
    assert second.startswith(f"  {said}")
    assert last == "  Correct it, or send it as it is with --check none. Nothing was sent."
    assert ran.records[0]["error"]["type"] == "SourceError"
    assert run("upload", "b.jsonl", "--purpose", purpose, "--check", "none").code == 0


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_windows_line_ends_and_a_last_line_without_one_are_taken(run: Run, write: MakeFile, end: str) -> None:
    write("\r\n".join(lines(3)) + end)
    assert run("upload", "b.jsonl", "--purpose", "batch").code == 0


def test_an_id_that_comes_again_in_line_40_001_is_found_where_all_is_looked_at(
    run: Run, calls: Calls, write: MakeFile
) -> None:
    write("\n".join([*lines(40_001, again=18), lines(40_002)[-1]]))
    ran = run("upload", "b.jsonl", "--purpose", "batch", "--check", "full")
    assert (ran.code, calls()) == (2, 0)
    assert "\n  line 40,001: custom_id 'r-18' is in line 18 too: each line needs an id of its own\n" in ran.err
    assert run("upload", "b.jsonl", "--purpose", "batch", "--check", "ends").code == 0


def test_a_batch_of_50_001_lines_is_refused_where_all_is_looked_at(run: Run, calls: Calls, write: MakeFile) -> None:
    write("\n".join(lines(50_001)))
    ran = run("upload", "b.jsonl", "--purpose", "batch", "--check", "full")
    assert (ran.code, calls()) == (2, 0)
    assert "\n  line 50,001: a batch may have 50,000 lines: cut the file with --split\n" in ran.err


def test_a_batch_that_is_too_large_is_refused_without_being_read(run: Run, calls: Calls, tmp_path: Path) -> None:
    with (tmp_path / "b.jsonl").open("wb") as file:
        file.write("\n".join(lines(9000)).encode() + b"\n")
        file.truncate(200 * MIB + 1)
    ran = run("upload", "b.jsonl", "--purpose", "batch")
    assert (ran.code, calls()) == (2, 0)
    assert "\n  it has 209,715,201 bytes, and a batch may have 209,715,200: cut it with --split\n" in ran.err


@pytest.mark.parametrize(
    "arguments", [("b.txt", "-p", "batch"), ("b.jsonl", "-p", "assistants"), ("b.jsonl", "-p", "evals")]
)
def test_other_names_and_purposes_are_not_looked_at(run: Run, write: MakeFile, arguments: tuple[str, ...]) -> None:
    write(b"\xff", arguments[0])
    assert run("upload", *arguments).code == 0


def test_the_name_on_the_server_counts(run: Run, write: MakeFile) -> None:
    write(b"\xff", "b.txt")
    assert run("upload", "b.txt", "-p", "batch", "--filename", "B.JSONL").code == 2
    write(b"\xff", "c.jsonl")
    assert run("upload", "c.jsonl", "-p", "batch", "--filename", "c.txt").code == 0


def test_of_a_directory_a_bad_file_is_left_out_with_its_lines_and_the_others_go_up(
    run: Run, server: LocalServer, write: MakeFile
) -> None:
    write("\n".join(lines(2)), "data/good.jsonl")
    write("\n".join([*lines(2), ""] * 2), "data/bad.jsonl")
    ran = run("upload", "data", "-p", "batch")
    assert (ran.code, [file.filename for file in server.files]) == (3, ["good.jsonl"])
    assert ran.err.splitlines()[:-1] == [
        "error: data/bad.jsonl is not a file that a batch takes:",
        "  line 3: it is blank",
        "  line 4: custom_id 'r-1' is in line 1 too: each line needs an id of its own",
        "  line 5: custom_id 'r-2' is in line 2 too: each line needs an id of its own",
        "  Correct it, or send it as it is with --check none. It was left out, and nothing was sent for it.",
    ]
