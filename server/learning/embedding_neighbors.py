"""The function ``embedding.neighbors`` (entity-types.md §4.2)."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from server.declarations import BoundFunction, Creation, DatasetSpec, EntityType, NamedBatch, Params, Services
from server.errors import MldbError, NotFound
from server.learning.columns import AtomPiece, BlockPiece, pieces_of
from server.learning.coordinates import read_coordinates, require_all
from server.learning.matrix import Floats
from server.learning.neighbors import NeighborIndex, as_floats
from server.procedures.validators import input_query
from server.sql.positions import did_you_mean
from server.sql.tree import DatasetRef, Select, Table, Wildcard
from server.transfer.results import column_atoms
from server.values.atoms import atom_text
from server.values.batches import Column, RowBatch, RowType, rows_of_any_columns
from server.values.cells import Cell, cells_array
from server.values.kinds import Kind
from server.values.paths import Path, natural_key, parse_path

_COORDS = ("coords",)
_TIME = 0.0  # of what is found: MLDB dates it 1970
_INPUTS = ("coords", "numNeighbors", "maxDistance")


class NeighborsParams(Params):
    dataset: DatasetSpec = Field(description="Dataset of type embedding to search")
    defaultNumNeighbors: int = Field(default=10, ge=0, description="Neighbours to find where a call does not say")
    defaultMaxDistance: float = Field(default=math.inf, ge=0, description="Largest distance where a call does not say")
    columnName: str = Field(default="", description="Column that holds the vectors; all columns when empty")


class NeighborsFunction:
    """Finds the rows of an embedding that are nearest to a row or to coordinates. The vectors are read once."""

    def __init__(self, services: Services, params: NeighborsParams) -> None:
        self.params = params
        self._services = services
        self._name = dataset_name(services, params.dataset)
        self._lock = threading.Lock()
        self._index: tuple[Any, NeighborIndex] | None = None
        _metric_of(services, self._name)

    @property
    def input(self) -> RowType:
        names = (("coords", Kind.ANY), ("numNeighbors", Kind.INTEGER), ("maxDistance", Kind.NUMBER))
        return RowType(tuple(Column((name,), kind) for name, kind in names), open=True)

    @property
    def output(self) -> RowType:
        return rows_of_any_columns("distances", "neighbors")

    def bind(self, given: RowType) -> BoundFunction:
        for column in given.columns:
            if column.path and column.path[0] not in _INPUTS:
                name = column.path[0]
                near = did_you_mean(name, _INPUTS)
                raise MldbError(f"Unknown field '{name}' extracting type NeighborsFunction{near and '.' + near}")
        if not given.under(_COORDS).columns and not given.open:
            raise MldbError("Input row must be either a row name or an embedding: 'coords' is missing")
        return _BoundNeighbors(self, given)

    def index(self) -> NeighborIndex:
        """The vectors, read again when the dataset is another one than before."""
        layout = self._services.dataset(self._name).layout()
        with self._lock:
            if self._index is None or self._index[0] != layout:
                self._index = (layout, self._read())
            return self._index[1]

    def _read(self) -> NeighborIndex:
        prefix = parse_path(self.params.columnName) if self.params.columnName else ()
        result = self._services.query(Select((Wildcard(),), source=DatasetRef(self._name)), whole=not prefix)
        names, columns, vectors = read_vectors(result.batches(), prefix)
        if prefix and not columns and result.type.columns:
            raise MldbError(
                f"The column name '{self.params.columnName}' passed into the embedding.neighbors function does not "
                f"exist inside the dataset '{self._name}'"
            )
        return NeighborIndex(names, columns, vectors, _metric_of(self._services, self._name))


def table_of(services: Services, spec: Any) -> Table:
    """The table that a parameter means: a dataset by its id or its config, or a table expression."""
    if isinstance(spec, str):
        try:
            services.dataset(spec)
            return DatasetRef(spec)
        except NotFound:
            pass  # or the id is quoted, or it is an expression
    source = input_query(services, {"from": spec}).source
    if source is None:
        raise MldbError("the parameter needs a dataset: its id, or an object with its id, type and params")
    return source


def dataset_name(services: Services, spec: Any) -> str:
    """The name of the one dataset that a parameter means."""
    table = table_of(services, spec)
    if not isinstance(table, DatasetRef):
        raise MldbError(
            "Nearest neighbors function cannot operate on the output of a table expression, only dataset of "
            f"type embedding (passed dataset was '{spec}'). A dataset of type embedding needs to be provided"
        )
    return table.name


def _metric_of(services: Services, name: str) -> Any:
    metric = getattr(services.dataset(name), "metric", None)
    if metric is None:
        raise MldbError(
            "A dataset of type embedding needs to be provided for the nearest.neighbors function; "
            f"the provided dataset '{name}' is of another type"
        )
    return metric


def read_vectors(batches: Iterable[NamedBatch], prefix: Path) -> tuple[list[str], list[str], Floats]:
    """Row names, column names (below the prefix) and vectors."""
    names: list[str] = []
    columns: list[str] = []
    parts: list[Floats] = []
    for batch in batches:
        names += batch.names.to_pylist()
        pieces = list(pieces_of(batch.rows.under(prefix) if prefix else batch.rows))
        if len(pieces) == 1 and isinstance(pieces[0], BlockPiece):
            columns = list(pieces[0].names)
            parts.append(as_floats(pieces[0].numbers))
            continue
        found = dict(_numeric_columns(pieces))
        columns = columns or list(found)
        blocks = [found[name] for name in columns]
        parts.append(as_floats(np.stack(blocks, axis=1)) if blocks else np.zeros((batch.rows.length, 0), np.float32))
    return names, columns, np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _numeric_columns(pieces: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for piece in pieces:
        if isinstance(piece, AtomPiece):
            yield piece.name, piece.values.numbers
        elif isinstance(piece, BlockPiece):
            for at, name in enumerate(piece.names):
                yield name, piece.numbers[:, at]


@dataclass(frozen=True)
class _BoundNeighbors:
    function: NeighborsFunction
    given: RowType

    @property
    def output(self) -> RowType:
        return self.function.output

    def apply(self, batch: RowBatch) -> RowBatch:
        index = self.function.index()
        points = self._points(index, batch)
        params = self.function.params
        counts = _numbers(batch, "numNeighbors", params.defaultNumNeighbors, unsaid=-1)
        furthest = _numbers(batch, "maxDistance", params.defaultMaxDistance)
        found = index.nearest(points, np.minimum(counts, len(index.names)).astype(np.int64))
        rows = [
            _cells(index, neighbours[distance <= limit], distance[distance <= limit])
            for (neighbours, distance), limit in zip(found, furthest, strict=True)
        ]
        return RowBatch(self.output, batch.length, (), (), cells_array(rows))

    def _points(self, index: NeighborIndex, batch: RowBatch) -> Floats:
        """Coordinates of each row: as given, or those of the row that is named."""
        named = column_atoms(batch, "coords")
        given = read_coordinates(index.columns, batch.under(_COORDS))
        for at, name in enumerate(named):
            if name is None:
                continue
            text = atom_text(name)
            row = index.row_of.get(text)
            if row is None:
                raise MldbError(f"Couldn't find row '{text}' in embedding")
            given[at] = index.vectors[row]
        return require_all(given, index.columns, "The point of 'coords'")


def _numbers(batch: RowBatch, name: str, default: float, unsaid: float | None = None) -> Any:
    """An input of each row; ``MldbError`` for what is neither null, ``unsaid`` nor a number from 0 on."""
    found = np.full(batch.length, default, np.float64)
    for at, given in enumerate(column_atoms(batch, name)):
        if isinstance(given, int | float) and given >= 0:
            found[at] = given
        elif given is not None and given != unsaid:
            raise MldbError(f"'{name}' must be a number, 0 or more, not '{atom_text(given)}'")
    return found


def _cells(index: NeighborIndex, rows: Any, distances: Any) -> list[Cell]:
    """The neighbours' names by rank, and the distance of each, in the order of their names."""
    names = [index.names[row] for row in rows.tolist()]
    cells = [Cell(("neighbors", str(rank)), name, _TIME) for rank, name in enumerate(names)]
    paths = [parse_path(name) for name in names]
    for path, distance in sorted(zip(paths, distances.tolist(), strict=True), key=lambda pair: natural_key(pair[0])):
        cells.append(Cell(("distances", *path), distance, _TIME))
    return cells


def _create(creation: Creation) -> NeighborsFunction:
    return NeighborsFunction(creation.services, creation.params)


TYPES = [
    EntityType(
        "function",
        "embedding.neighbors",
        NeighborsParams,
        "Finds the nearest rows of an embedding",
        _create,
        "`coords` is the name of a row or a row of coordinates; gives `neighbors`, row names by rank, and "
        "`distances`, by row name. The search is exact.",
    )
]
