"""The frame of the command line: help pages and their examples, topics, short options, other names, and guesses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.cli import help as pages
from asyncsdk.cli import usage
from asyncsdk.cli.app import make_app
from tests.cli.support import Run


def commands(chain: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command and group of commands, as it is typed: `uploads list`."""
    yield " ".join(chain)
    app = make_app().parse_commands(list(chain))[1][-1]
    for name in app:
        if not name.startswith("-"):
            yield from commands((*chain, name))


ALL = list(commands())
EXAMPLES = [(command, example) for command, examples in pages.EXAMPLES.items() for example in examples]


def parsed(line: str) -> dict[str, Any]:
    """The arguments that a command line gives."""
    _, bound, _ = make_app().parse_args(pages.canonical(shlex.split(line)[1:]), exit_on_error=False, print_error=False)
    return dict(bound.arguments)


def test_these_are_all_commands() -> None:
    assert {"", "upload", "uploads list", "files content", "edit-many", "serve", "demo"} <= set(ALL)
    assert set(pages.EXAMPLES) == set(ALL)


@pytest.mark.parametrize("command", ALL)
def test_each_help_page_ends_with_examples_and_one_line_on_exit_codes(run: Run, command: str) -> None:
    page = run(*command.split(), "--help")
    examples = pages.EXAMPLES[command]
    assert page.code == 0
    assert 1 <= len(examples) <= 3
    assert page.out.endswith("".join(f"  {example}\n" for example in examples) + f"\n{pages.MORE}\n")
    assert page.out.lower().count("exit codes") == 1


@pytest.mark.parametrize(("command", "example"), EXAMPLES)
def test_each_example_is_a_command_line_that_is_taken(command: str, example: str) -> None:
    assert example.startswith(f"asyncsdk {command}".rstrip())
    assert len(f"  {example}") <= 80
    parsed(example)


def test_what_the_first_page_shows_is_taken_too(run: Run) -> None:
    ran = run()
    assert ran.code == 2
    shown = [line.strip() for line in ran.out.splitlines() if line.startswith("  asyncsdk")]
    assert len(shown) == 3
    for line in shown:
        parsed(line)
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize(("topic", "content"), [("exit-codes", "75   failed for now"), ("environment", "NO_PROXY")])
def test_a_topic_has_a_page_and_the_help_of_the_program_names_it(run: Run, topic: str, content: str) -> None:
    page = run("help", topic)
    assert page.code == 0
    assert content in page.out
    assert f"asyncsdk help {topic}" in run("help").out


def test_help_with_a_command_is_the_help_of_the_command(run: Run) -> None:
    assert run("help", "upload").out == run("upload", "--help").out
    assert run("help", "uploads", "resume").out == run("uploads", "resume", "-h").out
    assert run("help").out == run("--help").out
    assert run("help").code == 0


@pytest.mark.parametrize("name", ["exit_codes", "exitcodes", "exit-code", "enviroment"])
def test_a_topic_that_is_nearly_named_is_shown(run: Run, name: str) -> None:
    assert run("help", name).out.startswith(("Exit codes\n", "Environment\n"))


def test_help_with_neither_a_command_nor_a_topic_is_refused(run: Run) -> None:
    ran = run("help", "uplod")
    assert (ran.code, ran.out) == (2, "")
    assert 'Did you mean "upload"?' in ran.err


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("topic", pages.TOPICS.values(), ids=list(pages.TOPICS))
def test_a_topic_fits_its_terminal_and_breaks_no_word(topic: str, width: int) -> None:
    shown = pages.fitted(topic, width)
    assert shown.split() == topic.split()
    assert all(len(line) <= width for line in shown.splitlines())


def test_what_is_too_long_for_its_column_goes_on_in_it() -> None:
    shown = pages.fitted(pages.TOPICS["environment"], 60)
    assert f"\n{' ' * 26}command line\n" in shown


def test_the_topic_and_the_page_of_settings_have_the_same_variables() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    rows = page[page.index("| | argument | environment |") : page.index("`Client(on_event=…)`")].splitlines()
    named = re.findall(r"[A-Z]+_[A-Z_]+…?", " ".join(row.split("|")[-2] for row in rows if row))
    assert sorted(set(named)) == sorted(set(re.findall(r"\b[A-Z]+_[A-Z_]+…?", pages.TOPICS["environment"])) - OF_OTHERS)


OF_OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"}  # of obstore, as examples

SHORT = """
upload t.jsonl -p batch -c 4 -q | upload t.jsonl --purpose batch --concurrency 4 --quiet
upload t.jsonl -p batch -v | upload t.jsonl --purpose batch --verbose
uploads resume -c 3 | uploads resume --concurrency 3
edit a.png -p hat -o out -n 2 -m gpt-image-2 | edit a.png --prompt hat --out out --n 2 --model gpt-image-2
edit-many a/ -p hat -o out -c 2 -n 2 -m m | edit-many a/ --prompt hat --out out --concurrency 2 --n 2 --model m
files list -p batch | files list --purpose batch
files content file-1 -o x | files content file-1 --out x
"""


@pytest.mark.parametrize("line", SHORT.strip().splitlines())
def test_what_is_often_typed_has_a_short_option(line: str) -> None:
    short, long = line.split(" | ")
    assert parsed(f"asyncsdk {short}") == parsed(f"asyncsdk {long}")


def test_short_options_are_in_help_and_n_never_means_a_dry_run(run: Run) -> None:
    told = run("edit-many", "--help").out
    assert [
        name for name in ("--prompt -p", "--out -o", "--concurrency -c", "--model -m", "--n -n") if name not in told
    ] == []
    ran = run("edit-many", "photos/", "-o", "out", "-n", "-p", "hat")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: -n needs a value.")


def test_commands_have_the_names_that_people_type_and_help_shows_one_of_them(run: Run) -> None:
    others = {other: f"{other.split()[0]} {name}" for other, name in pages.OTHER_NAMES.items()}
    assert others.keys() == {"files download", "files get", "files ls", "files rm", "uploads ls"}
    for other, command in others.items():
        assert run(*other.split(), "--help").out == run(*command.split(), "--help").out
        assert f" {other.split()[1]} " not in run(other.split()[0], "--help").out
    assert run("uploads", "ls").code == 0
    assert run("upload", "ls").code == 2  # a FILE of that name


@pytest.mark.parametrize("name", ["editmany", "edit_many"])
def test_a_command_that_is_nearly_named_is_suggested(run: Run, name: str) -> None:
    assert 'Did you mean "edit-many"?' in run(name, "photos/").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--wrong"], "Unknown option: --wrong. Nothing was sent."),
        (["--part-siz=3"], "Unknown option: --part-siz. Did you mean --part-size? Nothing was sent."),
        (["--pupose", "x"], "Did you mean --purpose?"),
        (["--dry-run"], "Unknown option: --dry-run. It is an option of files prune and edit-many. Nothing was sent."),
        (["--mask", "x"], "It is an option of edit and edit-many."),
        (["-x"], "Unknown option: -x. Nothing was sent."),
        (["-x.bin"], "Unknown option: -x.bin. The file of that name is ./-x.bin. Nothing was sent."),
    ],
)
def test_of_an_unknown_option_only_what_is_near_is_suggested(
    run: Run, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "-x.bin").write_bytes(b"x")
    ran = run("upload", "a.bin", "-p", "batch", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.endswith("\n  See: asyncsdk upload --help\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt", "-big"], "--prompt needs a value. If '-big' is the value, write --prompt=-big. Nothing"),
        (["-p", "--a big hat"], "-p needs a value. If '--a big hat' is the value, write -p='--a big hat'. Nothing"),
        (["-p"], "-p needs a value. Nothing was sent."),
        ([], "--prompt is missing. Nothing was sent."),
    ],
)
def test_a_value_that_looks_like_an_option_is_refused_with_how_to_write_it(
    run: Run, arguments: list[str], said: str
) -> None:
    ran = run("edit", "a.png", "-o", "out", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_a_value_is_taken_as_it_is_then_written() -> None:
    for written in ("--prompt=-big", "-p='--a big hat'"):
        assert parsed(f"asyncsdk edit a.png -o out {written}")["prompt"] == shlex.split(written)[0].partition("=")[2]


def test_what_excludes_each_other_names_the_help_of_its_command(run: Run) -> None:
    assert run("uploads", "list", "--json", "--quiet").err == (
        "error: --json and --quiet exclude each other; choose one. Nothing was sent.\n"
        "  See: asyncsdk uploads list --help\n"
    )


@pytest.mark.parametrize(
    ("message", "words", "said"),
    [
        ("limit_rate must be above 0, not 0. No.", "--limit-rate 0kB", "--limit-rate 0kB: it must be above 0. No."),
        ("the part size must be small, not 9. No.", "--part-size=9B", "--part-size 9B: it must be small. No."),
        ("concurrency must be 1, not 0. No.", "x -c 0", "--concurrency 0: it must be 1. No."),
        ("concurrency must be 1, not 0. No.", "x", "concurrency must be 1, not 0. No."),
        ("api_key must be a word, not 7. No.", "--api-key 7", "api_key must be a word, not 7. No."),
        ("something else", "--concurrency 0", "something else"),
    ],
)  # fmt: skip
def test_a_message_of_the_library_names_the_option_and_what_was_typed(message: str, words: str, said: str) -> None:
    assert usage.in_words_of(message, words.split()) == said
