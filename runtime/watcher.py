"""Watching folders: one observer, settled changes, only of what matters to code that has been loaded.

A save by an editor is a burst of events (write beside, rename, touch). A change counts as settled when nothing more
came for ``SETTLE_SECONDS``, which leaves most of half a second for the new generation to start.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.polling import PollingObserver

logger = logging.getLogger("mldb.runtime")

SETTLE_SECONDS: Final = 0.08
POLL_SECONDS: Final = 0.25
_LONGEST_SECONDS: Final = 0.5  # a folder that never rests is looked at all the same

# Looked at on every request (routes.py), or not code at all.
_NEEDS_NO_RELOAD: Final = frozenset({"routes.py", "status.py"})
_RELOADS: Final = frozenset({".py", ".so", ".toml"})
_RELOAD_NAMES: Final = frozenset({"requirements.txt"})

Changed = Callable[[frozenset[Path]], None]


def is_code(path: Path, folder: Path) -> bool:
    """Whether a change of this file of a plugin folder asks for a new generation."""
    relative = path.relative_to(folder)
    if relative.name in _NEEDS_NO_RELOAD and len(relative.parts) == 1:
        return False
    hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
    return not hidden and (relative.suffix in _RELOADS or relative.name in _RELOAD_NAMES)


@dataclass
class FolderWatch:
    """A watched folder. ``changed`` is called from the watcher's thread with what changed, until ``stop``."""

    folder: Path
    matters: Callable[[Path], bool]
    changed: Changed
    _watcher: Watcher
    _watch: ObservedWatch | None = None
    pending: set[Path] = field(default_factory=set)
    first: float = 0.0
    last: float = 0.0

    def stop(self) -> None:
        self._watcher.remove(self)

    def settled(self, now: float) -> bool:
        return bool(self.pending) and (now - self.last >= SETTLE_SECONDS or now - self.first >= _LONGEST_SECONDS)


class _Handler(FileSystemEventHandler):
    def __init__(self, watch: FolderWatch, wake: Callable[[FolderWatch, Path], None]) -> None:
        self._watch = watch
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in ("opened", "closed_no_write"):
            return
        for name in (event.src_path, event.dest_path):
            if name:
                path = Path(os.fsdecode(name))
                if self._watch.matters(path):
                    self._wake(self._watch, path)


def _observer() -> BaseObserver:
    """The kernel's notifications; where it has none to give (its limit is reached), regular looks at the folders."""
    try:
        return Observer()
    except OSError as error:
        logger.warning("folders are looked at every %s s, as the kernel does not tell: %s", POLL_SECONDS, error)
        return PollingObserver(timeout=POLL_SECONDS)


class Watcher:
    """Watches any number of folders with one observer and one thread. Thread-safe."""

    def __init__(self) -> None:
        self._observer: BaseObserver | None = None
        self._watches: list[FolderWatch] = []
        self._wakened = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._observer = _observer()
        self._observer.start()
        self._thread.start()

    def stop(self) -> None:
        with self._wakened:
            self._stopping = True
            self._watches.clear()  # the observer forgets them all: none is left to remove
            self._wakened.notify()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._thread.join()

    def watch(self, folder: Path, changed: Changed) -> FolderWatch:
        """Tell of changes of code in a plugin folder."""
        return self.add(folder, lambda path: is_code(path, folder), changed)

    def add(
        self, folder: Path, matters: Callable[[Path], bool], changed: Changed, *, recursive: bool = True
    ) -> FolderWatch:
        """Tell of changes below a folder that matter."""
        watch = FolderWatch(folder, matters, changed, self)
        with self._wakened:
            self._watches.append(watch)
        if self._observer is None:
            raise RuntimeError("start() comes before add()")
        watch._watch = self._observer.schedule(_Handler(watch, self._note), str(folder), recursive=recursive)
        return watch

    def remove(self, watch: FolderWatch) -> None:
        with self._wakened:
            if watch not in self._watches:
                return
            self._watches.remove(watch)
            shared = any(other._watch == watch._watch for other in self._watches)
        if watch._watch is not None and self._observer is not None and not shared:
            self._observer.unschedule(watch._watch)

    def _note(self, watch: FolderWatch, path: Path) -> None:
        with self._wakened:
            watch.last = time.monotonic()
            if not watch.pending:
                watch.first = watch.last
            watch.pending.add(path)
            self._wakened.notify()

    def _run(self) -> None:
        while True:
            due: list[tuple[FolderWatch, frozenset[Path]]] = []
            with self._wakened:
                if self._stopping:
                    return
                now = time.monotonic()
                for watch in self._watches:
                    if watch.settled(now):
                        due.append((watch, frozenset(watch.pending)))
                        watch.pending.clear()
                if not due:
                    waiting = any(watch.pending for watch in self._watches)
                    self._wakened.wait(SETTLE_SECONDS / 4 if waiting else None)
            for watch, paths in due:
                watch.changed(paths)
