"""What the columns of a dataset hold: kinds, fill, range, distribution; of the first rows, so that it stays quick."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from server.declarations import Progress, Services
from server.entities.inspection import column_paths
from server.storage.database import identifier
from server.values.atoms import Atom, atom_to_json
from server.values.cells import atoms_of, cells_of
from server.values.paths import Path, format_path

ROWS: Final = 20_000  # that are looked at
BINS: Final = 20
_TOP: Final = 8  # most frequent values shown
_MOST_COLUMNS: Final = 100  # of one answer


def profile(
    services: Services, dataset: str, search: str, offset: int, limit: int, progress: Progress
) -> dict[str, Any]:
    """``{total, rows, columns}``: how many columns match, how many rows were looked at, and a page of columns."""
    wanted = search.lower()
    paths = [path for path in column_paths(services, dataset) if wanted in format_path(path).lower()]
    page = paths[offset : offset + min(limit, _MOST_COLUMNS)]
    rows, values = _values(services, dataset, page, progress)
    columns = [column_profile(format_path(path), values[index], rows) for index, path in enumerate(page)]
    return {"total": len(paths), "rows": rows, "columns": columns}


def _values(services: Services, dataset: str, page: Sequence[Path], progress: Progress) -> tuple[int, list[list[Atom]]]:
    """The atoms of the columns, in the first rows."""
    values: list[list[Atom]] = [[] for _ in page]
    if not page:
        return 0, values
    names = ", ".join(f'{".".join(map(identifier, path))} AS "{index}"' for index, path in enumerate(page))
    rows = 0
    for batch in services.query(f"SELECT {names} FROM {identifier(dataset)} LIMIT {ROWS}").batches(progress):
        rows += batch.rows.length
        for column, array in zip(batch.rows.type.columns, batch.rows.values, strict=True):
            if column.shape is None:
                values[int(column.path[0])].extend(atoms_of(array, column.kind))
        for cells in () if batch.rows.rest is None else cells_of(batch.rows.rest):
            latest = {cell.path: cell.value for cell in sorted(cells, key=lambda cell: cell.timestamp)}
            for path, atom in latest.items():
                if len(path) == 1:
                    values[int(path[0])].append(atom)
    return rows, values


def column_profile(name: str, atoms: Sequence[Atom], rows: int) -> dict[str, Any]:
    """``filled``: the share of rows with a value. Numbers have a range and ``bins``; all have their ``top`` values."""
    present = [atom for atom in atoms if atom is not None]
    kinds = Counter(_kind(atom) for atom in present)
    shown: dict[str, Any] = {
        "name": name,
        "kinds": [kind for kind, _ in kinds.most_common()],
        "filled": len(present) / rows if rows else 0.0,
    }
    numbers = np.array([atom for atom in present if isinstance(atom, int | float)], np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers):
        counts, _ = np.histogram(numbers, BINS)
        low, high, mean = float(numbers.min()), float(numbers.max()), float(numbers.mean())
        shown |= {"low": low, "high": high, "mean": mean, "bins": counts.tolist()}
    tally = Counter(json.dumps(atom_to_json(atom)) for atom in present if not isinstance(atom, bytes))
    shown["distinct"] = len(tally)
    shown["top"] = [[json.loads(text), count] for text, count in tally.most_common(_TOP)]
    return shown


def _kind(atom: Atom) -> str:
    if isinstance(atom, bool | int):
        return "integer"
    names: dict[type, str] = {float: "number", str: "text", bytes: "blob"}
    return names.get(type(atom), type(atom).__name__.lower())
