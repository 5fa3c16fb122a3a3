"""Rows of a sparse dataset whose open rest leaves cell by cell.

DuckDB gathers cells of any type into lists thirty times slower than it sorts them as they lie. So the rows are read
without their rest, then their cells, sorted by row; the lists are put together here, a piece at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.sql.bound import Atom, Leaf, MultiValue
from server.sql.sparse import LINES, NAMES, SparseRelation
from server.sql.tasks import check_task
from server.storage.stores import STORES
from server.values import compute as pc
from server.values.arrow_types import ANY_MEMBERS, CELL_ARROW
from server.values.batches import one_array
from server.values.cells import cells_array, type_codes
from server.values.distinct import distinct
from server.values.kinds import EXACT, TAGS
from server.values.paths import Path, format_path

if TYPE_CHECKING:
    import duckdb

    from server.declarations import Progress
    from server.sql.binder.query import Query
    from server.sql.bound import Row

_LINE: Final = "line"  # the column of the rows that says whose cells each has
_GIVEN: Final = "given_lines"
_PIECE = 1 << 20  # cells
_FEW_CELLS = 1 << 16  # their names are looked for after them, in place of all names before
_FEW_LINES = 100
_LOW = (1 << 32) - 1

Rows = tuple[pa.RecordBatch, pa.Array | None]


@dataclass(frozen=True)
class CellStream:
    """``rows`` is the SQL of the rows without their rest, but with ``_LINE``; of their cells come those whose name
    ``k.name`` meets ``condition``, with ``prefix`` before it."""

    rows: str
    relation: SparseRelation
    condition: str
    prefix: Path

    def lines(self, cursor: duckdb.DuckDBPyConnection) -> pa.Table:
        """The rows without their rest. Inside a transaction: both readings must be of one version of the dataset."""
        return cursor.sql(self.rows).to_arrow_table()

    def batches(
        self, cursor: duckdb.DuckDBPyConnection, rows: pa.Table, task: Progress | None, size: int
    ) -> Iterator[Rows]:
        """Those rows, at most ``size`` at a time, and their rest."""
        check_task(task)
        if rows.num_rows:
            with _placed(cursor, rows.column(_LINE)) as lines:
                few = self.relation.expected_cells(cursor, lines, rows.num_rows) <= _FEW_CELLS
                cells = self._few(cursor, lines) if few else self._pieces(cursor, lines, task)
                yield from _joined(rows.drop_columns([_LINE]), cells, size)

    def statements(self, cursor: duckdb.DuckDBPyConnection) -> list[str]:
        """The SQL of the rows, of the names of their cells and of the cells, as a run over many cells executes it."""
        _make_lines(cursor, pa.array([], pa.int64()))
        self._choose(cursor)
        names = self.relation.names_where(self.condition)
        return [self.rows, names, self.relation.streamed(LINES, chosen=bool(self.condition))]

    def _choose(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Make the table of the wanted names, where not all are."""
        if self.condition:
            cursor.execute(f"CREATE OR REPLACE TEMP TABLE {NAMES} AS {self.relation.names_where(self.condition)}")

    def _few(self, cursor: duckdb.DuckDBPyConnection, lines: str) -> Iterator[_Cells]:
        """The cells in one piece: which names are wanted is asked of theirs only."""
        cells = cursor.sql(self.relation.streamed(lines, chosen=False)).to_arrow_table().combine_chunks()
        ids = cells.column("k").to_numpy() & _LOW
        cursor.register(_GIVEN, pa.table({"id": distinct(ids)}))
        names = self._names(cursor, self.relation.names_where(self.condition, _GIVEN))
        cursor.unregister(_GIVEN)
        wanted = names.has(ids)
        if wanted.any():
            yield _Cells.read(cells if wanted.all() else cells.filter(pa.array(wanted)).combine_chunks(), names)

    def _pieces(self, cursor: duckdb.DuckDBPyConnection, lines: str, task: Progress | None) -> Iterator[_Cells]:
        """The cells, those of a row always in one piece."""
        self._choose(cursor)
        names = self._names(cursor, f"FROM {NAMES}" if self.condition else self.relation.names_where(""))
        check_task(task)
        streamed = self.relation.streamed(lines, chosen=bool(self.condition))
        read: list[pa.RecordBatch] = []
        enough = _PIECE
        for batch in cursor.sql(streamed).to_arrow_reader(_PIECE):
            check_task(task)
            read.append(batch)
            if sum(each.num_rows for each in read) >= enough:
                cells = pa.Table.from_batches(read).combine_chunks()
                places = cells.column("k").to_numpy() >> 32
                last = int(np.searchsorted(places, places[-1]))  # the row it belongs to may go on
                if last:
                    yield _Cells.read(cells.slice(0, last), names)
                read = cells.slice(last).to_batches()
                enough = _PIECE if last else 2 * len(places)
        if sum(each.num_rows for each in read):
            yield _Cells.read(pa.Table.from_batches(read).combine_chunks(), names)

    def _names(self, cursor: duckdb.DuckDBPyConnection, sql: str) -> _Names:
        found = cursor.sql(sql).to_arrow_table().combine_chunks()
        ids = found.column("id").to_numpy()
        places = np.full(int(ids.max(initial=-1)) + 2, -1, np.int32)
        places[ids] = np.arange(len(ids), dtype=np.int32)
        texts = one_array(found.column("name"))
        if self.prefix:
            before = format_path(self.prefix)
            texts = pc.if_else(pc.equal(texts, ""), before, pc.binary_join_element_wise(before, texts, "."))
        return _Names(places, texts)


def cell_stream(query: Query, row: Row, columns: Mapping[str, str]) -> CellStream | None:
    """The stream of a query whose rows are open with cells of one sparse dataset; None for others.

    ``row`` is what leaves, ``columns`` the SQL of what is not open.
    """
    relation = query.relation
    if not isinstance(relation, SparseRelation) or len(row.rests) != 1:
        return None
    condition = relation.condition_of(row.rests[0].sql)
    if condition is None or any(_has_cells_beside(leaf) for leaf in row.columns.values()):
        return None
    rows = query.render({**columns, _LINE: relation.ref("_id")}, ordered=True)
    return CellStream(rows, relation, condition, row.rests[0].prefix)


def _has_cells_beside(leaf: Leaf) -> bool:
    """Whether a column has cells in the rest (``server.sql.plan.output_columns``)."""
    return isinstance(leaf, MultiValue) or (isinstance(leaf, Atom) and bool(leaf.there))


@contextmanager
def _placed(cursor: duckdb.DuckDBPyConnection, lines: pa.ChunkedArray) -> Iterator[str]:
    """SQL of the lines whose cells are read: their ``id``, and their ``place`` in the order of the rows.

    DuckDB knows the size of values in its SQL and of a table of its own, and so which side of a join is the smaller.
    """
    if len(lines) <= _FEW_LINES:
        yield f"(VALUES {', '.join(f'({at}::BIGINT, {line})' for at, line in enumerate(lines.to_pylist()))})"
    else:
        _make_lines(cursor, lines)
        yield LINES
        cursor.execute(f"DROP TABLE {LINES}")


def _make_lines(cursor: duckdb.DuckDBPyConnection, lines: pa.Array | pa.ChunkedArray) -> None:
    cursor.register(_GIVEN, pa.table({"place": np.arange(len(lines)), "id": lines}))
    cursor.execute(f"CREATE TEMP TABLE {LINES} AS SELECT * FROM {_GIVEN}")
    cursor.unregister(_GIVEN)


def _joined(rows: pa.Table, pieces: Iterator[_Cells], size: int) -> Iterator[Rows]:
    first = 0
    for cells in pieces:
        last = int(cells.places[-1]) + 1
        yield from _batches(rows, cells, first, last, size)
        first = last
    yield from _batches(rows, _NO_CELLS, first, rows.num_rows, size)


def _batches(rows: pa.Table, cells: _Cells, first: int, last: int, size: int) -> Iterator[Rows]:
    for start in range(first, last, size):
        stop = min(start + size, last)
        yield rows.slice(start, stop - start).combine_chunks().to_batches()[0], cells.lists(start, stop)


@dataclass(frozen=True)
class _Names:
    """``texts[places[id]]`` is the name of an id. The place of one without name, and the last place, are -1."""

    places: NDArray[np.int32]
    texts: pa.Array

    def has(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self.places[np.minimum(ids, len(self.places) - 1)] >= 0


@dataclass(frozen=True)
class _Cells:
    """Cells, and the places of their rows, ascending."""

    places: NDArray[np.int64]
    cells: pa.StructArray

    @staticmethod
    def read(table: pa.Table, names: _Names) -> _Cells:
        keys = table.column("k").to_numpy()
        texts = names.texts.take(pa.array(names.places[keys & _LOW]))
        members = [texts, _any(table), one_array(table.column("t"))]
        return _Cells(keys >> 32, pa.StructArray.from_arrays(members, fields=list(CELL_ARROW)))

    def lists(self, start: int, stop: int) -> pa.Array:
        """The cells of the rows from one place to another."""
        ends = np.searchsorted(self.places, np.arange(start, stop + 1))
        return pa.ListArray.from_arrays(
            pa.array((ends - ends[0]).astype(np.int32)), self.cells.slice(ends[0], ends[-1] - ends[0])
        )


_NO_CELLS = _Cells(np.zeros(0, np.int64), cells_array([]).values)


def _any(table: pa.Table) -> pa.Array:
    """The values, each in the column ``int``, ``num``, ``str`` or ``any`` of its store, as ``ANY``."""
    there = {name: one_array(table.column(name)) for name in STORES if name in table.column_names}
    codes = np.zeros(table.num_rows, np.int8)
    members = {field.name: pa.nulls(table.num_rows, field.type) for field in ANY_MEMBERS}
    if "any" in there:
        codes = type_codes(there["any"]).copy()  # 0 for a NULL, which is a number without value
        members = {name: there["any"].field(code) for code, name in enumerate(TAGS)}
    if "num" in there:
        members["n"] = pc.coalesce(there["num"], members["n"])
    if "int" in there:
        exact = pc.and_(pc.greater_equal(there["int"], -EXACT), pc.less_equal(there["int"], EXACT))
        codes[_flags(pc.invert(exact))] = TAGS.index("i")
        members["n"] = pc.coalesce(pc.if_else(exact, there["int"], None).cast(pa.float64()), members["n"])
        members["i"] = pc.coalesce(pc.if_else(exact, None, there["int"]), members["i"])
    if "str" in there:
        codes[_flags(there["str"].is_valid())] = TAGS.index("s")
        members["s"] = pc.coalesce(there["str"], members["s"])
    return pa.UnionArray.from_sparse(pa.array(codes), list(members.values()), field_names=list(members))


def _flags(array: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False))
