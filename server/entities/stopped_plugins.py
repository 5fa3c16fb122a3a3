"""Which plugins their operator stopped: they stay so when the server is started again."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from server.entities.documents import read_document, write_document


class StoppedPlugins:
    """Ids of stopped plugins, in a document of the data root. Its methods wait for the disk: call them from threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._ids: frozenset[str] = frozenset(read_document(file, []))

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def add(self, id: str) -> None:
        with self._lock:
            self._write(self._ids | {id})

    def discard(self, id: str) -> None:
        with self._lock:
            self._write(self._ids - {id})

    def keep_only(self, ids: Iterable[str]) -> None:
        """Forget those that are not there any more."""
        with self._lock:
            self._write(self._ids & frozenset(ids))

    def _write(self, ids: frozenset[str]) -> None:
        if ids != self._ids:
            write_document(self._file, sorted(ids))
            self._ids = ids
