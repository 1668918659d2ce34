"""Who takes part, and how each is started."""

from __future__ import annotations

import sys
from pathlib import Path

from attrs import frozen


@frozen
class Contender:
    """A module of this package, or `curl`, or `md5` alone."""

    program: str
    md5: bool


def _both(name: str, program: str) -> dict[str, Contender]:
    return {name: Contender(program, md5=False), f"{name}, md5": Contender(program, md5=True)}


CONTENDERS = {
    **_both("asyncsdk", "ours"),
    **_both("raw sockets in threads", "raw_threads"),
    **_both("curl --parallel", "curl"),
    **_both("openai gather 8 x 16 MiB", "openai_gather"),
    **_both("openai upload_file_chunked", "openai_chunked"),
    "md5 alone (openssl)": Contender("md5", md5=True),
}


def command(contender: Contender, path: Path, *options: str, connections: int = 8) -> list[str]:
    if contender.program == "md5":
        return ["openssl", "md5", "-out", "/dev/null", str(path)]
    if contender.program == "curl":
        script = Path(__file__).with_name("curl_parallel.sh")
        return [str(script), str(path), str(connections), "md5" if contender.md5 else ""]
    module = f"benchmarks.uploads.contenders.{contender.program}"
    md5 = ["--md5"] if contender.md5 else []
    return [sys.executable, "-m", module, str(path), "--connections", str(connections), *md5, *options]
