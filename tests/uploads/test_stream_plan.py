"""How a stream is cut: parts that fit into the shared memory, and those of earlier runs as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.uploads.chunking import BLOCK, LARGEST_STREAM_PART, MIB, Range, next_of_stream, stream_part_size


@pytest.mark.parametrize(
    ("connections", "part_size", "size"),
    [
        (8, 64 * MIB, 6 * MIB),
        (32, 64 * MIB, 3 * MIB // 2),
        (1, 64 * MIB, 16 * MIB),
        (256, 64 * MIB, BLOCK),
        (8, MIB, MIB),
    ],
)
def test_each_connection_has_a_part_and_others_are_filled(connections: int, part_size: int, size: int) -> None:
    assert stream_part_size(part_size, 64 * MIB, connections) == size
    assert size * (connections + 1) <= 64 * MIB or connections > 126
    assert size <= LARGEST_STREAM_PART


@given(st.sets(st.integers(0, 40)), st.integers(1, 41 * BLOCK), st.integers(1, 6))
def test_all_of_a_stream_is_read_in_order_and_once(starts: set[int], size: int, blocks: int) -> None:
    """Whatever is held: what earlier runs sent is read as it was cut, the rest in parts of this run."""
    ends = [*sorted(starts)[1:], 41]
    held = [
        Range(start * BLOCK, min(end, start + 3) * BLOCK - start * BLOCK)
        for start, end in zip(sorted(starts), ends, strict=False)
    ]
    held = [span for span in held if span.end <= size]
    offset, spans = 0, []
    while offset < size:
        spans.append(next_of_stream(offset, size, blocks * BLOCK, held))
        assert spans[-1].offset == offset
        assert spans[-1].length > 0
        offset = spans[-1].end
    assert offset == size
    assert set(held) <= set(spans)
