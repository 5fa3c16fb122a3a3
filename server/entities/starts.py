"""Starts of plugins: in their order, as one may use what another has made, but none holds up the others for long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

_PATIENCE_SECONDS: Final = 2.0  # with one, before the next one is begun too


class Starts:
    """The starts of one server. Called from one thread."""

    def __init__(self) -> None:
        self._begun: list[threading.Thread] = []

    def begin(self, start: Callable[[], None]) -> None:
        """Start a plugin; returns when it has started, or takes its time."""
        thread = threading.Thread(target=start, name="plugin start", daemon=True)
        thread.start()
        thread.join(_PATIENCE_SECONDS)
        self._begun.append(thread)

    def wait(self) -> None:
        """Wait until all starts that were begun have ended."""
        for thread in self._begun:
            thread.join()
