"""The pace of `edit_many` against a server that limits input images a minute: as given, and as learned from its 429s.

    python -m benchmarks.pacing [--limit 1200] [--seconds 60] [--concurrency 16]

The embedded server and the client run in processes of their own, on one machine: what the server takes to edit is
CPU that the client does not get. Exits with 1 where less than 90 % of the limit is used, where more calls than
run at once are refused in one episode, or where any is refused at the given rate.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import asdict, frozen

from asyncsdk import Client, ImageEdit, ImageEditor
from asyncsdk.errors import RateLimitError
from asyncsdk.limiter import RateLimiter
from asyncsdk.ratelimit import Permit

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC")


@frozen
class Run:
    """Images that were made, in so many seconds; how many calls were refused, by episode."""

    images: int
    seconds: float
    refused: list[int]

    @property
    def per_minute(self) -> float:
        return self.images * 60 / self.seconds


@contextmanager
def serving(limit: int) -> Iterator[str]:
    """The embedded server in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "asyncsdk", "serve", "--port", "0", "--data", folder]
        command += ["--images-per-minute", str(limit)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                yield json.loads(server.stdout.readline())["url"]
            finally:
                server.terminate()


def refusals_of(pacer: type[RateLimiter]) -> Counter[int]:
    """Count from now on what each episode refuses."""
    found: Counter[int] = Counter()
    refused = pacer.refused

    def counted(self: RateLimiter, error: RateLimitError, permit: Permit) -> None:
        found[permit.episode] += 1
        refused(self, error, permit)

    pacer.refused = counted  # type: ignore[method-assign]  # nothing public tells of single refusals
    return found


async def edit(url: str, rate: float | None, seconds: float, concurrency: int) -> Run:
    """Edit for so long. It is timed from the first answer, so that starting does not count."""
    refused, done, began = refusals_of(RateLimiter), 0, 0.0
    edits = (ImageEdit(image=PIXEL, prompt=f"a beret {n}", model="tiny") for n in itertools.count())
    async with Client("sk-none", base_url=url) as client:
        editor = ImageEditor(client, check=False)
        async with editor.edit_many(edits, concurrency=concurrency, images_per_minute=rate) as outcomes:
            async for outcome in outcomes:
                if outcome.status != "done":
                    sys.exit(f"{outcome.id} is {outcome.status}: {outcome.problem}")
                began = began or time.monotonic()
                done += 1
                if time.monotonic() >= began + seconds:
                    break
    return Run(done - 1, time.monotonic() - began, list(refused.values()))


def measure(limit: int, given: bool, seconds: float, concurrency: int) -> Run:  # noqa: FBT001 - one of the two rows
    """A run in a process of its own, against a server of its own."""
    with serving(limit) as url:
        rate = str(limit) if given else "learned"
        command = [sys.executable, "-m", "benchmarks.pacing", "--client", url, rate]
        command += ["--seconds", str(seconds), "--concurrency", str(concurrency)]
        return Run(**json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))


def report(runs: dict[str, Run], limit: int, concurrency: int) -> bool:
    """Print the table. Whether all that must hold does."""
    print(f"limit {limit:,} input images a minute, concurrency {concurrency}\n")
    print("| rate | seconds | images per minute | of the limit | episodes | refused in one, most | refused in all |")
    print("|---|---|---|---|---|---|---|")
    holds = True
    for name, run in runs.items():
        share, most = run.per_minute / limit, max(run.refused, default=0)
        print(
            f"| {name} | {run.seconds:.1f} | {run.per_minute:,.0f} | {share:.1%} | {len(run.refused)} "
            f"| {most} | {sum(run.refused)} |"
        )
        holds = holds and share >= 0.9 and most <= (0 if name == "given" else concurrency)
    return holds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--limit", type=int, default=1200)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--concurrency", type=int, default=16)
    options.add_argument("--client", nargs=2, metavar=("URL", "RATE"), help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.client:
        url, rate = asked.client
        run = edit(url, None if rate == "learned" else float(rate), asked.seconds, asked.concurrency)
        print(json.dumps(asdict(asyncio.run(run))))
        return
    kinds = {"given": True, "learned": False}
    runs = {name: measure(asked.limit, given, asked.seconds, asked.concurrency) for name, given in kinds.items()}
    sys.exit(0 if report(runs, asked.limit, asked.concurrency) else 1)


if __name__ == "__main__":
    main()
