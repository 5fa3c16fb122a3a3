"""Aggregates over the cells of open rows, in plain Python: the counterpart of ``server.sql.binder.aggregates``."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable

from server.sql.functions.conversions import as_number
from server.values.atoms import NEVER, Atom, sort_key
from server.values.batches import Cell
from server.values.paths import Path


def by_path(cells: Iterable[Cell]) -> dict[Path, list[Cell]]:
    """Cells grouped by their paths, in the order in which these come."""
    groups: dict[Path, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.path, []).append(cell)
    return groups


def _newest(cells: list[Cell]) -> float:
    return max((cell.timestamp for cell in cells), default=NEVER)


def _folding(fold: Callable[[list[Atom]], Atom]) -> Callable[[Path, list[Cell]], Cell]:
    """An aggregate of the non-null values, at the newest timestamp of them."""

    def build(path: Path, cells: list[Cell]) -> Cell:
        used = [cell for cell in cells if cell.value is not None]
        return Cell(path, fold([cell.value for cell in used]), _newest(used))

    return build


def _choosing(choose: Callable[[list[Cell]], Cell], none: float = NEVER) -> Callable[[Path, list[Cell]], Cell]:
    """An aggregate that is one of the cells; ``none`` is the timestamp of the null where there are none."""

    def build(path: Path, cells: list[Cell]) -> Cell:
        used = [cell for cell in cells if cell.value is not None]
        return choose(used) if used else Cell(path, None, none)

    return build


def _spread(fold: Callable[[list[float]], float]) -> Callable[[list[Atom]], Atom]:
    return lambda values: fold([as_number(value) for value in values]) if len(values) > 1 else math.nan


AGGREGATES: dict[str, Callable[[Path, list[Cell]], Cell]] = {
    "count": _folding(len),
    "count_distinct": _folding(lambda values: len(set(values))),
    "sum": _folding(lambda values: math.fsum(map(as_number, values))),
    "avg": _folding(lambda values: math.fsum(map(as_number, values)) / len(values) if values else math.nan),
    "variance": _folding(_spread(statistics.variance)),
    "stddev": _folding(_spread(statistics.stdev)),
    "min": _choosing(lambda cells: min(cells, key=lambda c: (sort_key(c.value), c.timestamp))),
    "max": _choosing(lambda cells: max(cells, key=lambda c: (sort_key(c.value), -c.timestamp))),
    "earliest": _choosing(lambda cells: min(cells, key=lambda c: (c.timestamp, sort_key(c.value))), math.inf),
    "latest": _choosing(lambda cells: min(cells, key=lambda c: (-c.timestamp, sort_key(c.value)))),
}
