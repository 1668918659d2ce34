"""Random tokens that are never made twice, for what need not be a secret: without a call of the system for each (pure).

`secrets` asks the system each time, which takes longer than all else that is done with a token.
"""

from __future__ import annotations

import os
import random

_random = random.Random()  # not the module's own, which a program may seed with the same number in each run
if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_random.seed)


def token() -> str:
    """32 hex digits."""
    return f"{_random.getrandbits(128):032x}"
