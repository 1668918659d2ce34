"""What the options of `edit-many` ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk.cli.edits import edit_many
from asyncsdk.cli.edits.arguments import defaults_of, read_redo, request_of
from asyncsdk.cli.edits.edit_many import agreed, can_ask
from asyncsdk.cli.edits.forecast import Forecast
from asyncsdk.cli.edits.messages import Summary
from asyncsdk.cli.edits.options import EditOptions, RunOptions
from asyncsdk.cli.edits.out_place import out_place
from asyncsdk.cli.edits.page_place import check_page
from asyncsdk.errors import ConfigurationError
from asyncsdk.remote.stores import RemoteStores


def test_fields_that_are_given_are_defaults_and_the_others_are_left_to_the_server() -> None:
    run = RunOptions(prompt="x")
    assert defaults_of(run, EditOptions(n=2, stream=False)) == {"prompt": "x", "n": 2, "stream": False}
    assert defaults_of(RunOptions(), EditOptions()) == {}


def test_the_prompt_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("\ufefffrom a file\n")
    assert defaults_of(RunOptions(prompt_file=str(tmp_path / "prompt.txt")), EditOptions()) == {"prompt": "from a file"}


def test_a_prompt_that_can_not_be_had_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes(b"\xff")
    for run in (
        RunOptions(prompt_file=str(tmp_path / "missing")),
        RunOptions(prompt_file=str(tmp_path / "odd.txt")),
        RunOptions(prompt="x", prompt_file="y"),
    ):
        with pytest.raises(ConfigurationError, match=r"--prompt-file.*Nothing was sent\."):
            defaults_of(run, EditOptions())


def test_rejects_are_ids_plain_or_as_json_and_what_was_done_since_stands(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    path.write_text('{"id": "a", "item": null}\nb c\n\n')
    assert read_redo(str(path)) == (["a", "b c"], path.stat().st_mtime)
    assert read_redo(None) == ([], None)
    wanted = request_of(RunOptions(redo=str(path), only="failed", images_per_minute=60.0))
    assert (wanted["redo"], wanted["only"], wanted["images_per_minute"]) == (["a", "b c"], ["failed"], 60.0)


@pytest.mark.parametrize("line", ["{}", '{"id": 5}', "{odd"])
def test_a_file_of_rejects_that_names_no_ids_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rejects.jsonl"
    path.write_text(line)
    with pytest.raises(ConfigurationError, match="--redo"):
        read_redo(str(path))
    with pytest.raises(ConfigurationError, match="No such file"):
        read_redo(str(tmp_path / "missing"))


async def test_a_page_that_could_not_be_written_is_refused_before_anything_is_paid(tmp_path: Path) -> None:
    place = out_place("out", None)
    await check_page(None, place, RemoteStores())
    await check_page(str(tmp_path / "new" / "gallery.html"), place, RemoteStores())
    with pytest.raises(ConfigurationError, match="is a directory"):
        await check_page(str(tmp_path), place, RemoteStores())
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"can't create a file in .*file\. Nothing was sent"):
        await check_page(str(tmp_path / "file" / "gallery.html"), place, RemoteStores())


@pytest.mark.parametrize(
    ("answer", "agrees"), [("y\n", True), ("Yes\n", True), ("\n", False), ("no\n", False), ("", False)]
)
def test_more_than_a_hundred_are_asked_about_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    agrees: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return answer

    monkeypatch.setattr(edit_many.sys, "stdin", Terminal())  # type: ignore[attr-defined]  # it is imported there
    assert can_ask(RunOptions())
    assert not can_ask(RunOptions(yes=True))
    assert agreed(Forecast(edits=100, pictures=100, problems=Summary()))
    assert capsys.readouterr().err == ""
    assert agreed(Forecast(edits=101, pictures=101, problems=Summary())) is agrees
    said = capsys.readouterr().err
    assert said.startswith("Up to 101 edits will be sent and paid.")
    assert ("Nothing was sent." in said) is not agrees


def test_nobody_is_asked_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_ask(RunOptions())
    monkeypatch.setattr("sys.stdin", None)
    assert not can_ask(RunOptions())
