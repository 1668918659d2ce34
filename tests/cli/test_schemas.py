"""`asyncsdk schema`: what it prints is what the program takes and writes."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from asyncsdk.api import ImageRef
from asyncsdk.cli.edits.job_fields import IGNORED, PICTURES, REFERENCES, VALUES, job_schema
from asyncsdk.cli.edits.job_file import Place, checked, read_jobs
from asyncsdk.cli.edits.job_text import BadRow
from asyncsdk.cli.schema import schema_for
from asyncsdk.cli.uploads.records import uploaded
from asyncsdk.errors import InvalidEditError
from asyncsdk.images.check import LONGEST_URL, check, refusal_of_fields
from asyncsdk.images.edit import EDIT_FIELDS, ImageEdit
from asyncsdk.models import File, Upload, from_json
from asyncsdk.uploads.job import UploadResult
from tests.cli.support import MakeFile, Run
from tests.stories.pictures import photo

JOB = Draft202012Validator(job_schema())
PLACE = Place(Path("/jobs"), lambda _: True)
TEXTS = st.text(max_size=3) | st.sampled_from(["", "data:,x", "data", "a.png", "\ud800", "a\n", "\ud800\n"])
PLAIN = st.none() | st.booleans() | st.integers(-3, 120) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
REFERENCE = st.dictionaries(st.sampled_from([*REFERENCES, "other"]), PLAIN, max_size=3)
PICTURE = TEXTS | REFERENCE | PLAIN | st.just({"file_id": "file-1"})
ANY = PLAIN | st.lists(PICTURE, max_size=3) | REFERENCE
NAMES = st.sampled_from([*PICTURES, *VALUES, *sorted(IGNORED)]) | st.sampled_from(["promt", "line", "name", "zzz"])
ROWS = st.dictionaries(NAMES, ANY, max_size=4)
LIKELY = st.fixed_dictionaries(
    {"image": PICTURE | st.lists(PICTURE, max_size=3)},
    optional={
        "prompt": TEXTS | PLAIN | st.sampled_from([1000, 1001, 32_000, 32_001]).map("x".__mul__),
        "model": st.none() | st.sampled_from(["dall-e-2", "gpt-image-2", "other"]),
        "mask": PICTURE,
        "n": PLAIN,
        "id": PLAIN,
        "stream": PLAIN,
        "svg": ANY,
    },
)


BEYOND = re.compile(r"is not a whole number from|characters, and \d+ is the most")


def is_taken(row: dict[str, Any]) -> bool:
    """By the check of a run that has a `--prompt`, and by the bounds that the check of its edit has."""
    if isinstance(checked(row, line=1, place=PLACE, defaults={"prompt": "x"}), BadRow):
        return False
    [edit] = read_jobs(json.dumps(row).encode(), suffix=".jsonl", place=PLACE, defaults={"prompt": "x"})
    return not BEYOND.search(str(refusal_of_fields(edit)))


@given(ROWS | LIKELY | st.builds(lambda one, two: one | two, LIKELY, ROWS))
def test_the_schema_of_a_job_takes_what_the_check_takes_and_nothing_else(row: dict[str, Any]) -> None:
    assert JOB.is_valid(row) == is_taken(row), [error.message for error in JOB.iter_errors(row)]


@pytest.mark.parametrize("name", [name for name, about in EDIT_FIELDS.items() if about.allowed])
def test_each_number_has_the_bounds_in_the_schema_that_the_check_has(name: str) -> None:
    low, high = EDIT_FIELDS[name].allowed or (0, 0)
    for value in (low - 1, low, high, high + 1):
        row = {"image": "a.png", name: value}
        assert JOB.is_valid(row) == is_taken(row) == (low <= value <= high)


@pytest.mark.parametrize(("model", "most"), [(None, 16), ("gpt-image-2", 16), ("dall-e-2", 1)])
def test_the_most_pictures_are_in_the_schema_as_the_check_has_them(model: str | None, most: int) -> None:
    for number in (most, most + 1):
        pictures = [ImageRef(file_id="file-1")] * number
        row = {"image": [{"file_id": "file-1"}] * number, "model": model}
        edit = ImageEdit(image=pictures, prompt="x", model=model)
        assert JOB.is_valid(row) == (number == most)
        with nullcontext() if number == most else pytest.raises(InvalidEditError, match=f"takes {most} at most"):
            check(edit, pictures)


def test_the_longest_url_of_a_picture_is_in_the_schema_as_the_check_has_it() -> None:
    url = "https://h/".ljust(LONGEST_URL, "x")
    for longer, is_valid in ((url, True), (f"{url}x", False)):
        reference = ImageRef(image_url=longer)
        for name in PICTURES:
            assert JOB.is_valid({"image": "a.png", name: {"image_url": longer}}) == is_valid
            mask, markup = (reference if each == name else None for each in ("mask", "markup"))
            pictures = [reference if name == "image" else ImageRef(file_id="file-1")]
            with nullcontext() if is_valid else pytest.raises(InvalidEditError, match=f"{LONGEST_URL} is the most"):
                check(ImageEdit(image=pictures, prompt="x"), pictures, mask, markup)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("value", [None, True, 0, 7, 2.0, 2.5, "", "text", "\ud800", {}, {"a": 1}, []])
def test_so_for_each_kind_of_value_of_each_field(name: str, value: object) -> None:
    row = {"image": "a.png", name: value}
    assert JOB.is_valid(row) == is_taken(row)


def test_every_field_of_a_job_is_in_its_schema_and_says_what_it_is() -> None:
    described = {name for name, schema in job_schema()["properties"].items() if schema["description"]}
    assert described == {name for name, about in EDIT_FIELDS.items() if about.in_job_file} | IGNORED


def test_an_unknown_field_is_said_to_be_none_of_an_edit() -> None:
    (error,) = JOB.iter_errors({"image": "a.png", "promt": "x"})
    assert list(error.path) == ["promt"]
    assert error.schema["errorMessage"].startswith("This is not a field of an edit.")


@pytest.mark.parametrize("kind", ["job", "upload", "edit"])
def test_each_schema_is_printed_and_is_one(run: Run, kind: str) -> None:
    ran = run("schema", kind)
    assert ran.code == 0
    Draft202012Validator.check_schema(json.loads(ran.out))


def test_the_lines_of_upload_are_as_its_schema_says(run: Run, make_file: MakeFile) -> None:
    line = Draft202012Validator(json.loads(run("schema", "upload").out))
    sent = run("upload", make_file(3000), "--purpose", "batch", "--json").records
    posted = run("upload", make_file(10, "b.bin"), "--purpose", "batch", "--json", "--method", "files").records
    bad = run("upload", "missing.bin", "--purpose", "batch", "--json").records
    assert [bool(record["error"]) for record in (*sent, *posted, *bad)] == [False, False, True]
    for record in (*sent, *posted, *bad):
        line.validate(record)
    assert not line.is_valid({name: value for name, value in sent[0].items() if name != "md5"})


def test_a_line_of_a_server_that_gives_no_more_than_ids_is_as_the_schema_says() -> None:
    sparse = UploadResult(
        upload=from_json(Upload, {"id": "upload_1"}),
        file=from_json(File, {"id": "file-1"}),
        md5=None,
        bytes_sent=3,
        bytes_resumed=0,
        reused=False,
        seconds=1.0,
    )
    Draft202012Validator(schema_for("upload")).validate(uploaded("a.bin", sparse))


def test_the_lines_of_edit_and_edit_many_are_as_their_schema_says(run: Run, tmp_path: Path) -> None:
    line = Draft202012Validator(json.loads(run("schema", "edit").out))
    picture = photo(tmp_path / "one.png")
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text(
        "".join(json.dumps({"image": str(picture), "prompt": word}) + "\n" for word in ("hat", "forbidden"))
    )
    one = run("edit", picture, "-p", "hat", "-o", "out", "--json").records
    many = run("edit-many", jobs, "-o", "many", "--json").records
    again = run("edit-many", jobs, "-o", "many", "--json").records
    assert [record["status"] for record in one] == ["done"]
    assert {record["status"] for record in many} == {"done", "refused"}
    assert "skipped" in {record["status"] for record in again}
    for record in (*one, *many, *again):
        line.validate(record)
    assert not line.is_valid(one[0] | {"status": "fine"})
    assert not line.is_valid(one[0] | {"more": 1})
