"""Relations: what a FROM clause gives to the expressions above it, and the SQL that reads it.

Each relation has a number of its own and is ``r<number>`` in the SQL. Expressions are bound first; a relation is
rendered last, from the SQL that was written above it, so it reads and computes only the columns that are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from server.errors import MldbError
from server.sql.bound import (
    Atom,
    Embedding,
    Leaf,
    Open,
    Rest,
    Row,
    Several,
    Value,
    enumerate_elements,
    unknown,
)
from server.sql.coerce import to_cells
from server.sql.duck import identifier, literal_text, references
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import Path, format_path

if TYPE_CHECKING:
    from server.storage.layouts import CellColumn, Cells, Wide, WideColumn

# A sparse dataset is pivoted into known columns up to these sizes; beyond, its rows are open (a list of cells).
PIVOT_COLUMNS = 1000
PIVOT_WORK = 200_000_000  # columns × rows


class Relation:
    """The base: columns by path, row names, listing order. ``alias`` is the name in the dialect, if any.

    ``atoms_only``: ``column[…]`` takes a column for an atom, as upstream does for those of sub-selects (§4.4).
    """

    atoms_only = False

    def __init__(self, number: int, alias: str | None = None) -> None:
        self.number = number
        self.alias = alias
        self._staged: list[str] = []

    @property
    def single(self) -> bool:
        """Whether there is one row at most."""
        return False

    def ref(self, column: str) -> str:
        return f"r{self.number}.{column}"

    def row(self) -> Row:
        """Everything, as a row value."""
        raise TypeError(f"{type(self).__name__} does not say what its rows are")

    def under(self, prefix: Path) -> Row:
        """What lies strictly below a prefix, the prefix cut off."""
        return cut(self.row(), prefix)

    def lookup(self, path: Path) -> Value | None:
        """The value under a path, None when there can be none."""
        return lookup(self.row(), path)

    def row_path(self) -> Atom:
        """The row's path. INTEGER where rows are numbered, else PATH."""
        return Atom(self.ref("_row"), Kind.PATH)

    def row_text(self) -> str:
        """SQL of the row path's text."""
        path = self.row_path()
        return path.sql if path.kind is Kind.PATH else f"CAST({path.sql} AS VARCHAR)"

    def row_hash(self) -> str:
        return f"mldb_path_hash({self.row_text()})"

    def order(self) -> list[str]:
        """ORDER BY terms of the listing order; none when rows come in it anyway."""
        return []

    def sides(self) -> dict[str, Relation]:
        """Relations by the alias that qualifies their columns (a join has several)."""
        return {self.alias: self} if self.alias is not None else {}

    def column_rows(self, path: Path) -> str | None:
        """SQL of a scalar: how many rows have the column (``rowCount()`` in COLUMN EXPR); None if unknown."""
        found = self.lookup(path)
        if not isinstance(found, Atom | Several):
            return None
        inner = self.render(found.sql, ordered=False)
        return f"(SELECT count({found.sql}) FROM {inner})"

    def stage(self, sql: str) -> str:
        """Compute SQL once per row, below what is written above; the reference to it."""
        if sql in self._staged:
            return self.ref(f"x{self._staged.index(sql)}")
        self._staged.append(sql)
        return self.ref(f"x{len(self._staged) - 1}")

    @property
    def staged(self) -> list[str]:
        """What is computed once per row, as SQL over the relation and what was staged before."""
        return list(self._staged)

    def render(self, above: str, *, ordered: bool) -> str:
        """The FROM item, offering what ``above`` and the staged expressions read."""
        number = self.number
        needed = [above]
        kept: list[int] = []
        for index in reversed(range(len(self._staged))):
            if f"x{index}" in references(" ".join(needed)).get(number, ()):
                needed.append(self._staged[index])
                kept.append(index)
        used = {name for name in references(" ".join(needed)).get(number, set()) if not _is_staged(name)}
        text = self.base(used, ordered)
        for index in reversed(kept):
            text = f"(SELECT r{number}.*, {self._staged[index]} AS x{index} FROM {text}) AS r{number}"
        return text

    def base(self, used: set[str], ordered: bool) -> str:
        """The FROM item without staged columns."""
        raise TypeError(f"{type(self).__name__} cannot be read")


def _is_staged(name: str) -> bool:
    return name[0] == "x" and name[1:].isdigit()


# ── looking into rows ────────────────────────────────────────────────────────────────────────────────────────


def cut(row: Row, prefix: Path) -> Row:
    """The part of a row strictly below a prefix, the prefix cut off."""
    if not prefix:
        return row
    size = len(prefix)
    columns: dict[Path, Leaf] = {p[size:]: v for p, v in row.columns.items() if len(p) > size and p[:size] == prefix}
    whole = row.columns.get(prefix)
    if isinstance(whole, Embedding) and not columns:
        columns = dict(enumerate_elements(whole)) if whole.shape or whole.names else {(): whole}
    return Row(columns, tuple(_cut_rests(row.rests, prefix)), row.constant)


def _cut_rests(rests: Iterable[Rest], prefix: Path) -> Iterator[Rest]:
    size = len(prefix)
    for rest in rests:
        if rest.prefix[:size] == prefix:
            yield replace(rest, prefix=rest.prefix[size:])
        elif prefix[: len(rest.prefix)] == rest.prefix:
            below = format_path(prefix[len(rest.prefix) :])
            yield replace(rest, prefix=(), sql=f"m_under({rest.sql}, {literal_text(below)})")


def lookup(row: Row, path: Path) -> Value | None:
    """The value under a path: a leaf, an element of an embedding, a sub-row or something open."""
    rests = tuple(_cut_rests(row.rests, path))
    found = row.columns.get(path)
    if found is None:
        found = _element(row, path)
    if found is not None and all(rest.disjoint for rest in rests):
        return found
    below = cut(row, path)
    if found is not None:
        return Open(to_cells(Row({(): found}, rests)))
    if below.columns:
        return below
    if not rests:
        return None
    if len(rests) == 1 and not rests[0].prefix:
        return Open(rests[0].sql, rests[0].constant)
    return Row({}, rests, all(rest.constant for rest in rests))


def _element(row: Row, path: Path) -> Atom | None:
    for size in range(1, len(path)):
        whole = row.columns.get(path[:size])
        if isinstance(whole, Embedding) and (whole.shape is not None or whole.names is not None):
            return dict(enumerate_elements(whole)).get(path[size:])
        if isinstance(whole, Embedding) and len(path) == size + 1 and path[size].isdigit():
            return Atom(f"{whole.sql}[{int(path[size]) + 1}]", whole.kind, whole.ts, sparse=True)
    return None


# ── stored data ──────────────────────────────────────────────────────────────────────────────────────────────


class NoTable(Relation):
    """A statement without FROM: one row named ``result``."""

    @property
    def single(self) -> bool:
        return True

    def row(self) -> Row:
        return Row()

    def row_path(self) -> Atom:
        return Atom("'result'", Kind.PATH)

    def base(self, used: set[str], ordered: bool) -> str:
        return f"(SELECT 1 AS one) AS r{self.number}"


class WideRelation(Relation):
    """A table of typed columns."""

    def __init__(
        self, number: int, layout: Wide, alias: str | None, has_nan: Callable[[str, str], bool] | None = None
    ) -> None:
        """``has_nan`` tells whether a column of a table (by SQL names) holds any NaN."""
        super().__init__(number, alias)
        self.layout = layout
        self._has_nan = has_nan
        self._row = Row({column.path: self._leaf(column) for column in layout.columns})

    def _leaf(self, column: WideColumn) -> Leaf:
        sql = self.ref(identifier(column.name))
        if column.shape is not None:
            return Embedding(sql, column.kind, column.shape, self._ts, column.names)
        if column.single:
            sql = f"CAST({sql} AS DOUBLE)"
        may_be_nan = unknown
        if self._has_nan is not None and column.kind is Kind.NUMBER:
            may_be_nan = partial(self._has_nan, self.layout.table, column.name)
        return Atom(sql, column.kind, self._ts, sparse=column.sparse, may_be_nan=may_be_nan)

    def _ts(self) -> str:
        return self.ref("_ts")

    def row(self) -> Row:
        flat = [path for path, leaf in self._row.columns.items() if path == () and isinstance(leaf, Embedding)]
        if not flat:
            return self._row
        columns = dict(self._row.columns)
        for path in flat:
            whole = columns.pop(path)
            assert isinstance(whole, Embedding)
            columns.update(enumerate_elements(whole))
        return Row(columns, self._row.rests)

    def row_path(self) -> Atom:
        return Atom(self.ref("_row"), Kind.INTEGER if self.layout.numbered else Kind.PATH)

    def row_hash(self) -> str:
        return self.ref("_hash")

    def base(self, used: set[str], ordered: bool) -> str:
        return f"{identifier(self.layout.table)} AS r{self.number}"


class CellsRelation(Relation):
    """Row, column, timestamp, value: pivoted into the columns that are asked for."""

    def __init__(self, number: int, layout: Cells, alias: str | None) -> None:
        super().__init__(number, alias)
        self.layout = layout
        self._known: dict[int, CellColumn] = {}
        self._rests: dict[str, Path] = {}
        self._whole: Row | None = None

    def _leaf(self, column: CellColumn) -> Leaf:
        self._known[column.id] = column
        sql, ts = self.ref(f"c{column.id}"), self.ref(f"t{column.id}")
        if column.multiple or column.nulls:
            return Several(sql, column.kind)
        return Atom(sql, column.kind, lambda: ts, sparse=True)

    def row(self) -> Row:
        if self._whole is None:
            self._whole = self.under(())
        return self._whole

    def under(self, prefix: Path) -> Row:
        columns = self.layout.columns
        if self._pivots(len(columns)):
            size = len(prefix)
            return Row({column.path[size:]: self._leaf(column) for column in columns.under(prefix)})
        name = f"rest{len(self._rests)}"
        self._rests[name] = prefix
        cells = self.ref(name)
        if prefix:
            cells = f"m_under({cells}, {literal_text(format_path(prefix))})"
        return Row({}, (Rest((), cells),))

    def _pivots(self, columns: int) -> bool:
        return columns <= PIVOT_COLUMNS and columns * self.layout.rows <= PIVOT_WORK

    def lookup(self, path: Path) -> Value | None:
        column = self.layout.columns.get(path)
        below = next(iter(self.layout.columns.under(path)), None)
        if column is not None and below is None:
            return self._leaf(column)
        if column is None and below is None:
            return None
        if column is None:
            return self.under(path)
        under = self.under(path)
        return Open(to_cells(Row({(): self._leaf(column), **under.columns}, under.rests)))

    def column_rows(self, path: Path) -> str | None:
        column = self.layout.columns.get(path)
        return None if column is None else str(column.rows)

    def row_hash(self) -> str:
        return self.ref("_hash")

    def order(self) -> list[str]:
        return [self.ref("_ord")]

    def base(self, used: set[str], ordered: bool) -> str:
        prefix = self.layout.prefix
        parts = [f"{identifier(prefix + '_rows')} AS m"]
        names = ["m.name AS _row", "m.hash AS _hash", "m.ord AS _ord"]
        wanted = sorted({int(name[1:]) for name in used if name[0] in "ct" and name[1:].isdigit()})
        groups: dict[tuple[str, ...], list[CellColumn]] = {}
        for id_ in wanted:
            column = self._known[id_]
            groups.setdefault(tuple(sorted(column.stores)), []).append(column)
        for number, (stores, columns) in enumerate(groups.items()):
            text = _pivot(prefix, stores, columns, used)
            parts.append(f"LEFT JOIN ({text}) AS p{number} ON p{number}.row = m.id")
            names.extend(f"p{number}.{name}" for column in columns for name in _offered(column, used))
        for name, under in self._rests.items():
            if name in used:
                parts.append(f"LEFT JOIN ({_gather(prefix, under)}) AS {name} ON {name}.row = m.id")
                names.append(f"{name}.cells AS {name}")
        return f"(SELECT {', '.join(names)} FROM {' '.join(parts)}) AS r{self.number}"


def _offered(column: CellColumn, used: set[str]) -> list[str]:
    names = [f"c{column.id}"]
    if f"t{column.id}" in used:
        names.append(f"t{column.id}")
    return names


_STORE_ANY = {"int": "any_i(value)", "num": "any_n(value)", "str": "any_s(value)", "any": "value"}
_ANY_MEMBER = {
    Kind.STRING: "s", Kind.TIMESTAMP: "t", Kind.INTERVAL: "v", Kind.BLOB: "b", Kind.PATH: "p", Kind.UNSIGNED: "u",
}  # fmt: skip


def _pivot(prefix: str, stores: tuple[str, ...], columns: list[CellColumn], used: set[str]) -> str:
    """One row per row id, with the wanted columns that lie in exactly these value tables."""
    ids = ", ".join(str(column.id) for column in columns)
    timed = any(c.multiple or c.nulls or f"t{c.id}" in used for c in columns)
    scans = [_scan(prefix, store, ids, timed, mixed=len(stores) > 1) for store in stores]
    outputs = ["row"]
    for column in columns:
        value, where = _extracted(column, stores), f"FILTER (WHERE col = {column.id})"
        if column.multiple or column.nulls:
            outputs.append(f"list(struct_pack(v := {value}, t := ts) ORDER BY ts, {value}) {where} AS c{column.id}")
            continue
        outputs.append(f"any_value({value}) {where} AS c{column.id}")
        if f"t{column.id}" in used:
            outputs.append(f"any_value(ts) {where} AS t{column.id}")
    return f"SELECT {', '.join(outputs)} FROM ({' UNION ALL '.join(scans)}) GROUP BY row"


def _scan(prefix: str, store: str, ids: str, timed: bool, *, mixed: bool) -> str:
    table = identifier(f"{prefix}_{store}")
    value = _STORE_ANY[store] if mixed else "value"
    if not timed:
        return f"SELECT row, col, {value} AS value FROM {table} WHERE col IN ({ids})"
    times = identifier(prefix + "_times")
    return f"SELECT row, col, {value} AS value, w.ts FROM {table} JOIN {times} w ON w.id = time WHERE col IN ({ids})"


def _extracted(column: CellColumn, stores: tuple[str, ...]) -> str:
    """The value as the column's one kind; it arrives as ``ANY`` from that store and from several stores."""
    if len(stores) == 1 and stores != ("any",):
        return "value"
    match column.kind:
        case Kind.NUMBER:
            return "m_num(value)"
        case Kind.INTEGER:
            return "m_int(value)"
        case kind if kind in _ANY_MEMBER:
            return f"union_extract(value, '{_ANY_MEMBER[kind]}')"
    return "value"


def _gather(prefix: str, under: Path) -> str:
    """All cells of each row (below a prefix) as one list."""
    cols, times = identifier(prefix + "_cols"), identifier(prefix + "_times")
    where = ""
    if under:
        text = format_path(under)
        where = f" WHERE starts_with(k.name, {literal_text(text + '.')})"
    scans = " UNION ALL ".join(
        f"SELECT row, col, time, {value} AS value FROM {identifier(prefix + '_' + store)}"
        for store, value in _STORE_ANY.items()
    )
    cell = "struct_pack(p := k.name, v := value, t := w.ts)"
    return (
        f"SELECT row, list({cell}) AS cells FROM ({scans}) JOIN {cols} k ON k.id = col JOIN {times} w ON w.id = time"
        f"{where} GROUP BY row"
    )


class BatchRelation(Relation):
    """A registered Arrow table: the input of a function. Columns c0, c1, …, their timestamps, and the rest."""

    def __init__(self, number: int, table: str, row: Row) -> None:
        super().__init__(number)
        self.table = table
        self._row = row

    def row(self) -> Row:
        return self._row

    def order(self) -> list[str]:
        return []

    def column_rows(self, path: Path) -> str | None:
        return None

    def base(self, used: set[str], ordered: bool) -> str:
        return f"{identifier(self.table)} AS r{self.number}"


def require_row(value: Value, message: str) -> Row:
    """A row value, or the error that says why one is needed."""
    match value:
        case Row():
            return value
        case Open(sql, constant):
            return Row({}, (Rest((), sql, constant=constant),), constant)
        case Embedding(shape=shape, names=names) if shape is not None or names is not None:
            return Row(dict(enumerate_elements(value)))
        case Embedding():
            return Row({}, (Rest((), to_cells(value)),))
        case Atom(kind=Kind.NULL):
            return Row({}, (Rest((), f"NULL::{CELL_TYPE}[]"),))
    raise MldbError(message)
