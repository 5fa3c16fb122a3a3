"""Requests of the last minute: how many there were, and how long they took."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

_WINDOW_SECONDS: Final = 60
_TIMES_KEPT: Final = 1024  # of the latest requests; enough for a percentile


class Traffic:
    """Counts by the second. ``note`` is called for every request: it must cost next to nothing."""

    def __init__(self) -> None:
        self.total = 0
        self.failed = 0
        self._seconds: deque[tuple[int, int]] = deque(maxlen=_WINDOW_SECONDS)  # (second, requests that ended in it)
        self._times: deque[tuple[float, float]] = deque(maxlen=_TIMES_KEPT)  # (end, duration)
        self._second = 0
        self._count = 0

    def note(self, began: float, *, failed: bool = False) -> None:
        """A request that began at this time of ``time.monotonic`` has ended."""
        now = time.monotonic()
        self.total += 1
        self.failed += failed
        if int(now) != self._second:
            self._seconds.append((self._second, self._count))
            self._second, self._count = int(now), 0
        self._count += 1
        self._times.append((now, now - began))

    def plain(self) -> dict[str, Any]:
        """``perSecond`` over the last ten whole seconds; ``p95`` in seconds, absent when there was no request."""
        now = time.monotonic()
        recent = [count for second, count in self._counts() if int(now) - 10 <= second < int(now)]
        shown: dict[str, Any] = {"total": self.total, "failed": self.failed, "perSecond": sum(recent) / 10}
        times = sorted(duration for end, duration in list(self._times) if now - end <= _WINDOW_SECONDS)
        if times:
            shown["p95"] = times[min(len(times) - 1, int(0.95 * len(times)))]
        return shown

    def _counts(self) -> list[tuple[int, int]]:
        return [*list(self._seconds), (self._second, self._count)]
