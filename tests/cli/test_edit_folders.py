"""`asyncsdk edit-many FOLDER`: what is left out of it is reported, counted, and decides on the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

MODEL = ("--prompt", "x", "--model", "gpt-image-2", "--out", "out")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    photo(tmp_path / "away.png", (16, 16))
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    photo(tmp_path / "photos" / "deep" / "a.png", (16, 16))
    return tmp_path / "photos"


def test_what_can_not_be_looked_at_is_reported_and_the_rest_is_done(run: Run, photos: Path) -> None:
    (photos / "linked").symlink_to("deep")
    (photos / "gone.png").symlink_to("nowhere")
    ran = run("edit-many", "photos", *MODEL, "--json")
    assert ran.code == 3
    assert [(record["id"], record["status"]) for record in ran.records] == [
        ("photos/gone.png", "failed"),
        ("photos/linked", "failed"),
        ("deep/a", "done"),
    ]
    assert ran.records[1]["error"]["message"] == (
        "photos/linked: a link to a folder, which is not followed. It was left out, and nothing was sent for it."
    )
    assert "error: photos/gone.png: a broken link" in ran.err
    assert "\n1 done, 2 left out.\n" in ran.err
    assert "The 2 left out are listed above. Fix them" in ran.err
    assert "not sent" not in ran.err
    assert not Path("out/failed.jsonl").exists()
    again = run("edit-many", "photos", *MODEL)
    assert (again.code, "1 done before, 2 left out." in again.err) == (3, True)


def test_a_dry_run_counts_them_among_the_problems(run: Run, photos: Path) -> None:
    (photos / "linked").symlink_to("deep")
    ran = run("edit-many", "photos", *MODEL, "--dry-run", "--json")
    assert (ran.code, ran.records[-1]["to_send"], ran.records[-1]["problems"]) == (3, 1, 1)


def test_thumbnails_and_what_was_deleted_are_not_paid_and_that_is_said(run: Run, photos: Path) -> None:
    for name in ("@eaDir/a.png/THUMB.png", "deep/@eaDir/THUMB.png", "#recycle/old.png", ".hidden.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        photo(photos / name, (16, 16))
    ran = run("edit-many", "photos", *MODEL, "--quiet")
    assert (ran.code, ran.out) == (0, "deep/a\n")
    assert "Skipped: 1 hidden, 1 #recycle, 2 @eaDir (folders of the system)\n" in ran.err


def test_two_pictures_of_one_stem_are_two_and_what_is_fed_back_moves_neither(run: Run, photos: Path) -> None:
    photo(photos / "deep" / "a.jpg", (16, 16), seed=2)
    (photos / "deep" / "a.jpeg").write_bytes((photos / "deep" / "a.jpg").read_bytes()[:-400])
    ran = run("edit-many", "photos", *MODEL, "--json")
    assert (ran.code, {record["id"]: record["files"] for record in ran.records}) == (
        3,
        {"deep/a": [], "deep/a-jpg": ["out/deep/a-jpg.png"], "deep/a-png": ["out/deep/a-png.png"]},
    )
    photo(photos / "deep" / "a.jpeg", (16, 16), seed=3)
    fed = run("edit-many", "out/failed.jsonl", "--out", "out", "--json")
    assert (fed.code, fed.err.splitlines()[0]) == (0, "1 done.")
    assert sorted(path.name for path in Path("out").rglob("*.png")) == ["a-jpg.png", "a-png.png", "a.png"]


def test_a_picture_that_makes_way_is_reported_with_where_it_is_now(run: Run, photos: Path) -> None:
    run("edit-many", "photos", *MODEL)
    again = ("edit-many", "photos", "--prompt", "y", *MODEL[2:])
    ran = run(*again, "--json")
    [moved] = Path("out/.asyncsdk/replaced/deep").iterdir()
    assert (ran.code, ran.records[0]["displaced"]) == (0, [str(moved)])
    assert f"deep/a: its older picture was moved to {moved}\n" in ran.err
    assert "displaced" not in run(*again, "--json").records[0]


def test_the_results_below_the_folder_are_not_mentioned(run: Run, photos: Path) -> None:
    command = ("edit-many", "photos", *MODEL[:-1], "photos/out")
    assert run(*command).code == 0
    again = run(*command)
    assert (again.code, again.err) == (0, "1 done before.\n")
    here = ("edit-many", ".", *MODEL[:-1], ".", "--dry-run", "--json")
    assert "Not looked at" not in run(*here).err


def test_names_that_some_file_system_refuses_are_encoded_and_each_picture_gets_its_own(run: Run, photos: Path) -> None:
    names = ["a:b", "a?b", "tab\there", "line\nbreak", "x..y", "con", "end.", "a%3Ab", "esc\x1b[2J"]
    for seed, name in enumerate(names):
        photo(photos / f"{name}.png", (16, 16), seed=seed + 2)
    (photos / "up .. and down").mkdir()
    photo(photos / "up .. and down" / "b.jpg", (16, 16), seed=99)
    ran = run("edit-many", "photos", *MODEL, "--json")
    assert (ran.code, len(ran.records)) == (0, len(names) + 2)
    saved = [path.relative_to("out").as_posix() for path in Path("out").rglob("*.png")]
    assert len(saved) == len(names) + 2
    assert {"a%3Ab.png", "a%253Ab.png", "tab%09here.png", "line%0Abreak.png", "x..y.png"} <= set(saved)
    assert {record["id"] for record in ran.records} == {"deep/a", "up .. and down/b", *names}
    assert not {"\x1b", "\t"} & set(ran.err)


@pytest.mark.parametrize("sources", [["photos"], ["photos/a.png", "photos/b.png"]])
def test_pictures_whose_results_would_take_their_places_are_refused_by_one_message(
    run: Run, server: LocalServer, tmp_path: Path, sources: list[str]
) -> None:
    Path("photos").mkdir()
    for name in "ab":
        photo(tmp_path / "photos" / f"{name}.png")
    for more in ((), ("--dry-run",)):
        ran = run("edit-many", *sources, *MODEL[:-1], "photos/", *more)
        assert (ran.code, ran.out, server.edits.edits) == (2, "", 0)
        assert ran.err == (
            "error: --out photos is where the pictures are: a result would have the name of its picture, and no "
            "picture is overwritten. Give another --out. Nothing was sent.\n"
        )
    assert not Path("photos/.asyncsdk").exists()


def test_a_picture_whose_name_is_encoded_in_its_result_is_edited_into_its_own_folder(
    run: Run, server: LocalServer, tmp_path: Path
) -> None:
    Path("photos").mkdir()
    photo(tmp_path / "photos" / "a:b.png")
    ran = run("edit-many", "photos", *MODEL[:-1], "photos")
    assert (ran.code, server.edits.edits) == (0, 1)
    assert Path("photos/a%3Ab.png").exists()


def test_a_folder_some_of_whose_results_have_room_in_it_is_not_refused(
    run: Run, server: LocalServer, tmp_path: Path
) -> None:
    Path("photos").mkdir()
    photo(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.JPG").write_bytes((tmp_path / "photos" / "a.png").read_bytes())
    ran = run("edit-many", "photos", *MODEL[:-1], "photos")
    assert (ran.code, server.edits.edits) == (3, 1)
    again = run("edit-many", "photos", *MODEL[:-1], "photos", "--dry-run")
    assert again.out.startswith("0 to send, 1 done before, 1 refused (1 with a file in the way)")
