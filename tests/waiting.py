"""Waiting for what another thread, process or page does: for the thing itself, with one patience for all tests.

What must be cheap is measured in processor time, and held against a limit that knows how quick the machine is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# Seconds after which what is waited for is said not to come. Only a defect takes so long, however busy the machine.
PATIENCE = 60.0
# Seconds that something may take which does not wait for the end of other work: that work has to take far longer.
SOON = 15.0


_PAUSE = 0.02  # seconds between two looks


def until(condition: Callable[[], Found], what: object = "it did not come about", seconds: float = PATIENCE) -> Found:
    """The first result of ``condition`` that is true. ``what``, or what it returns, is told when none comes."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(_PAUSE)
    return found


async def until_async(condition: Callable[[], Found]) -> Found:
    """``until``, while the tasks of the event loop go on."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(_PAUSE)
    return found


# Seconds of processor time that the yardstick takes on the machine that limits were set on.
_YARDSTICK = 0.02


def slowness() -> float:
    """How many times slower this machine computes than the one that limits of processor time were set on; 1 or more."""

    def seconds() -> float:
        begun = time.thread_time()
        sum(number * number % 7 for number in range(300_000))
        return time.thread_time() - begun

    return max(1.0, min(seconds() for _ in range(3)) / _YARDSTICK)
