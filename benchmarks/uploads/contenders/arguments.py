"""What every contender is told."""

from __future__ import annotations

import argparse
from pathlib import Path

from attrs import frozen


@frozen
class Arguments:
    """`part_size` (bytes) is None where the contender chooses, as it does the `connections` where they are 0.

    `stall_to` takes the longest stall of the loop, `course_to` what had gone when; `method` is one of asyncsdk's,
    `url` where a stream comes from.
    """

    path: Path
    md5: bool
    connections: int
    part_size: int | None
    stall_to: Path | None
    course_to: Path | None
    method: str | None
    url: str | None


def arguments() -> Arguments:
    options = argparse.ArgumentParser()
    options.add_argument("path", type=Path)
    options.add_argument("--md5", action="store_true")
    options.add_argument("--connections", type=int, default=8)
    options.add_argument("--part-size", type=int)
    options.add_argument("--stall-to", type=Path)
    options.add_argument("--course-to", type=Path)
    options.add_argument("--method")
    options.add_argument("--url")
    return Arguments(**vars(options.parse_args()))
