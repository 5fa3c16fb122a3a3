"""JSON as rows: bound parameters and the inputs of functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from server.values.atoms import NOT_A_DATE, atom_from_json
from server.values.batches import Cell, RowBatch, RowType
from server.values.cells import cells_array
from server.values.paths import Path

_TAGS = {"ts", "num", "interval", "blob", "path"}


def cells_from_json(value: Any, path: Path = (), timestamp: float = NOT_A_DATE) -> Iterator[Cell]:
    """The cells of a JSON value: objects and arrays are rows, the tagged objects of rest-api.md §7.1 atoms."""
    if isinstance(value, dict) and not (len(value) == 1 and next(iter(value)) in _TAGS):
        for name, below in value.items():
            yield from cells_from_json(below, (*path, str(name)), timestamp)
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from cells_from_json(below, (*path, str(index)), timestamp)
    else:
        yield Cell(path, atom_from_json(value), timestamp)


def batch_from_json(value: Mapping[str, Any]) -> RowBatch:
    """One open row from a JSON object; its atoms carry the timestamp NaD, as all that comes by REST."""
    rest: pa.Array = cells_array([cells_from_json(dict(value))])
    return RowBatch(RowType((), open=True), 1, [], [], rest)
