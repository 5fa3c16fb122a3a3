"""What can be asked of a dataset without a query text: rows, columns, values, times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from server import tasks
from server.declarations import Services
from server.entities.queries import WatchedResult
from server.entities.rows import leaves, to_cells
from server.sql.views import Layout
from server.storage.database import identifier
from server.storage.layouts import ROW, TIMESTAMP, Cells, Wide, cell_times
from server.values.atoms import Atom
from server.values.batches import Cell
from server.values.paths import Path, format_path, natural_key

_FETCHED = 10_000  # rows between two looks at whether to stop


def row_names(services: Services, dataset: str, start: int = 0, limit: int = -1) -> list[str]:
    """Texts of the row paths in scan order."""
    layout = services.dataset(dataset).layout()
    end = None if limit < 0 else start + limit
    if isinstance(layout, Wide | Cells):
        return _stored_row_names(services, layout, start, None if limit < 0 else limit)
    names: list[str] = []
    for batch in WatchedResult(services.query(f"SELECT 1 AS one FROM {identifier(dataset)}")).batches():
        names.extend(batch.names.to_pylist())
        if end is not None and len(names) >= end:
            break
    return names[start:end]


def _stored_row_names(services: Services, layout: Wide | Cells, start: int, limit: int | None) -> list[str]:
    if isinstance(layout, Wide):
        source = f"SELECT {ROW}::VARCHAR FROM {identifier(layout.table)}"
    else:
        source = f"SELECT name FROM {identifier(layout.prefix + '_rows')} ORDER BY ord"
    found = _fetched(services, f"{source} LIMIT ? OFFSET ?", [2**62 if limit is None else limit, start])
    return [name for (name,) in found]


def _fetched(services: Services, sql: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
    """Rows of DuckDB's own SQL; ``Cancelled`` when the task of this thread is to stop."""
    from server.sql.engine_errors import engine_errors

    task = tasks.current()
    with engine_errors(task), services.database.readers.reader(task) as reader:
        reader.cursor.execute(sql, values)
        while rows := reader.cursor.fetchmany(_FETCHED):
            tasks.check()
            yield from rows


def column_paths(services: Services, dataset: str) -> list[Path]:
    """All column paths in natural order, embeddings spelled out."""
    layout = services.dataset(dataset).layout()
    if isinstance(layout, Cells):
        return [column.path for column in layout.columns.under(())]
    if isinstance(layout, Wide) and all(column.shape is None for column in layout.columns):
        return sorted((column.path for column in layout.columns), key=natural_key)
    found: set[Path] = set()
    for cells in _scan(services, f"SELECT * FROM {identifier(dataset)}"):
        found.update(cell.path for cell in cells)
    return sorted(found, key=natural_key)


def _scan(services: Services, query: str, *, timestamps: bool = False) -> Iterator[list[Cell]]:
    for batch in WatchedResult(services.query(query, timestamps=timestamps)).batches():
        for row in leaves(batch.rows):
            yield to_cells(row)


def resolve_column(services: Services, dataset: str, column: str) -> str:
    """The SQL spelling of a column named in a URL: one element, or, if there is no such column, a parsed path."""
    layout = services.dataset(dataset).layout()
    return identifier(column) if _has_column(layout, (column,)) else _parsed(column)


def _has_column(layout: Layout, path: Path) -> bool:
    if isinstance(layout, Cells):
        return layout.columns.get(path) is not None
    if isinstance(layout, Wide):
        return any(column.path == path for column in layout.columns)
    return "." not in path[0]


def _parsed(column: str) -> str:
    return ".".join(identifier(element) for element in column.split("."))


def value_counts(services: Services, dataset: str, column: str) -> list[tuple[Atom, int]]:
    """Distinct values of a column in order, with the number of rows that have them."""
    name = resolve_column(services, dataset, column)
    query = f'SELECT {name} AS "0", count(*) AS "1" FROM {identifier(dataset)} WHERE {name} IS NOT NULL GROUP BY {name}'
    counts: list[tuple[Atom, int]] = []
    for cells in _scan(services, query):
        by_path = {format_path(cell.path): cell.value for cell in cells}
        count = by_path["1"]
        assert isinstance(count, int)
        counts.append((by_path["0"], count))
    return counts


def distinct_values(services: Services, dataset: str, column: str) -> list[Atom]:
    return [value for value, _ in value_counts(services, dataset, column)]


def timestamp_range(services: Services, dataset: str) -> tuple[float, float]:
    """Earliest and latest timestamp of any cell; NaN twice when there is none."""
    layout = services.dataset(dataset).layout()
    if isinstance(layout, Wide | Cells):
        return _stored_range(services, layout)
    times = [
        cell.timestamp
        for cells in _scan(services, f"SELECT * FROM {identifier(dataset)}", timestamps=True)
        for cell in cells
        if math.isfinite(cell.timestamp)
    ]
    return (min(times), max(times)) if times else (math.nan, math.nan)


def _stored_range(services: Services, layout: Wide | Cells) -> tuple[float, float]:
    if isinstance(layout, Wide):
        source, time = identifier(layout.table), TIMESTAMP
    else:
        source, time = f"({cell_times(layout)})", "ts"
    ((earliest, latest),) = _fetched(services, f"SELECT min({time}), max({time}) FROM {source} WHERE isfinite({time})")
    return (math.nan, math.nan) if earliest is None or latest is None else (earliest, latest)
