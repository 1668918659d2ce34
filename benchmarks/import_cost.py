"""What `import asyncsdk` costs beside the libraries it stands on: CPU seconds, the minimum of interleaved runs.

python -m benchmarks.import_cost [--runs 20]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

LIBRARIES = "import aiohttp, attrs, cattrs, anyio, aiofiles"
OURS = "import asyncsdk"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=20)
    runs = options.parse_args().runs
    costs: dict[str, list[float]] = {LIBRARIES: [], OURS: []}
    for _ in range(runs):
        for statement, measured in costs.items():
            measured.append(cpu_seconds(statement))
    libraries, ours = min(costs[LIBRARIES]), min(costs[OURS])
    print(f"{LIBRARIES}: {libraries:.3f} s\n{OURS}: {ours:.3f} s\nratio: {ours / libraries:.2f}")


def cpu_seconds(statement: str) -> float:
    process = subprocess.Popen([sys.executable, "-c", statement])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{statement!r} failed")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
