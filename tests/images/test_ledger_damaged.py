"""A ledger that is not as it was written stops a run before anything is paid; what a crash leaves does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsdk import LedgerDamagedError
from asyncsdk.images.ledger.file import FileLedger, load_ledger, open_ledger

ITEMS = ("a#0", "b#0", "c#0")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "out" / ".asyncsdk"


@pytest.fixture
async def segment(place: Path) -> Path:
    """The file of a ledger with a head and three edits, two lines each."""
    async with open_ledger(place) as ledger:
        for item in ITEMS:
            await ledger.intend(item, id=item[0], n=1)
            await ledger.end(item, "done", id=item[0])
    [path] = (place / "ledger").iterdir()
    return path


def states(ledger: FileLedger) -> dict[str, str]:
    return {item: state.status for item, state in ledger.index.states.items()}


ALL_DONE = dict.fromkeys(ITEMS, "done")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def zeroed(data: bytes, start: int, end: int) -> bytes:
    return data[:start] + bytes(end - start) + data[end:]


def start_of(data: bytes, line: int) -> int:
    """Where a line (from 1) begins."""
    return len(b"".join(data.splitlines(keepends=True)[: line - 1]))


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], tuple[int, ...]]] = {
    "a flipped byte": (lambda data: flipped(data, start_of(data, 4) + 20), (4,)),
    "a flipped byte in the last line": (lambda data: flipped(data, start_of(data, 7) + 20), (7,)),
    "a flipped byte in the head": (lambda data: flipped(data, 3), (1,)),
    "two of them": (lambda data: flipped(flipped(data, start_of(data, 3) + 20), start_of(data, 6) + 20), (3, 6)),
    "a block of zeros": (lambda data: zeroed(data, start_of(data, 4) + 30, start_of(data, 6) + 30), (4,)),
    "zeros at the end": (lambda data: zeroed(data, start_of(data, 5) + 30, len(data)), (5,)),
    "a line cut in the middle": (lambda data: data[: start_of(data, 4) + 30] + data[start_of(data, 4) + 50 :], (4,)),
    "a torn line that others follow": (lambda data: data[: start_of(data, 4) + 30] + b"\n" + data, (4,)),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_reported_and_stops_before_anything_is_sent(place: Path, segment: Path, damage: str) -> None:
    change, lines = DAMAGES[damage]
    segment.write_bytes(change(segment.read_bytes()))
    for _ in range(2):
        with pytest.raises(LedgerDamagedError, match=r"may have been paid.*\. Nothing was sent") as caught:
            async with open_ledger(place):
                pass
        [found] = caught.value.damage
        assert (found.path, found.lines) == (segment, lines)
        assert str(found) in str(caught.value)
        assert "accept_damage=True" in str(caught.value)
        assert not caught.value.resumable
    assert (await load_ledger(place)).damage == caught.value.damage
    assert [path.name for path in segment.parent.iterdir()] == [segment.name]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_with_consent_what_is_intact_is_believed_and_the_next_run_does_not_ask_again(
    place: Path, segment: Path, damage: str
) -> None:
    content = DAMAGES[damage][0](segment.read_bytes())
    segment.write_bytes(content)
    intact = states(await load_ledger(place))
    async with open_ledger(place, accept_damage=True) as ledger:
        assert len(ledger.damage) == 1
        await ledger.intend("d#0", id="d", n=1)
    async with open_ledger(place) as ledger:
        assert ledger.damage == ()
        assert states(ledger) == intact | {"d#0": "sent"}
    assert segment.with_name(f"{segment.name}.damaged").read_bytes() == content
    assert not segment.exists()


HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda data: data,
    "a lost newline": lambda data: data.replace(b"}\n", b"}", 3),
    "no newline at all": lambda data: data.replace(b"\n", b""),
    "a newline of another system": lambda data: data.replace(b"\n", b"\r\n"),
    "blank lines": lambda data: data.replace(b"\n", b"\n\n"),
    "lines doubled": lambda data: data + data,
    "a torn last line": lambda data: data + data[start_of(data, 6) :][:70],
    "a torn last line after a lost newline": lambda data: data[:-1] + data[start_of(data, 6) :][:70],
    "a torn last line of one byte": lambda data: data + b"{",
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
async def test_what_loses_nothing_that_was_acknowledged_stops_nothing(
    place: Path, segment: Path, change: Callable[[bytes], bytes]
) -> None:
    segment.write_bytes(change(segment.read_bytes()))
    async with open_ledger(place) as ledger:
        assert (states(ledger), ledger.damage) == (ALL_DONE, ())
    assert [path.name for path in segment.parent.iterdir()] == [segment.name]


async def test_each_process_may_leave_a_torn_line_at_the_end_of_its_own_file(place: Path, segment: Path) -> None:
    for item in ("x#0", "y#0"):
        for path in segment.parent.iterdir():
            path.write_bytes(path.read_bytes() + b'{"t":"int')
        async with open_ledger(place) as ledger:
            await ledger.intend(item, id=item, n=1)
    assert (await load_ledger(place)).damage == ()


async def test_consent_is_not_needed_where_the_damaged_file_was_replaced_already(place: Path, segment: Path) -> None:
    damaged = flipped(whole := segment.read_bytes(), start_of(whole, 3) + 20)
    segment.write_bytes(damaged)
    async with open_ledger(place, accept_damage=True):
        pass
    segment.write_bytes(damaged)  # as after a crash between the two
    async with open_ledger(place) as ledger:
        assert ledger.damage == ()


async def test_a_damaged_file_is_kept_where_there_are_no_hard_links(
    place: Path, segment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    content = flipped(whole := segment.read_bytes(), start_of(whole, 3) + 20)
    segment.write_bytes(content)
    monkeypatch.setattr("os.link", refuse)
    async with open_ledger(place, accept_damage=True):
        pass
    assert segment.with_name(f"{segment.name}.damaged").read_bytes() == content
