"""A watchdog for event loops: which callback held the loop for too long, and where it was while it did.

Wall time alone accuses the innocent on a loaded machine: a callback that waits for a processor, or for a thread that
holds the interpreter, takes long as well. So time is counted in ticks of the watchdog's own thread, which waits for
both as the loop does, and in processor time of the loop's thread, as a call into C that keeps the interpreter stops
the ticks too.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from dataclasses import dataclass

TICK_SECONDS = 0.01


@dataclass
class Held:
    """A callback that held the loop: seconds in ticks and on the processor, and the stack when that was seen."""

    callback: str
    ticks: float
    processor: float
    stack: str

    def __str__(self) -> str:
        return f"{self.callback}: {self.ticks:.3f} s, {self.processor:.3f} s of processor time\n{self.stack}"


class LoopWatch:
    """Watches a loop in debug mode, which names the callback that runs. ``seconds`` is what a callback may take."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, seconds: float) -> None:
        assert loop.get_debug()
        assert thread.ident is not None
        self.found: list[Held] = []
        self._loop = loop
        self._ident = thread.ident
        self._clock = time.pthread_getcpuclockid(thread.ident)
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop watch")
        self._thread.start()

    def stop(self) -> None:
        """Before the loop's thread ends: its processor clock ends with it."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        running, since, held = None, 0.0, Held("", 0, 0, "")
        while not self._stop.wait(TICK_SECONDS):
            now = getattr(self._loop, "_current_handle", None)
            processor = time.clock_gettime(self._clock)
            if now is not running or now is None:
                running, since, held = now, processor, Held(repr(now), 0, 0, "")
                continue
            held.ticks += TICK_SECONDS
            held.processor = processor - since
            if max(held.ticks, held.processor) > self._seconds:
                self._keep(held)

    def _keep(self, held: Held) -> None:
        """The stack of the first moment beyond the limit; the times grow on."""
        if not held.stack:
            held.stack = "".join(traceback.format_stack(sys._current_frames()[self._ident]))
            self.found.append(held)
