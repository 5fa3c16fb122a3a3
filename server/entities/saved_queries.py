"""Queries that people gave a name, for all who use the server: a document of the data root."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.entities.documents import read_document, write_document
from server.entities.entry import missing
from server.errors import MldbError
from server.values.atoms import timestamp_text

_LONGEST_NAME: Final = 200  # characters; names are shown in lists
_LONGEST_QUERY: Final = 100_000  # characters; all of them are kept in memory, and listed together


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """``query`` is its text; it need not compile, as datasets come and go. ``saved``: seconds of the epoch."""

    name: str
    query: str
    saved: float

    def shown(self) -> dict[str, Any]:
        return {"name": self.name, "query": self.query, "saved": timestamp_text(round(self.saved, 3))}


class SavedQueries:
    """Saved queries by name. ``most`` is how many are kept."""

    def __init__(self, file: Path, most: int) -> None:
        self._file = file
        self._most = most
        self._lock = threading.Lock()
        stored = read_document(file, {})
        self._queries = {name: SavedQuery(name, each["query"], each["saved"]) for name, each in stored.items()}

    def all(self) -> list[SavedQuery]:
        """All saved queries by name, sorted as people sort them."""
        return sorted(self._queries.values(), key=lambda each: (each.name.casefold(), each.name))

    def get(self, name: str) -> SavedQuery:
        found = self._queries.get(name)
        if found is None:
            raise missing("saved query", name)
        return found

    def save(self, name: str, query: Any) -> SavedQuery:
        """Save under a name; one of that name is replaced."""
        if not isinstance(query, str) or not query.strip():
            raise MldbError('the body must be {"query": "SELECT …"}')
        if len(query) > _LONGEST_QUERY:
            raise MldbError(f"the text of a saved query has {_LONGEST_QUERY} characters at most")
        if not name.strip() or len(name) > _LONGEST_NAME:
            raise MldbError(f"the name of a saved query has 1 to {_LONGEST_NAME} characters")
        with self._lock:
            if name not in self._queries and len(self._queries) >= self._most:
                raise MldbError(
                    f"{self._most} queries are saved, the most that the setting saved-queries allows: remove one first"
                )
            saved = SavedQuery(name, query, time.time())
            self._write({**self._queries, name: saved})
        return saved

    def remove(self, name: str) -> None:
        with self._lock:
            self.get(name)
            self._write({other: query for other, query in self._queries.items() if other != name})

    def _write(self, queries: dict[str, SavedQuery]) -> None:
        write_document(self._file, {each.name: {"query": each.query, "saved": each.saved} for each in queries.values()})
        self._queries = queries
