"""What Dask calls on a worker: starts a copy of the run there, if its asyncsdk is that of the driver."""

from __future__ import annotations

import json
from importlib import import_module

from asyncsdk import version
from asyncsdk.images.dask.task import CopyEnd

PROGRAM = "asyncsdk.images.dask.copy"  # by name: it is the program of another process, begun from its own top


def start(text: str) -> str:
    """Run the copy that `text` describes, and return how it ended, as text."""
    theirs, ours = json.loads(text).get("asyncsdk"), version.__version__
    if theirs != ours:
        return CopyEnd(
            kind="ConfigurationError",
            message=f"this worker has asyncsdk {ours}, and the driver has {theirs}. Nothing was sent from it. Install "
            "the same version on both.",
        ).as_text()
    ended: str = import_module(PROGRAM).run(text)
    return ended
