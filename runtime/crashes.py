"""How often a plugin's worker has ended lately, and how long its restart waits for that."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

# Seconds before a restart after so many crashes within the window; the first is at once.
_PAUSES: Final = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_WINDOW_SECONDS: Final = 120.0


class Crashes:
    def __init__(self) -> None:
        self._moments: deque[float] = deque(maxlen=len(_PAUSES))

    def note(self) -> None:
        self._moments.append(time.monotonic())

    def recent(self) -> int:
        """How many, as far as they matter."""
        oldest = time.monotonic() - _WINDOW_SECONDS
        return sum(1 for moment in self._moments if moment > oldest)

    def pause(self) -> float:
        """Seconds that the next restart waits."""
        return _PAUSES[min(max(self.recent() - 1, 0), len(_PAUSES) - 1)]
