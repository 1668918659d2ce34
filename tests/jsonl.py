"""JSON lines of exactly so many bytes, which fine-tuning takes, and batches if they are 91 or more."""

from __future__ import annotations

import random

_LONGEST = 1 << 16


def json_lines(size: int, seed: int = 1) -> bytes:
    """Lines of random text, the same for the same seed; below 8 bytes they are random bytes."""
    rng, lines, left = random.Random(seed), list[bytes](), size
    head, tail = b'{"custom_id": "%08d", "method": "POST", "url": "/v1/responses", "body": {"input": "', b'"}}\n'
    least = len(head % 0) + len(tail)
    if size < least:
        return b'{"a":"%b"}' % rng.randbytes(size).hex().encode()[: size - 8] if size >= 8 else rng.randbytes(size)
    while left:
        length = left if left < _LONGEST + least else _LONGEST
        text = rng.randbytes((length - least) // 2 + 1).hex().encode()[: length - least]
        lines.append(head % len(lines) + text + tail)
        left -= length
    return b"".join(lines)
