"""However a file is cut, over however many runs, the pieces are exactly the file, and every cut lies on the grid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.errors import ConfigurationError, SourceError
from asyncsdk.uploads.chunking import (
    BLOCK,
    LARGEST_FILE,
    LARGEST_PART,
    MIB,
    Pending,
    Range,
    checked_part_size,
    checked_size,
    covers,
    fitting_part_size,
    gaps,
    usual_part_size,
)

sizes = st.integers(1, 40 * BLOCK) | st.integers(1, 40).map(lambda blocks: blocks * BLOCK)
part_sizes = st.integers(1, 12).map(lambda blocks: blocks * BLOCK)


def all_of(pending: Pending) -> list[Range]:
    return list(iter(pending.take, None))


@given(size=sizes, runs=st.lists(st.tuples(part_sizes, st.integers(0, 2**40)), min_size=1, max_size=5))
def test_runs_with_any_part_sizes_that_stop_anywhere_make_up_exactly_the_file(
    size: int, runs: list[tuple[int, int]]
) -> None:
    held: list[Range] = []
    for part_size, arrived in runs:
        pieces = all_of(Pending(part_size, gaps(size, held)))
        assert all(piece.length <= part_size for piece in pieces)
        held += [piece for number, piece in enumerate(pieces) if arrived >> number & 1]
    held += all_of(Pending(BLOCK, gaps(size, held)))
    assert covers(size, sorted(held))
    assert all(span.offset % BLOCK == 0 and (span.end % BLOCK == 0 or span.end == size) for span in held)


@given(size=sizes, spans=st.lists(st.tuples(st.integers(0, 40 * BLOCK), st.integers(1, 9 * BLOCK))))
def test_gaps_are_what_no_span_touches_however_they_overlap(size: int, spans: list[tuple[int, int]]) -> None:
    held = [Range(offset % size, min(length, size - offset % size)) for offset, length in spans]
    found = gaps(size, held)
    edges = sorted({0, size, *(span.offset for span in held + found), *(span.end for span in held + found)})
    for start in edges[:-1]:
        in_held = any(span.offset <= start < span.end for span in held)
        assert in_held != any(gap.offset <= start < gap.end for gap in found)
    assert found == sorted(found)
    assert all(gap.length > 0 for gap in found)


@given(size=sizes, part_size=part_sizes, refused_above=part_sizes)
def test_pieces_too_large_for_the_server_come_back_smaller_until_all_went(
    size: int, part_size: int, refused_above: int
) -> None:
    pending, sent = Pending(part_size, gaps(size, [])), []
    while (piece := pending.take()) is not None:
        if piece.length > refused_above:
            assert pending.shrink_below(piece.length)
            pending.put_back(piece)
        else:
            sent.append(piece)
    assert covers(size, sorted(sent))
    assert all(piece.offset % BLOCK == 0 for piece in sent)


def test_pieces_of_one_size_refused_together_halve_it_once() -> None:
    pending = Pending(8 * BLOCK, [Range(0, 24 * BLOCK)])
    for piece in [pending.take(), pending.take()]:
        assert piece is not None
        assert pending.shrink_below(piece.length)
        pending.put_back(piece)
    assert pending.part_size == 4 * BLOCK
    assert pending.take() == Range(0, 4 * BLOCK)


def test_a_block_can_not_be_cut_any_smaller() -> None:
    pending = Pending(4 * BLOCK, [])
    assert not pending.shrink_below(BLOCK)
    assert pending.part_size == 4 * BLOCK


def test_a_short_piece_that_is_too_large_makes_later_ones_shorter_than_itself() -> None:
    pending = Pending(8 * BLOCK, [])
    assert pending.shrink_below(2 * BLOCK + 1)
    assert pending.part_size == BLOCK


@given(size=sizes, part_size=part_sizes)
def test_as_many_pieces_are_left_as_can_be_taken(size: int, part_size: int) -> None:
    pending = Pending(part_size, gaps(size, [Range(size // 2, 1)]))
    expected = pending.pieces()
    assert len(all_of(pending)) == expected
    assert (pending.pieces(), pending.take()) == (0, None)


def test_a_piece_put_back_is_taken_in_its_place() -> None:
    pending = Pending(BLOCK, gaps(3 * BLOCK, []))
    first = pending.take()
    assert first == Range(0, BLOCK)
    pending.put_back(first)
    assert all_of(pending) == [Range(0, BLOCK), Range(BLOCK, BLOCK), Range(2 * BLOCK, BLOCK)]


@pytest.mark.parametrize(
    ("held", "whole"),
    [
        ([Range(0, 10)], True),
        ([Range(0, 4), Range(4, 6)], True),
        ([], False),
        ([Range(0, 4)], False),
        ([Range(0, 4), Range(5, 5)], False),
        ([Range(0, 6), Range(4, 6)], False),
        ([Range(4, 6), Range(0, 4)], False),
        ([Range(0, 11)], False),
    ],
)
def test_a_file_is_covered_by_each_byte_once_in_order(held: list[Range], whole: bool) -> None:  # noqa: FBT001 - a column
    assert covers(10, held) is whole


@pytest.mark.parametrize(("asked", "granted"), [(1, BLOCK), (BLOCK, BLOCK), (BLOCK + 1, MIB), (64 * MIB, 64 * MIB)])
def test_a_part_size_is_rounded_up_to_the_grid(asked: int, granted: int) -> None:
    assert checked_part_size(asked) == granted


@pytest.mark.parametrize("asked", [0, -1, LARGEST_PART + 1])
def test_a_part_size_that_no_server_takes_is_refused(asked: int) -> None:
    with pytest.raises(
        ConfigurationError, match=r"part size must be an integer from 1 byte to 64 MiB .*Nothing was sent"
    ):
        checked_part_size(asked)


def test_a_file_has_1_byte_to_8_gib() -> None:
    assert [checked_size(size, "x") for size in (1, LARGEST_FILE)] == [1, LARGEST_FILE]
    with pytest.raises(SourceError, match=r"data\.bin is empty.* Nothing was sent"):
        checked_size(0, "data.bin")
    with pytest.raises(SourceError, match=r"data\.bin has 8,589,934,593 bytes; .* at most 8 GiB.* Nothing was sent"):
        checked_size(LARGEST_FILE + 1, "data.bin")


@pytest.mark.parametrize(
    ("size", "concurrency", "part_size"),
    [
        (1, 8, 8 * MIB),
        (256 * MIB, 8, 8 * MIB),
        (320 * MIB, 8, 10 * MIB),
        (320 * MIB + 1, 8, 10 * MIB + BLOCK),
        (LARGEST_FILE, 8, 64 * MIB),
        (LARGEST_FILE, 256, 8 * MIB),
        (64 * MIB, 1, 16 * MIB),
    ],
)
def test_the_usual_part_gives_each_connection_four_within_8_and_64_mib(
    size: int, concurrency: int, part_size: int
) -> None:
    assert usual_part_size(size, concurrency) == part_size


@pytest.mark.parametrize(
    ("flow", "part_size"),
    [(None, 16 * MIB), (1, MIB), (MIB / 4, 2.5 * MIB), (2 * MIB, 20 * MIB), (2 * MIB + 1, 20 * MIB + BLOCK)],
)
def test_the_next_part_takes_ten_seconds_at_most_on_a_line_that_lets_a_mib_through_by_then(
    flow: float | None, part_size: int
) -> None:
    assert fitting_part_size(64 * MIB, flow, share=8 << 30) == part_size


@pytest.mark.parametrize(
    ("share", "part_size"),
    [(200 * MIB, 64 * MIB), (100 * MIB, 50 * MIB), (22 * MIB, 11 * MIB), (20 * MIB, 20 * MIB), (9, MIB), (0, MIB)],
)
def test_towards_the_end_a_part_is_half_a_connections_share_and_all_of_it_once_half_is_sent_in_a_second(
    share: int, part_size: int
) -> None:
    assert fitting_part_size(64 * MIB, 10 * MIB, share) == part_size


@given(usual=part_sizes, flow=st.none() | st.floats(1, 1e12), share=st.integers(0, LARGEST_FILE))
def test_a_part_that_fits_is_on_the_grid_and_never_larger_than_usual(
    usual: int, flow: float | None, share: int
) -> None:
    size = fitting_part_size(usual, flow, share)
    assert 0 < size <= usual
    assert size % BLOCK == 0


@given(
    size=st.integers(1, 1 << 30), usual=st.integers(16, 128), connections=st.integers(1, 16), flow=st.floats(1e5, 1e8)
)
def test_connections_of_one_speed_end_within_a_part_of_one_mib_of_each_other(
    size: int, usual: int, connections: int, flow: float
) -> None:
    pending, ends = Pending(64 * MIB, [Range(0, size)]), [0.0] * connections
    while True:
        free = min(range(connections), key=ends.__getitem__)
        now = ends[free]
        left = size - sum(min(end, now) * flow for end in ends)
        piece = pending.take(fitting_part_size(usual * BLOCK, flow, int(left) // connections))
        if piece is None:
            break
        ends[free] += piece.length / flow
    assert max(ends) - size / connections / flow <= (MIB + BLOCK) / flow


def test_a_piece_can_be_asked_for_that_is_smaller_than_a_part() -> None:
    pending = Pending(4 * BLOCK, [Range(0, 9 * BLOCK)])
    assert [pending.take(2 * BLOCK), pending.take(), pending.take(8 * BLOCK), pending.take()] == [
        Range(0, 2 * BLOCK),
        Range(2 * BLOCK, 4 * BLOCK),
        Range(6 * BLOCK, 3 * BLOCK),
        None,
    ]


@pytest.mark.parametrize(
    ("rate", "part_size"), [(None, 32 * MIB), (20_000_000, 5 * MIB), (1, BLOCK), (10_000_000_000, 32 * MIB)]
)
def test_under_a_slow_rate_parts_are_small_so_that_a_kill_costs_little(rate: float | None, part_size: int) -> None:
    assert usual_part_size(1 << 30, 8, rate) == part_size
