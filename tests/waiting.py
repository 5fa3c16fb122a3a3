"""Waiting for what another thread, process or page does: for the thing itself, with one patience for all tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# Seconds after which what is waited for is said not to come. Only a defect takes so long, however busy the machine.
PATIENCE = 60.0
# Seconds that something may take which does not wait for the end of other work: that work has to take far longer.
SOON = 15.0


def until(condition: Callable[[], Found], what: object = "it did not come about", seconds: float = PATIENCE) -> Found:
    """The first result of ``condition`` that is true. ``what`` is told when none comes."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found
