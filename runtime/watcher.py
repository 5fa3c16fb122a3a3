"""Watching folders: one observer, settled changes, only of what matters to code that has been loaded.

A save by an editor is a burst of events (write beside, rename, touch). A change counts as settled when nothing more
came for ``SETTLE_SECONDS``, which leaves most of half a second for the new generation to start.

The kernel watches a folder, whatever its name becomes. That another one has taken its place, by a rename or a link
that was moved, is seen by looking at it every ``LOOK_SECONDS``: the folder itself is then told as changed, and the new
one is watched.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.polling import PollingObserver

logger = logging.getLogger("mldb.runtime")

SETTLE_SECONDS: Final = 0.08
POLL_SECONDS: Final = 0.25
LOOK_SECONDS: Final = 1.0
_LONGEST_SECONDS: Final = 0.5  # a folder that never rests is looked at all the same

# Looked at on every request (routes.py), or not code at all.
_NEEDS_NO_RELOAD: Final = frozenset({"routes.py", "status.py"})
_RELOADS: Final = frozenset({".py", ".so", ".toml"})
_RELOAD_NAMES: Final = frozenset({"requirements.txt"})
_MAIN_SCRIPT: Final = ("main.js",)  # other JavaScript is for browsers

Changed = Callable[[frozenset[Path]], None]


def is_code(path: Path, folder: Path) -> bool:
    """Whether a change of this file of a plugin folder asks for a new generation."""
    relative = path.relative_to(folder)
    if relative.name in _NEEDS_NO_RELOAD and len(relative.parts) == 1:
        return False
    hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
    reloads = relative.suffix in _RELOADS or relative.name in _RELOAD_NAMES or relative.parts == _MAIN_SCRIPT
    return not hidden and reloads


def identity_of(folder: Path) -> tuple[int, int] | None:
    """Which folder, or what a link leads to, is there now; None for none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@dataclass(eq=False)
class FolderWatch:
    """A watched folder. ``changed`` is called from the watcher's thread with what changed, until ``stop``: the folder
    itself when another has taken its place, or none."""

    folder: Path
    matters: Callable[[Path], bool]
    changed: Changed
    recursive: bool
    _watcher: Watcher
    _watch: ObservedWatch | None = None
    identity: tuple[int, int] | None = None
    pending: set[Path] = field(default_factory=set)
    first: float = 0.0
    last: float = 0.0

    def stop(self) -> None:
        self._watcher.remove(self)

    def settled(self, now: float) -> bool:
        return bool(self.pending) and (now - self.last >= SETTLE_SECONDS or now - self.first >= _LONGEST_SECONDS)


class _Handler(FileSystemEventHandler):
    """``place``: where the folder lies, when its path is a link."""

    def __init__(self, watch: FolderWatch, place: Path, wake: Callable[[FolderWatch, Path], None]) -> None:
        self._watch = watch
        self._place = place
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in ("opened", "closed_no_write"):
            return
        for name in (event.src_path, event.dest_path):
            if name:
                self._tell(Path(os.fsdecode(name)), event.event_type)

    def _tell(self, found: Path, kind: str) -> None:
        if found == self._place and kind in ("deleted", "moved"):
            self._watch.identity = None  # a folder made in its place may get the same number
        if found.is_relative_to(self._place):
            path = self._watch.folder / found.relative_to(self._place)
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
        self._scheduling = threading.Lock()  # never taken by the observer's threads
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._observer = _observer()
        self._observer.start()
        self._thread.start()

    def stop(self) -> None:
        with self._scheduling, self._wakened:
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
        if self._observer is None:
            raise RuntimeError("start() comes before add()")
        watch = FolderWatch(folder, matters, changed, recursive, self)
        with self._scheduling:
            self._schedule(watch)
            with self._wakened:
                self._watches.append(watch)
        return watch

    def _schedule(self, watch: FolderWatch) -> None:
        assert self._observer is not None
        identity, place = identity_of(watch.folder), watch.folder.resolve()
        handler = _Handler(watch, place, self._note)
        watch._watch = self._observer.schedule(handler, str(place), recursive=watch.recursive)
        watch.identity = identity

    def remove(self, watch: FolderWatch) -> None:
        with self._scheduling:
            with self._wakened:
                if watch not in self._watches:
                    return
                self._watches.remove(watch)
                shared = any(other._watch == watch._watch for other in self._watches)
            if watch._watch is not None and self._observer is not None and not shared:
                self._observer.unschedule(watch._watch)

    def _look(self) -> None:
        """Tell of folders that others have taken the place of, and watch those instead."""
        for watch in list(self._watches):
            found = identity_of(watch.folder)
            if found is not None and found != watch.identity:
                self._watch_anew(watch)
            elif found != watch.identity:
                watch.identity = None
                self._note(watch, watch.folder)

    def _watch_anew(self, watch: FolderWatch) -> None:
        """Watch the folder that is there now, for all that watch this path: the observer knows a folder by its path."""
        with self._scheduling:
            old = watch._watch
            with self._wakened:
                sharing = [other for other in self._watches if other is watch or other._watch == old]
            if watch not in sharing or self._observer is None:
                return  # stopped meanwhile
            if old is not None:
                self._observer.unschedule(old)
            for other in sharing:
                before, other._watch = other.identity, None
                with suppress(OSError):  # gone again, or no watch to be had: the next look tries anew
                    self._schedule(other)
                if other.identity != before:
                    self._note(other, other.folder)

    def _note(self, watch: FolderWatch, path: Path) -> None:
        with self._wakened:
            watch.last = time.monotonic()
            if not watch.pending:
                watch.first = watch.last
            watch.pending.add(path)
            self._wakened.notify()

    def _run(self) -> None:
        looked = time.monotonic()
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
                    self._wakened.wait(SETTLE_SECONDS / 4 if waiting else LOOK_SECONDS)
            for watch, paths in due:
                _follow(partial(watch.changed, paths))
            if time.monotonic() - looked >= LOOK_SECONDS:
                _follow(self._look)
                looked = time.monotonic()


def _follow(change: Callable[[], None]) -> None:
    """Folders come and go while they are looked at: what fails so must not end the watching of all others."""
    try:
        change()
    except Exception:
        logger.exception("a change of a folder could not be followed")
