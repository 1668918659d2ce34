"""Files of JSON lines: what the API would refuse later is found before a byte is sent, with its line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as some

from asyncsdk.errors import SourceError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.job import UploadJob
from asyncsdk.uploads.jsonl import inspection, rules
from asyncsdk.uploads.jsonl.inspection import inspect
from asyncsdk.uploads.jsonl.rules import Depth, JsonlCheck, is_jsonl
from asyncsdk.uploads.sources.readers import BytesSource

BOM = b"\xef\xbb\xbf"
GOOD = b'{"messages": []}'


def request(number: int, **fields: object) -> dict[str, object]:
    body = {"model": "gpt-5", "input": "x"}
    return {"custom_id": f"r-{number}", "method": "POST", "url": "/v1/responses", "body": body} | fields


def of_lines(rows: Iterable[object]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def problems(
    content: bytes, purpose: str = "fine-tune", *, cuts: Sequence[int] = (), size: int | None = None
) -> list[str]:
    check = JsonlCheck(purpose, len(content) if size is None else size)
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        check.feed(content[start:end])
    check.finish()
    return list(map(str, check.problems))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (BOM + GOOD, "line 1: it begins with a byte order mark (BOM): save the file as UTF-8 without one"),
        ('{"a": 1}\n'.encode("utf-16"), "line 1: it is UTF-16: save the file as UTF-8"),
        (GOOD + b"\n\n" + GOOD, "line 2: it is blank"),
        (GOOD + b"\r\n\r\n", "line 2: it is blank"),
        (GOOD + b"\n" + GOOD[:-1], "line 2: it is not JSON: expecting ',' delimiter at column 16"),
        (b'{"a": "b\n', "line 1: it is not JSON: unterminated string starting at column 7"),
        (GOOD + GOOD, "line 1: it is not JSON: extra data at column 17"),
        (b'{"a": NaN}', "line 1: it is not JSON: NaN is not a value of JSON"),
        (b'{"a": "\xfc"}', "line 1: byte 8 is not UTF-8"),
        (b'[{"a": 1}]\n', "line 1: it is a list, not an object"),
        (b'"text"', "line 1: it is a string, not an object"),
        (b"17", "line 1: it is a number, not an object"),
        (b"null", "line 1: it is null, not an object"),
    ],
)
def test_what_the_api_refuses_is_named_with_its_line(content: bytes, problem: str) -> None:
    assert problems(content) == [problem]


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD + b"\r\n" + GOOD + b"\r\n",
        b"  " + GOOD + b"\t\n" + GOOD,
        '{"a": "ü \U0001f600 \\ud800"}'.encode(),
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["no newline at the end", "CRLF", "white space", "any text", "a long number", "deeply nested"],
)
def test_what_the_api_takes_is_taken(content: bytes) -> None:
    assert problems(content) == []


def test_the_first_problems_are_named_and_the_rest_is_not_looked_at() -> None:
    check = JsonlCheck("fine-tune", 100)
    check.feed(b"\n" * 20)
    assert list(map(str, check.problems)) == [f"line {number}: it is blank" for number in range(1, 6)]
    assert check.is_over
    said = rules.refusal("t.jsonl", "fine-tune", check.problems)
    assert said.startswith("t.jsonl is not a file that fine-tuning takes:\n  line 1: it is blank\n  line 2")
    assert said.endswith('and perhaps more.\n  Correct it, or send it as it is with check="none". Nothing was sent.')


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"custom_id": "a", "params": {}}], "line 1: method and url and body are missing"),
        ([request(1), {key: value for key, value in request(2).items() if key != "url"}], "line 2: url is missing"),
        ([request(1, custom_id=7)], "line 1: custom_id is a number, and must be a string"),
        ([request(1, body="x")], "line 1: body is a string, and must be an object"),
        ([request(1, method="GET")], "line 1: method is 'GET', and must be POST"),
        (
            [request(1), request(2, url="/v1/embeddings")],
            "line 2: url is '/v1/embeddings', and in line 1 '/v1/responses': a batch has one url",
        ),
        (
            [request(1), request(2, body={"model": "gpt-4"})],
            "line 2: model is 'gpt-4', and in line 1 'gpt-5': a batch has one model",
        ),
        (
            [request(1), request(2), request(1)],
            "line 3: custom_id 'r-1' is in line 1 too: each line needs an id of its own",
        ),
    ],
)
def test_a_batch_has_rules_for_its_lines(rows: list[object], problem: str) -> None:
    assert problems(of_lines(rows), "batch") == [problem]
    assert problems(of_lines(rows), "fine-tune") == []


def test_an_id_that_comes_again_in_line_40_001_is_found() -> None:
    rows = [request(number) for number in range(40_000)] + [request(17)]
    assert problems(of_lines(rows), "batch") == [
        "line 40,001: custom_id 'r-17' is in line 18 too: each line needs an id of its own"
    ]


def test_a_batch_has_limits() -> None:
    fields = {"url": "/v1/embeddings"}
    most = of_lines(request(number) for number in range(50_000))
    assert problems(most, "batch") == []
    assert problems(most + of_lines([request(50_000), {}]), "batch") == [
        "line 50,001: a batch may have 50,000 lines: cut the file in two"
    ]
    assert problems(GOOD, "fine-tune", size=209_715_201) == []
    assert problems(of_lines([request(1)]), "batch", size=209_715_200) == []
    assert problems(of_lines([request(1)]), "batch", size=209_715_201) == [
        "it has 209,715,201 bytes, and a batch may have 209,715,200: cut it in two"
    ]
    inputs = [request(number, body={"input": ["x"] * 2048}, **fields) for number in range(24)]
    tokens = request(24, body={"input": [1, 2, 3]}, **fields)
    rest = request(25, body={"input": [[1], [2]] * 424}, **fields)
    assert problems(of_lines([*inputs, rest]), "batch") == []
    assert problems(of_lines([*inputs, tokens, rest, request(26, **fields)]), "batch") == [
        "line 26: a batch of embeddings may have 50,000 inputs: cut the file in two"
    ]


def test_which_files_are_looked_at() -> None:
    looked_at = [
        (name, purpose)
        for name in ("a.jsonl", "A.JSONL", "a.json", "jsonl", "a.jsonl.gz")
        for purpose in ("fine-tune", "batch", "assistants", "evals")
        if is_jsonl(name, purpose)
    ]
    assert looked_at == [(name, purpose) for name in ("a.jsonl", "A.JSONL") for purpose in ("fine-tune", "batch")]


LINES = some.lists(
    some.sampled_from(
        [GOOD, GOOD + b"\r", b"", b" \r", b"[]", GOOD[:-1], BOM + GOOD, b"\xff", b'{"a": "' + b"x" * 90 + b'"}']
    )
)


@given(LINES, some.data())
def test_how_the_file_is_cut_into_blocks_does_not_matter(lines: list[bytes], data: some.DataObject) -> None:
    content = b"\n".join(lines)
    cuts = data.draw(some.lists(some.integers(0, len(content)), unique=True).map(sorted))
    assert problems(content, cuts=cuts) == problems(content)


@given(some.lists(some.dictionaries(some.text(), some.integers() | some.text() | some.none())), some.booleans())
def test_what_json_writes_is_taken_and_each_line_that_is_not_an_object_is_not(
    rows: list[dict[str, object]],
    as_ascii: bool,  # noqa: FBT001 - drawn
) -> None:
    lines = [json.dumps(row, ensure_ascii=as_ascii).encode(errors="surrogatepass") for row in rows]
    is_text = all(_is_text(line) for line in lines)
    assert (problems(b"\n".join(lines)) == []) is is_text
    if is_text:
        found = problems(b"\n".join([*lines, b"[1]", b"{}"]))
        assert found == [f"line {len(lines) + 1}: it is a list, not an object"]


def _is_text(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(some.lists(some.integers(0, 30)))
def test_of_ids_exactly_those_that_came_before_are_named(numbers: list[int]) -> None:
    found = problems(of_lines(map(request, numbers)), "batch")
    rest = "too: each line needs an id of its own"
    again = [
        f"line {at + 1}: custom_id 'r-{number}' is in line {numbers.index(number) + 1} {rest}"
        for at, number in enumerate(numbers)
        if number in numbers[:at]
    ]
    assert found == again[:5]


def test_of_a_line_that_is_too_long_to_hold_the_edges_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "LONGEST_LINE", 50)
    long = b'{"a": "' + b"x" * 200 + b'"}'
    for line, right in {
        long: True,
        long + b"  \r": True,
        long[:-1]: False,
        b"[" + long: False,
    }.items():
        content = GOOD + b"\n" + line + b"\n" + GOOD
        for width in (7, 13, 1000):
            cuts = list(range(width, len(content), width))
            expected = [] if right else ["line 2: it is not one JSON object"]
            assert problems(content, cuts=cuts) == expected
            check = JsonlCheck("fine-tune", len(content))
            for start in range(0, len(content), width):
                check.feed(content[start : start + width])
                assert sum(map(len, check._pieces)) <= 50 + 2 * width  # noqa: SLF001 - memory


async def refused(content: bytes, purpose: str, depth: Depth) -> str:
    source = BytesSource.over(content, "b.jsonl")
    try:
        await inspect(source, UploadJob(content, purpose, check=depth), DaemonThreadPool("test", limit=1))
    except SourceError as error:
        return str(error).partition("\n  ")[2].partition("\n")[0]
    return ""


@pytest.mark.parametrize("bad", ["first", "middle", "last"])
async def test_the_ends_or_all_of_it(monkeypatch: pytest.MonkeyPatch, bad: str) -> None:
    monkeypatch.setattr(inspection, "BLOCK", 1000)
    lines = [GOOD] * 400
    lines[{"first": 1, "middle": 200, "last": 399}[bad]] = b"{]"
    content = b"\n".join(lines) + b"\n"
    where = {"first": "line 2: ", "middle": "", "last": "the last line: "}[bad]
    assert (await refused(content, "fine-tune", "ends")).startswith(where)
    assert bool(await refused(content, "fine-tune", "ends")) is bool(where)
    assert "expecting property name" in await refused(content, "fine-tune", "full")
    assert await refused(content, "fine-tune", "none") == ""
    assert await refused(content, "assistants", "full") == ""


@pytest.mark.parametrize("size", range(1, 60, 7))
async def test_every_size_has_its_ends(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(inspection, "BLOCK", 20)
    line = b'{"a": "' + b"x" * (size * 2) + b'"}'
    for count in range(1, 8):
        for end in (b"", b"\n", b"\r\n"):
            assert await refused(b"\n".join([line] * count) + end, "fine-tune", "ends") == ""
        assert await refused(b"\n".join([line] * count)[:-1], "fine-tune", "ends") != ""
        assert await refused(b"[" + b"\n".join([line] * count), "fine-tune", "ends") != ""
        assert "it is blank" in await refused(b"\n".join([line] * count) + b"\n\n", "fine-tune", "ends")
