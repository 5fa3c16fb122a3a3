"""Writing the ``Cells`` layout: batches of cells into dictionaries and one value table per type.

A batch is one transaction. It is written in pieces, each sorted by block of rows, column and row, so that reading a
column and reading a row both touch few row groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.storage.database import arrow_view
from server.storage.layouts import FARTHEST
from server.storage.order import listing_order
from server.storage.pending import Chunk, Pending, joined
from server.storage.stores import STORES
from server.values.cityhash import hash_path_texts
from server.values.distinct import distinct

_BLOCK_BITS = 14  # measured: a column in 1.8 ms, a row in 10 ms of 20 M cells; 4 k rows: 3.2 and 7 ms

_ENTRY_BITS = 64  # what an entry of the table of times takes, about

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass
class CellCounts:
    """Sizes of the tables. ``batches``: how many transactions brought rows or cells."""

    rows: int = 0
    columns: int = 0
    times: int = 0
    cells: int = 0
    batches: int = 0


@dataclass(frozen=True)
class _Cells:
    """Cells of one store as they are stored."""

    rows: Integers
    columns: Integers
    times: Integers
    values: pa.Array

    @property
    def keys(self) -> Integers:
        """Row and column in one number."""
        return self.rows << 32 | self.columns

    def table(self) -> pa.Table:
        ids = {"row": self.rows, "col": self.columns, "time": self.times}
        return pa.table({name: column.astype(np.int32) for name, column in ids.items()} | {"value": self.values})


class CellWriter:
    """One batch under way, inside a transaction. ``counts`` are advanced as pieces are added.

    ``quantum`` is the resolution of timestamps in seconds, 0 for as given; ``batches`` how many commits the pieces
    come from.
    """

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, prefix: str, counts: CellCounts, quantum: float, batches: int = 1
    ) -> None:
        self._cursor = cursor
        self._prefix = prefix
        self._counts = counts
        self._quantum = quantum
        self._batches = batches
        self._pieces = 0
        self.reshaped = False  # the columns are others than before, or hold what they did not

    def add(self, pending: Pending) -> None:
        """Store a piece."""
        if not pending:
            return
        if self._counts.batches == 1 and not self._pieces:
            self._cursor.execute(f"UPDATE {self._prefix}_rows SET ord = hash")
        old_rows, old_columns = self._counts.rows, self._counts.columns
        chunks = {store: self._quantized(joined(found)) for store in STORES if (found := pending.chunks(store))}
        rows, begun = self._row_ids(pending, chunks.values())
        columns = self._column_ids(pending)
        if chunks:
            stored = self._cells(chunks, rows, begun, columns)
            keys = np.concatenate([cells.keys for cells in stored.values()])
            self._note_columns(pending, columns, old_columns, keys, self._known(keys, old_rows, old_columns))
            for store, cells in stored.items():
                self._insert(store, cells.table(), f'ORDER BY "row" >> {_BLOCK_BITS}, col, "row"')
        self._counts.cells += pending.cells
        self._pieces += 1

    def finish(self) -> CellCounts:
        """End the batch: its rows get their place in the listing order."""
        if self._pieces:
            self._counts.batches += self._batches
            if self._counts.batches == 1 and self._pieces > 1:
                self._list_as_one_batch()
        return self._counts

    # ── dictionaries ─────────────────────────────────────────────────────────────────────────────────────────

    def _row_ids(self, pending: Pending, chunks: Iterable[Chunk]) -> tuple[Integers, Floats]:
        """Ids of a piece's rows and their times; new ones are listed in the order in which they were first named."""
        encoded = pending.row_names().combine_chunks().dictionary_encode()
        places, names = encoded.indices.to_numpy(), encoded.dictionary
        ids, new = self._match("rows", "name", names, self._counts.rows)
        begun = _earliest(chunks, places, len(names))
        if len(new) < len(names):
            begun = self._times_of_rows(ids, begun)
        if len(new):
            fresh = names.take(pa.array(new))
            hashes = hash_path_texts(fresh)
            alone = self._counts.batches + self._batches == 1 and not self._pieces
            order = listing_order(hashes, 1 if alone else 2)
            columns = {"id": ids[new].astype(np.int32), "name": fresh, "hash": hashes, "ord": order, "ts": begun[new]}
            self._insert("rows", pa.table(columns))
            self._counts.rows += len(new)
        return ids[places], begun[places]

    def _times_of_rows(self, ids: Integers, begun: Floats) -> Floats:
        """What the table of rows says of those of these rows that it has, and what is given of the others."""
        with arrow_view(self._cursor, "piece", pa.table({"at": np.arange(len(ids)), "id": ids})):
            known = self._cursor.execute(
                f"SELECT s.at, t.ts FROM piece s JOIN {self._prefix}_rows t ON t.id = s.id"
            ).fetchnumpy()
        begun = begun.copy()
        begun[known["at"]] = known["ts"]
        return begun

    def _column_ids(self, pending: Pending) -> Integers:
        """Ids of a piece's columns; ``_note_columns`` stores the new ones."""
        ids, new = self._match("cols", "name", pa.array(pending.column_names(), pa.string()), self._counts.columns)
        self._counts.columns += len(new)
        return ids

    def _encoded(self, times: Floats, begun: Floats) -> Integers:
        """Times of cells as they take least room; ``begun`` are the times of their rows."""
        distances, near = _distances(times, begun)
        minutes = distances.any() and not (distances % 60).any()
        if minutes:
            distances //= 60
        different = len(distinct(times[near]))
        of_ids = (self._counts.times + different).bit_length() + _ENTRY_BITS * different / len(times)
        if int(distances.max()).bit_length() > of_ids:
            near[:] = False
        encoded = -1 - distances - FARTHEST * minutes
        encoded[~near] = self._time_ids(times[~near])
        return encoded

    def _time_ids(self, times: Floats) -> Integers:
        """Ids of times in their table, new ones in ascending order: then they take half the room."""
        values, places = np.unique(times, return_inverse=True)
        ids, new = self._match("times", "ts", pa.array(values), self._counts.times)
        if len(new):
            self._insert("times", pa.table({"id": ids[new].astype(np.int32), "ts": values[new]}))
            self._counts.times += len(new)
        return ids[places]

    def _match(self, table: str, key: str, keys: pa.Array, stored: int) -> tuple[Integers, Integers]:
        """Ids of distinct keys in a dictionary of ``stored`` entries, and which of them are new (ids follow on)."""
        ids = np.full(len(keys), -1, np.int64)
        if stored and len(keys):
            source = pa.table({"at": np.arange(len(keys), dtype=np.int64), "key": keys})
            with arrow_view(self._cursor, "piece", source):
                known = self._cursor.execute(
                    f"SELECT s.at, t.id FROM piece s JOIN {self._prefix}_{table} t ON t.{key} = s.key"
                ).fetchnumpy()
            ids[known["at"]] = known["id"]
        new = np.flatnonzero(ids < 0)
        ids[new] = np.arange(stored, stored + len(new))
        return ids, new

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────

    def _cells(
        self, chunks: Mapping[str, Chunk], rows: Integers, begun: Floats, columns: Integers
    ) -> dict[str, _Cells]:
        """Chunks with the ids of their rows and columns; ``begun`` are the times of the rows."""
        of = np.concatenate([chunk.rows for chunk in chunks.values()])
        times = self._encoded(np.concatenate([chunk.times for chunk in chunks.values()]), begun[of])
        ends = np.cumsum([len(chunk.rows) for chunk in chunks.values()])
        return {
            store: _Cells(rows[chunk.rows], columns[chunk.columns], part, chunk.values)
            for (store, chunk), part in zip(chunks.items(), np.split(times, ends[:-1]), strict=True)
        }

    def _quantized(self, chunk: Chunk) -> Chunk:
        return replace(chunk, times=quantize(chunk.times, self._quantum)) if self._quantum else chunk

    def _known(self, keys: Integers, old_rows: int, old_columns: int) -> Integers:
        """Which of the keys (row and column) already had a cell before this piece."""
        candidates = distinct(keys[((keys >> 32) < old_rows) & ((keys & 0xFFFFFFFF) < old_columns)])
        if not len(candidates):
            return candidates
        source = pa.table(
            {"row": (candidates >> 32).astype(np.int32), "col": (candidates & 0xFFFFFFFF).astype(np.int32)}
        )
        with arrow_view(self._cursor, "piece", source):
            found = self._cursor.execute(
                " UNION ".join(
                    f'SELECT s."row", s.col FROM piece s SEMI JOIN {self._prefix}_{store} t USING ("row", col)'
                    for store in STORES
                )
            ).fetchnumpy()
        return np.sort(found["row"].astype(np.int64) << 32 | found["col"].astype(np.int64))

    # ── what is known of the columns ─────────────────────────────────────────────────────────────────────────

    def _note_columns(self, pending: Pending, ids: Integers, old_columns: int, keys: Integers, known: Integers) -> None:
        """Insert new columns, update old ones: what they hold, in how many rows, whether some cell is multiple."""
        pairs, counts = np.unique(keys, return_counts=True)
        had = np.isin(pairs, known, assume_unique=True)
        cell_columns = pairs & 0xFFFFFFFF
        total = int(ids.max()) + 1
        rows = np.bincount(cell_columns[~had], minlength=total)
        multiple = np.bincount(cell_columns[had | (counts > 1)], minlength=total) > 0
        table = pa.table(
            {
                "id": ids.astype(np.int32),
                "name": pa.array(pending.column_names(), pa.string()),
                "seen": np.array(pending.seen, np.int32),
                "multiple": multiple[ids],
                "rows": rows[ids],
            }
        )
        fresh = pa.array(ids >= old_columns)
        self.reshaped |= bool((ids >= old_columns).any())
        self._insert("cols", table.filter(fresh))
        self._update_columns(table.filter(pa.array(ids < old_columns)))

    def _update_columns(self, table: pa.Table) -> None:
        if table.num_rows:
            with arrow_view(self._cursor, "piece", table):
                if not self.reshaped:
                    changed = self._cursor.execute(
                        f"SELECT count(*) FROM {self._prefix}_cols t JOIN piece s ON t.id = s.id"
                        " WHERE t.seen | s.seen <> t.seen OR s.multiple > t.multiple"
                    )
                    self.reshaped = changed.fetchall()[0][0] > 0
                self._cursor.execute(
                    f'UPDATE {self._prefix}_cols t SET seen = t.seen | s.seen, "rows" = t."rows" + s."rows",'
                    f" multiple = t.multiple OR s.multiple FROM piece s WHERE t.id = s.id"
                )

    def _list_as_one_batch(self) -> None:
        """The first batch came in several pieces: only now its order is known."""
        rows = self._cursor.execute(f"SELECT id, hash FROM {self._prefix}_rows ORDER BY id").fetchnumpy()
        order = listing_order(rows["hash"], self._counts.batches)
        with arrow_view(self._cursor, "piece", pa.table({"id": rows["id"], "ord": order})):
            self._cursor.execute(f"UPDATE {self._prefix}_rows t SET ord = s.ord FROM piece s WHERE t.id = s.id")

    # ── DuckDB ───────────────────────────────────────────────────────────────────────────────────────────────

    def _insert(self, suffix: str, table: pa.Table, order: str = "") -> None:
        if table.num_rows:
            with arrow_view(self._cursor, "piece", table):
                self._cursor.execute(f"INSERT INTO {self._prefix}_{suffix} SELECT * FROM piece {order}")


def _earliest(chunks: Iterable[Chunk], places: Integers, rows: int) -> Floats:
    """The whole second before the first cell of each row, 0 without one; ``places`` are the rows of those in chunks."""
    begun = np.full(rows, np.inf)
    for chunk in chunks:
        finite = np.isfinite(chunk.times)
        np.minimum.at(begun, places[chunk.rows[finite]], np.floor(chunk.times[finite]))
    begun[np.isinf(begun)] = 0
    return begun


def _distances(times: Floats, begun: Floats) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Whole seconds from the times of rows to those of their cells, and where that is what a cell can be told by.

    Elsewhere they are 0.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        distances = times - begun
        near = (distances >= 0) & (distances < FARTHEST) & (distances == np.floor(distances))
        near &= begun + distances == times
    distances[~near] = 0
    return distances.astype(np.int64), near


def quantize(times: Floats, quantum: float) -> Floats:
    """Timestamps at a resolution in seconds: fractions rounded up to 1, whole multiples floored above (§2.2)."""
    finite = np.isfinite(times)
    known = times[finite]
    whole = np.floor(known)
    if quantum > 1:
        known = np.floor(whole / quantum) * quantum
    else:
        # Dividing by a whole number of steps gives the double nearest to the decimal fraction.
        steps = 1 / quantum
        steps = round(steps) if abs(steps - round(steps)) < 1e-6 else steps
        known = whole + np.rint((known - whole) * steps) / steps
    quantized = times.copy()
    quantized[finite] = known
    return quantized
