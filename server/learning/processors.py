"""How many threads a training may use."""

from __future__ import annotations

import os


def processors() -> int:
    """Processors that this process may run on: fewer than the machine has where it is pinned to some of them."""
    return len(os.sched_getaffinity(0))
