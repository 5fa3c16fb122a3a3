"""What queries read: the datasets and functions that they are bound to, noted while they are bound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from server.entities.entry import Ready
from server.sql.views import Layout
from server.storage.layouts import Cells, Wide


@dataclass
class BoundSources:
    """Implements ``server.declarations.Sources``."""

    _datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    _functions: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def datasets(self) -> list[dict[str, Any]]:
        return list(self._datasets.values())

    @property
    def functions(self) -> list[dict[str, Any]]:
        return list(self._functions.values())

    def dataset(self, id: str, type: str, layout: Layout) -> None:
        self._datasets[id] = {"id": id, "type": type, **_snapshot(layout)}

    def function(self, id: str, ready: Ready) -> None:
        digest = getattr(ready.entity, "digest", None)
        self._functions[id] = {"id": id, "type": ready.type.name, **({"digest": digest} if digest else {})}


def _snapshot(layout: Layout) -> dict[str, Any]:
    """The rows of stored data and what names their content; nothing of views, whose own sources are listed too."""
    if isinstance(layout, Wide):
        return {"rows": layout.rows, "version": layout.table}
    if isinstance(layout, Cells):
        return {"rows": layout.rows, "version": f"{layout.prefix}.{layout.batches}"}
    return {}


_noting: ContextVar[BoundSources | None] = ContextVar("noting", default=None)


@contextmanager
def noted() -> Iterator[BoundSources]:
    """Note what is bound in this thread until the block ends."""
    sources = BoundSources()
    token = _noting.set(sources)
    try:
        yield sources
    finally:
        _noting.reset(token)


def current() -> BoundSources | None:
    return _noting.get()
