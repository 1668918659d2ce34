"""Job files become edits, or a problem with its line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.api import ImageRef
from asyncsdk.cli.edits import job_text
from asyncsdk.cli.edits.job_file import (
    JobRow,
    Place,
    check_jobs,
    edits_of_pictures,
    has_only_ids,
    ignored_in,
    read_jobs,
    row_of,
)
from asyncsdk.cli.edits.job_text import BadRow
from asyncsdk.images.edit import ImageEdit
from asyncsdk.remote.address import RemoteAddress

Row = ImageEdit | BadRow

FOLDER = Path("/jobs")
PLACE = Place(FOLDER, lambda _: True)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: "|" not in text)
PROMPTS = TEXTS.filter(lambda text: text.strip().lower() not in {"", "nan", "none", "<na>"} and text[0] != "#")


def rows(data: bytes | str, suffix: str = ".jsonl", **defaults: Any) -> list[Row]:
    """All rows, as they are checked first and made into edits later."""
    content = data.encode() if isinstance(data, str) else data
    known: Any = {"suffix": suffix, "place": PLACE, "defaults": defaults}
    checked = list(check_jobs(content, **known))
    bad = [number for number, row in enumerate(checked) if isinstance(row, BadRow)]
    edits = read_jobs(content, bad=bad, **known)
    found: list[Row] = [row if isinstance(row, BadRow) else next(edits) for row in checked]
    assert list(edits) == []
    return found


def edit(row: Row) -> ImageEdit:
    assert isinstance(row, ImageEdit), row
    return row


def problem(row: Row) -> str:
    assert isinstance(row, BadRow), row
    return f"{row.line}: {row.message}"


def test_a_line_is_an_edit_with_paths_relative_to_the_file() -> None:
    [found] = rows('{"image": ["a.png", "/b.png"], "mask": "m.png", "prompt": "x", "n": 2, "id": 7}')
    assert edit(found).image == (FOLDER / "a.png", Path("/b.png"))
    assert (edit(found).mask, edit(found).n, edit(found).id, edit(found).line) == (FOLDER / "m.png", 2, "7", 1)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_a_part_of_a_file_has_the_rows_with_these_numbers(suffix: str) -> None:
    lines = [json.dumps({"image": f"{number}.png", "prompt": "x"}) for number in range(6)]
    lines[2] = "not JSON"
    table = "image,prompt\n0.png,x\n1.png,\n2.png,x\n\n3.png,x\n4.png,x\n5.png,x\n"
    data = (table if suffix == ".csv" else "\n\n".join(lines)).encode()
    every = rows(data, suffix)
    bad = [number for number, row in enumerate(every) if isinstance(row, BadRow)]
    assert (len(every), len(bad)) == (6, 1)
    for part in (slice(0, None), slice(2, None), slice(3, None), slice(1, 4), slice(6, None)):
        edits = read_jobs(data, suffix=suffix, place=PLACE, defaults={}, part=part, bad=bad)
        assert list(edits) == [row for row in every[part] if isinstance(row, ImageEdit)]


def test_a_row_is_bad_by_its_number_whatever_else_is_on_its_line() -> None:
    first, second, third = rows('[{"image": "a.png"}, {"image": "b.png", "prompt": "x"},\n{"image": "c.png"}]', ".json")
    assert (problem(first), problem(third)) == ("1: 'prompt' is missing.", "2: 'prompt' is missing.")
    assert edit(second).line == 1


def test_the_rows_before_a_part_are_not_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, read = [json.dumps({"image": f"{number}.png", "prompt": "x"}) for number in range(6)], list[str]()

    class Counting(json.JSONDecoder):
        def decode(self, text: str, *_: Any) -> Any:
            read.append(text.strip())
            return super().decode(text)

    monkeypatch.setattr(job_text, "_DECODER", Counting())
    part = read_jobs("\n".join(lines).encode(), suffix=".jsonl", place=PLACE, defaults={}, part=slice(4, None))
    assert [edit(row).line for row in part] == [5, 6]
    assert read == lines[4:]


def test_references_may_stand_for_pictures() -> None:
    [found] = rows('{"image": [{"file_id": "file-1"}, {"image_url": "https://x/a.png"}], "prompt": "x"}')
    assert edit(found).image == (ImageRef(file_id="file-1"), ImageRef(image_url="https://x/a.png"))


def test_defaults_fill_what_a_line_leaves_open() -> None:
    lines = '{"image": "a"}\n\n{"image": "a", "prompt": "own", "n": null, "mask": null}'
    one, two = rows(lines, prompt="x", n=3, mask="m.png")
    assert (edit(one).prompt, edit(one).n, edit(one).mask) == ("x", 3, "m.png")
    assert (edit(two).prompt, edit(two).n, edit(two).mask, edit(two).line) == ("own", 3, "m.png", 3)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("not json", "1: it is not valid JSON"),
        ("[" * 100_000, "1: it is not valid JSON"),
        ("[]", "1: it is not a JSON object."),
        ('{"prompt": "x"}', "1: 'image' is missing."),
        ('{"image": "a", "prompt": ""}', "1: 'prompt' is missing."),
        ('{"image": "a", "promt": "x"}', "1: 'promt' is not a field of an edit; did you mean 'prompt'?"),
        ('{"image": "a", "prompt": "x", "zzzz": 1}', "1: 'zzzz' is not a field of an edit."),
        ('{"image": "a", "prompt": "x", "line": 1}', "1: 'line' is not a field of an edit"),
        ('{"image": "a", "prompt": "x", "name": "a"}', "1: 'name' is not a field of an edit"),
        ('{"image": 5, "prompt": "x"}', "1: a picture is a path, or an object with a file_id or an image_url, not 5."),
        ('{"image": ["a", ""], "prompt": "x"}', "1: a picture is a path"),
        ('{"image": {"x": 1}, "prompt": "x"}', "1: a picture is a path"),
        ('{"image": {"file_id": "a", "image_url": "b"}, "prompt": "x"}', "1: an ImageRef has a file_id or an"),
        ('{"image": "data:,x", "prompt": "x"}', '1: a picture as text is written as {"image_url": '),
        ('{"image": "ftp://x/a.png?sig=1", "prompt": "x"}', "1: ftp://x/a.png can't be used: the scheme ftp:// is not"),
        ('{"image": "a", "mask": 7, "prompt": "x"}', "1: a picture is a path"),
        ('{"image": "a", "prompt": 5}', "1: 'prompt' is 5, which is not text."),
        ('{"image": "a", "prompt": "x", "n": "2"}', "1: 'n' is the text '2', which is not a whole number."),
        ('{"image": "a", "prompt": "x", "n": true}', "1: 'n' is True, which is not a whole number."),
        ('{"image": "a", "prompt": "x", "stream": 1}', "1: 'stream' is 1, which is not true or false."),
        ('{"image": "a", "prompt": "x", "extra": "x"}', "1: 'extra' is the text 'x', which is not an object."),
        ('{"image": "a", "prompt": "x", "id": 1.5}', "1: 'id' is 1.5, which is not text."),
        ('{"image": "a", "prompt": "\\ud800"}', "1: 'prompt' contains half a character"),
        ('{"image": "a", "prompt": "x", "n": 2.5}', "1: 'n' is 2.5, which is not a whole number."),
        ('{"image": "a", "prompt": "x", "n": Infinity}', "1: it is not valid JSON: Infinity is not a value."),
        ('{"image": ["a", NaN], "prompt": "x"}', "1: a picture is a path"),
    ],
)
def test_a_line_that_is_no_edit_says_which_line_which_field_and_why(line: str, why: str) -> None:
    bad, good = rows(f'{line}\n{{"image": "a", "prompt": "x"}}')
    assert problem(bad).startswith(why)
    assert edit(good).line == 2


def test_a_table_is_read_by_its_header() -> None:
    text = (
        'image, prompt ,n,stream,svg,id\r\na.png,"x\r\ny",2,true,,one\r\nb.png | c.png,y,,,"{""model"": ""m""}",\r\n'
        '"[""d|.png"", {""file_id"": ""f""}]",z,,FALSE,,\r\n,,,,,\r\n'
    )
    one, two, three = map(edit, rows(text, ".csv"))
    assert (one.prompt, one.n, one.stream, one.id, one.line) == ("x\r\ny", 2, True, "one", 2)
    assert (two.image, two.svg, two.n, two.line) == ((FOLDER / "b.png", FOLDER / "c.png"), {"model": "m"}, None, 4)
    assert (three.image, three.stream) == ((FOLDER / "d|.png", ImageRef(file_id="f")), False)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_may_have_the_separator_that_its_spreadsheet_writes(separator: str) -> None:
    [found] = rows(f"image{separator}prompt\na.png{separator}x\n", ".csv")
    assert edit(found).prompt == "x"


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_line_in_which_a_spreadsheet_names_its_separator_is_not_the_header(
    first: str, end: str, encoding: str
) -> None:
    text = end.join([first, "image;prompt;n", 'a,b.png;"one', 'line";2', "b.png;x;two", ""])
    one, two = rows(text.encode(encoding), ".csv")
    assert (edit(one).image, edit(one).n, edit(one).line) == ((FOLDER / "a,b.png",), 2, 3)
    assert problem(two).startswith("5: 'n' is the text 'two'")


def test_lines_are_counted_right_below_a_named_separator() -> None:
    with pytest.raises(ValueError, match=r"^line 2 must name the columns, and 'promt'"):
        rows("sep=;\nimage;promt\n", ".csv")
    [bad] = rows('sep=|\nimage|prompt\na|"b\nc|d\n', ".csv")
    assert problem(bad).startswith("3: it is not valid CSV")
    assert problem(bad).endswith("Nothing is read from here to line 4.")


def test_a_table_with_tabs_has_no_other_separator() -> None:
    [found] = rows("image\tprompt\na,b;c.png\tx, y; z\n", ".tsv")
    assert (edit(found).image, edit(found).prompt) == ((FOLDER / "a,b;c.png",), "x, y; z")


def test_what_pandas_writes_for_missing_values_is_left_open() -> None:
    line = '{"image": "a", "prompt": "x", "mask": NaN, "n": 2.0, "id": 7.0, "extra": {"seed": NaN, "scale": 2.0}}'
    [found] = rows(line, mask="m.png")
    assert (edit(found).mask, edit(found).n, edit(found).id) == ("m.png", 2, "7")
    assert isinstance(edit(found).n, int)
    assert edit(found).extra == {"seed": None, "scale": 2.0}
    [by_table] = rows("image,prompt,mask,n\na,x,,2.0\n", ".csv")
    assert (edit(by_table).mask, edit(by_table).n) == (None, 2)
    assert isinstance(edit(by_table).n, int)


@pytest.mark.parametrize("header", ["Image;PROMPT;N", " image ; Prompt;n", "IMAGE;prompt; N "])
def test_a_header_may_be_in_any_case(header: str) -> None:
    [found] = rows(f"{header}\na.png;x;2\n", ".csv")
    assert (edit(found).prompt, edit(found).n) == ("x", 2)


def test_a_header_of_two_words_is_a_field_too() -> None:
    [found] = rows("image,prompt,Output Format,input-fidelity\na,x,png,high\n", ".csv")
    assert (edit(found).output_format, edit(found).input_fidelity) == ("png", "high")


def test_columns_of_something_else_are_ignored_and_named() -> None:
    table = b"image,Notes,prompt,Rating,Sites\na,very long,x,5,1\nb,,y,,\n"
    assert [edit(row).prompt for row in rows(table, ".csv")] == ["x", "y"]
    assert ignored_in(table, suffix=".csv") == {"Notes": None, "Rating": None, "Sites": "size"}
    assert ignored_in(b'{"image": "a"}', suffix=".jsonl") == {}


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("promt", "prompt"),
        ("Prompts", "prompt"),
        ("maks", "mask"),
        ("Maske", "mask"),
        ("Task", "mask"),
        ("Modell", "model"),
    ],
)
def test_a_column_that_may_be_a_misspelt_field_is_refused_since_it_would_cost_money(column: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"^line 1 must name the columns, and '{column}' is not a field .* '{meant}'"):
        rows(f"image,{column}\na,x\n", ".csv")
    there = f"image,{meant},{column}\n".encode()
    assert set(ignored_in(there, suffix=".csv")) == {column}, "where the field itself is a column too"


@pytest.mark.parametrize("index", ["", "Unnamed: 0"])
def test_the_index_that_pandas_writes_is_ignored(index: str) -> None:
    table = f"{index},image,prompt,Unnamed: 7\n0,a,x,\n1,b,y,left\n2,,,\n".encode()
    assert [edit(row).prompt for row in rows(table, ".csv")] == ["x", "y"]
    assert ignored_in(table, suffix=".csv") == {}


@pytest.mark.parametrize("missing", ["nan", "NaN", "None", "<NA>", "  ", ""])
def test_what_pandas_writes_for_a_missing_value_is_empty_in_a_table_too(missing: str) -> None:
    first, second = rows(
        f"image,prompt,mask,n,id\na,{missing},{missing},{missing},{missing}\n{missing},x,,,\n", ".csv", prompt="d"
    )
    assert (edit(first).prompt, edit(first).mask, edit(first).n, edit(first).id) == ("d", None, None, None)
    assert problem(second) == "3: 'image' is missing."
    [without] = rows(f"image,prompt,n\na,{missing},1\n", ".csv")
    assert problem(without) == "2: 'prompt' is missing."


def test_numbers_and_flags_are_read_as_spreadsheets_write_them() -> None:
    table = "image;prompt;n;stream;size\na;x;2.0;TRUE;auto \na;x;3,0;False; 64x64\na;x; 4 ;0.0;\n"
    found = [edit(row) for row in rows(table, ".csv")]
    assert [(each.n, each.stream, each.size) for each in found] == [
        (2, True, "auto"),
        (3, False, "64x64"),
        (4, False, None),
    ]


def test_a_comma_before_three_digits_is_not_taken_for_a_point() -> None:
    [bad] = rows("image;prompt;n\na;x;1,000\n", ".csv")
    assert problem(bad) == "2: 'n' is the text '1,000', which is not a whole number."


@pytest.mark.parametrize("cell", ["#N/A", "#REF!", "#NAME?", " #VALUE! "])
def test_a_formula_that_failed_is_not_paid_as_a_prompt(cell: str) -> None:
    [bad] = rows(f"image,prompt\na,{cell}\n", ".csv", prompt="x")
    assert problem(bad) == f"2: 'prompt' is '{cell.strip()}', which a spreadsheet writes for a formula that failed."


@pytest.mark.parametrize("first", ["sep=;;;", "sep=; ", '"sep=;";;'])
def test_a_named_separator_may_have_empty_cells_after_it(first: str) -> None:
    [found] = rows(f"{first}\nimage;prompt\na;x\n", ".csv")
    assert (edit(found).prompt, edit(found).line) == ("x", 3)


@pytest.mark.parametrize(
    ("there", "leads_to"),
    [
        (set(), "photos\\a.jpg"),
        ({"photos/a.jpg"}, "photos/a.jpg"),
        ({"photos/a.jpg", "photos\\a.jpg"}, "photos\\a.jpg"),
    ],
)
def test_a_path_as_windows_writes_it_leads_to_the_file_that_is_there(there: set[str], leads_to: str) -> None:
    is_there = {FOLDER / name for name in there}.__contains__
    for text, suffix in (
        ("image,mask,prompt\nphotos\\a.jpg,photos\\a.jpg,x\n", ".csv"),
        ('{"image": ["photos\\\\a.jpg"], "mask": "photos\\\\a.jpg", "prompt": "x"}', ".jsonl"),
    ):
        [found] = read_jobs(text.encode(), suffix=suffix, place=Place(FOLDER, is_there), defaults={})
        assert (edit(found).image, edit(found).mask) == ((FOLDER / leads_to,), FOLDER / leads_to)


def test_rows_with_ids_alone_are_known() -> None:
    assert has_only_ids(b'{"id": "a", "item": null}\n{"id": "b"}\n', suffix=".jsonl")
    for other in (b'{"id": "a"}\n{"id": "b", "image": "c"}', b'{"id": "a"}\nodd', b'{"item": 5}'):
        assert not has_only_ids(other, suffix=".jsonl")
    assert not has_only_ids(b"id,image\na,\n", suffix=".csv")


def test_a_list_on_one_line_is_numbered_by_its_elements() -> None:
    good = '{"image": "a", "prompt": "x"}'
    one, two, three, four = rows(f'[{good}, 5, {good}, {{"image": "a"}}]\n', ".json")
    assert (edit(one).line, edit(three).line) == (1, 3)
    assert [problem(row) for row in (two, four)] == ["2: it is not a JSON object.", "4: 'prompt' is missing."]
    assert problem(rows(f"[{good}, {{]", ".json")[1]).startswith("2: it is not valid JSON")


LIST = """
[
  {"image": "a", "prompt": "x"},

  {"image": "b",
   "prompt": "y\\nz"}, 5,
  {"prompt": "x"}
]
"""


def test_a_list_of_objects_is_a_job_file_with_the_lines_where_they_begin() -> None:
    one, two, three, four = rows(LIST, ".json")
    assert [(edit(row).prompt, row.line) for row in (one, two)] == [("x", 3), ("y\nz", 5)]
    assert [problem(row) for row in (three, four)] == ["6: it is not a JSON object.", "7: 'image' is missing."]
    assert rows("[]", ".json") == rows(" ", ".json") == []
    [last] = rows('[{"image": "a", "prompt": "x"},]', ".json")
    assert edit(last).prompt == "x"


def test_a_list_that_is_broken_says_where_and_that_the_rest_is_not_read() -> None:
    good = '{"image": "a", "prompt": "x"}'
    for text in (f"[{good}\n{good}]", f"[{good}\n", f"[{good},\n{{", f"[{good},\n{'[' * 100_000}", f"[{good}]\n{good}"):
        first, broken = rows(text, ".json")
        assert edit(first).line == 1
        assert problem(broken).startswith(
            ("1: the list should continue", "2: the list should continue", "2: it is not valid JSON")
        )
        assert problem(broken).endswith("Nothing is read from here on.")


@pytest.mark.parametrize("suffix", [".json", ".ndjson"])
def test_lines_of_objects_may_have_other_names(suffix: str) -> None:
    first, bad, last = rows('{"image": "a", "prompt": "x"}\nodd\n{"image": "b", "prompt": "y"}\n', suffix)
    assert (edit(first).prompt, edit(last).prompt, edit(last).line) == ("x", "y", 3)
    assert problem(bad).startswith("2: it is not valid JSON")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"PK\x03\x04rest", 'it is a spreadsheet or an archive, not a job file: in Excel, save it as "CSV UTF-8"'),
        (b"\xd0\xcf\x11\xe0rest", 'it is a spreadsheet, not a job file: in Excel, save it as "CSV UTF-8"'),
        (b"PAR1rest", "it is a data file, not a job file: write it as JSON lines"),
        (b"\x1f\x8brest", "it is an archive, not a job file: unpack it"),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json"])
def test_another_kind_of_file_under_the_name_of_a_job_file_is_named(data: bytes, why: str, suffix: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}"):
        rows(data, suffix)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a,b,2,4", "it has more cells than the header."),
        ("a,b,2,,x", "it has more cells than the header."),
        ('"a"b,c,', "it is not valid CSV: "),
        ("a,b,two", "'n' is the text 'two', which is not a whole number."),
        ("a,b,2.5", "'n' is 2.5, which is not a whole number."),
        (f"a,b,{'9' * 5000}", "'n' is the text '999"),
        (",b,2", "'image' is missing."),
    ],
)
def test_a_row_that_is_no_edit_costs_that_row_alone(row: str, why: str) -> None:
    found = rows(f"image,prompt,n\na,b,1\n{row}\na,b,3\n", ".csv")
    assert [each.line for each in found] == [2, 3, 4]
    assert problem(found[1]).startswith(f"3: {why}")
    assert edit(found[2]).n == 3


def test_a_cell_that_only_looks_like_json_is_a_name_or_a_problem() -> None:
    named, odd = rows("image,prompt,svg\n[a].png,b,\na,b,{c\n", ".csv")
    assert edit(named).image == (FOLDER / "[a].png",)
    assert problem(odd) == "3: 'svg' is the text '{c', which is not an object."


def test_a_column_without_a_name_may_not_hold_anything() -> None:
    good, bad = rows("image,prompt,\na,b,\na,b,c\n", ".csv")
    assert edit(good).prompt == "b"
    assert "more cells" in problem(bad)


def test_a_quote_that_is_never_closed_says_what_it_swallows() -> None:
    good, bad = rows('image,prompt\na,b\nc,"d\ne,f\ng,h\n', ".csv")
    assert edit(good).line == 2
    assert problem(bad).startswith("3: it is not valid CSV: ")
    assert problem(bad).endswith("Nothing is read from here to line 5.")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            b"image,promt\na,b\n",
            "line 1 must name the columns, and 'promt' is not a field of an edit; did you mean 'prompt'",
        ),
        (
            b"a.png,make it red\n",
            "line 1 must name the columns, and 'image' is not among them: 'a.png', 'make it red'",
        ),
        (b"prompt,n\na,1\n", "line 1 must name the columns, and 'image' is not among them"),
        (b"image,prompt,image\n", "line 1 names the column 'image' twice"),
        (b'"image"x,prompt\n', "line 1: it is not valid CSV"),
        (b"", "line 1 must name the columns, and 'image' is not among them"),
        (
            "image,prompt\na,é\n".encode("cp1252"),
            'it is not text in UTF-8, or in UTF-16 with a byte order mark: in Excel, save it as "CSV UTF-8"',
        ),
    ],
)
def test_a_table_that_can_not_be_read_at_all_is_no_job_file(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        rows(data, ".csv")
    assert str(raised.value).startswith(why)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_spreadsheets_write_other_encodings(encoding: str, suffix: str) -> None:
    text = "image,prompt\né.png,été\n" if suffix == ".csv" else '{"image": "é.png", "prompt": "été"}\r\n'
    [found] = rows(text.encode(encoding), suffix)
    assert (edit(found).prompt, edit(found).image) == ("été", (FOLDER / "é.png",))


@given(prompt=PROMPTS, image=TEXTS, n=st.none() | st.integers(1, 10))
def test_what_a_table_and_a_line_say_is_the_same(prompt: str, image: str, n: int | None) -> None:
    table = io.StringIO(newline="")
    csv.writer(table).writerows([["prompt", "image", "n"], [prompt, f"./{image}", n]])
    line = json.dumps({"image": f"./{image}", "prompt": prompt, "n": n})
    [by_table], [by_line] = rows(table.getvalue(), ".csv"), rows(line)
    assert edit(by_table).image == edit(by_line).image
    assert edit(by_table).options == edit(by_line).options


def test_what_failed_is_a_job_that_means_the_same_anywhere() -> None:
    line = '{"image": ["a.png", "b.png"], "mask": "m.png", "prompt": "x", "n": 2, "extra": {"new": 1}}'
    [found] = rows(line)
    row = {**row_of(edit(found), "7"), "status": "failed", "error": {"type": "X"}}
    [again] = list(
        read_jobs(json.dumps(row).encode(), suffix=".jsonl", place=Place(Path("/elsewhere"), bool), defaults={})
    )
    assert edit(again) == edit(rows(line[:-1] + ', "id": "7"}')[0])
    for reference in ({"image_url": "https://x"}, {"file_id": "file-1"}):
        [found] = rows(json.dumps({"image": reference, "prompt": "x"}))
        assert row_of(edit(found), "r")["image"] == reference


def test_half_a_character_in_a_path_beside_a_job_file_at_a_url_spoils_that_row_alone() -> None:
    place = Place(RemoteAddress("s3", "bucket", "/jobs.jsonl"), lambda _: True)
    data = b'{"image": "\\ud800.png"}\n{"image": "a.png"}'
    bad, good = check_jobs(data, suffix=".jsonl", place=place, defaults={"prompt": "x"})
    assert bad == BadRow(1, r"'\ud800.png' contains half a character, which no URL can have.")
    assert isinstance(good, JobRow)


def test_a_picture_is_an_edit_by_its_name() -> None:
    [found] = edits_of_pictures([("deep/a", Path("deep/a.png"))], {"prompt": "x", "n": 2})
    assert edit(found) == ImageEdit(image=Path("deep/a.png"), name="deep/a", prompt="x", n=2)
