"""Datasets that record into another system: rows wait for the commit, which sends all of them or none."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NoReturn

from server.datasets.base import checked_columns, checked_rows, transposed
from server.declarations import Progress, QueryResult, Recorded
from server.errors import MldbError
from server.transfer.results import named_rows
from server.values.paths import parse_path


class Outbox(ABC):
    """``unreadable`` says why the dataset cannot be queried, and what can."""

    unreadable: str

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[dict[str, Any]] = []

    @abstractmethod
    def outgoing(self, row: Recorded) -> dict[str, Any]:
        """A row in the form in which it waits; ``MldbError`` for what the other system cannot hold."""

    @abstractmethod
    def send(self, waiting: list[dict[str, Any]]) -> None:
        """Write rows there; those that could not be written wait for the next commit."""

    def layout(self) -> NoReturn:
        raise MldbError(self.unreadable)

    def status(self) -> dict[str, Any]:
        return {"pendingRows": len(self._waiting)}

    def record_rows(self, rows: Iterable[Recorded]) -> None:
        outgoing = [self.outgoing(row) for row in checked_rows(rows)]
        with self._lock:
            self._waiting += outgoing

    def record_columns(self, columns: Iterable[Recorded]) -> None:
        self.record_rows(transposed(checked_columns(columns)))

    def write(self, result: QueryResult, progress: Progress) -> None:
        for name, cells in named_rows(result, progress):
            self.record_rows([(parse_path(name), [(cell.path, cell.value, cell.timestamp) for cell in cells])])
        self.commit()

    def commit(self) -> None:
        with self._lock:
            if self._waiting:
                self.send(self._waiting)
                self._waiting = []
