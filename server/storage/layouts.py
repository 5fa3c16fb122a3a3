"""How a dataset lies in DuckDB: the contract between datasets (who write) and the SQL compiler (who reads).

    Wide    a table of typed columns, one row per MLDB row: tabular, embedding
    Cells   row, column, timestamp, value in one table per value type: sparse.mutable, beh

A third layout, ``server.sql.views.View``, is another table expression of the dialect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from server.values.kinds import Kind
from server.values.paths import Path

ROW = "_row"  # the row path: its text (VARCHAR), or BIGINT when every row is named by a canonical number
TIMESTAMP = "_ts"  # DOUBLE seconds: the one timestamp of a wide row
HASH = "_hash"  # UBIGINT: CityHash64 1.0.3 of the row path; that of a number is not stored


@dataclass(frozen=True, slots=True)
class WideColumn:
    """A stored column. ``name`` is its SQL name (unquoted), ``shape`` the dimensions of an embedding.

    An embedding is one ``<number type>[n]`` array column with its numbers row-major; ``names`` then lists the
    element names where they are not 0, 1, 2, … (an ``embedding`` dataset with columns x, y, z). ``single`` marks
    single-precision numbers (FLOAT). NULL in a ``sparse`` column means that the row lacks the cell.
    """

    path: Path
    name: str
    kind: Kind
    shape: tuple[int, ...] | None = None
    names: tuple[Path, ...] | None = None
    sparse: bool = False
    single: bool = False


@dataclass(frozen=True, slots=True)
class Wide:
    """``table`` has the columns ``_row``, ``_ts``, ``_hash`` if ``hashed``, and those listed, rows in scan order."""

    table: str
    columns: tuple[WideColumn, ...]
    numbered: bool  # _row is BIGINT
    rows: int
    hashed: bool  # it has the column _hash, as all had before numbers were hashed when needed
    passing: bool = False  # a copy that serves this query only: no plan over it may be kept


@dataclass(frozen=True, slots=True)
class CellColumn:
    """A column of a sparse dataset: in which value tables it occurs, and what its cells are like.

    ``stores`` names the value tables (``int``, ``num``, ``str``, ``any``) that hold cells of it; ``multiple`` says
    that some row has several values in it; ``nulls`` that some cell is an explicit NULL (then kept in ``any``).
    """

    path: Path
    id: int
    stores: frozenset[str]
    kind: Kind  # the one kind of all its values but NULL; NUMBER also for small integers beside doubles; else ANY
    multiple: bool
    nulls: bool
    rows: int  # rows that have the column

    @property
    def listed(self) -> bool:
        """Whether its cells are read as a list for each row, for a value or its absence would not tell all."""
        return self.multiple or self.nulls


class CellColumns(Protocol):
    """The columns of a sparse dataset; may be millions, so it is asked, not listed."""

    def __len__(self) -> int: ...
    def get(self, path: Path) -> CellColumn | None: ...
    def under(self, prefix: Path) -> Iterator[CellColumn]:
        """Columns whose path starts with these elements (strictly below), in natural order; () is all."""

    def count(self, condition: str) -> int: ...
    def where(self, condition: str, order: list[str], tail: str) -> list[CellColumn]: ...
    def stores(self) -> frozenset[str]:
        """The value tables that hold cells of any column."""

    def current(self) -> bool:
        """Whether all this is true of what whoever has begun to read by now finds.

        A commit that is just being made is waited for.
        """


@dataclass(frozen=True, slots=True)
class Cells:
    """Tables of a sparse dataset, all named ``<prefix>_<suffix>``.

    | table | columns |
    |---|---|
    | ``_rows`` | ``id`` INTEGER (from 0), ``name`` VARCHAR (path text), ``hash`` and ``ord`` (listing order), ``ts`` |
    | ``_cols`` | ``id`` INTEGER (from 0), ``name`` VARCHAR (path text), ``seen`` (flags), ``multiple``, ``rows`` |
    | ``_times`` | ``id`` INTEGER, ``ts`` DOUBLE |
    | ``_int`` ``_num`` ``_str`` ``_any`` | ``row`` ``col`` ``time`` ids, ``value`` BIGINT, DOUBLE, VARCHAR, ANY |

    A ``time`` from 0 is an id of ``_times``. One below 0 is the distance from the row's ``ts`` (DOUBLE), in seconds or
    minutes (``TIME``): small numbers take little room, and none where each row has one time for all its cells.

    ``ANY`` is used for what the first three cannot hold (NULL, timestamps, intervals, blobs, paths, unsigned).
    Whole numbers of any origin are in ``_int`` or, beside fractions of the same batch, in ``_num``.
    """

    prefix: str
    columns: CellColumns
    rows: int
    cells: int
    batches: int = 0  # commits so far: with the prefix they name the content


FARTHEST: Final = 1 << 30  # a time is told by its distance from its row's up to so many seconds, or minutes

# The timestamp of a cell, with the joins of ``times_joined``.
TIME: Final = (
    f'CASE WHEN "time" >= 0 THEN moment.ts WHEN "time" >= {-FARTHEST} THEN began.ts + (-1 - "time")'
    f' ELSE began.ts + 60.0 * ({-1 - FARTHEST} - "time") END'
)


def times_joined(prefix: str) -> str:
    """The joins that cells need for ``TIME``: SQL to follow what has their fields ``row`` and ``time``."""
    return f' JOIN {prefix}_rows AS began ON began.id = "row" LEFT JOIN {prefix}_times AS moment ON moment.id = "time"'


def cell_times(layout: Cells) -> str:
    """SQL of the timestamps ``ts`` of all cells."""
    return " UNION ALL ".join(
        f"SELECT {TIME} AS ts FROM {layout.prefix}_{store}{times_joined(layout.prefix)}"
        for store in sorted(layout.columns.stores())
    )
