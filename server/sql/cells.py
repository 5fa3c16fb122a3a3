"""Sparse datasets as relations: pivoted into the columns that are asked for, or with rows and columns changed over."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from server.sql.bound import Atom, Leaf, MultiValue, Open, Rest, Row, Value
from server.sql.coerce import to_cells
from server.sql.duck import literal_text
from server.sql.sparse import STORE_ANY, SparseRelation
from server.storage.layouts import TIME
from server.values.kinds import Kind
from server.values.paths import Path

if TYPE_CHECKING:
    import duckdb

    from server.storage.layouts import CellColumn, Cells

# A sparse dataset is pivoted into known columns up to these sizes; beyond, its rows are open (a list of cells).
PIVOT_COLUMNS: Final = 1000
PIVOT_WORK: Final = 200_000_000  # columns × rows

_FEW_COLUMNS: Final = 8  # so many are pivoted for all rows in less time than it takes to find the wanted rows first


class CellsRelation(SparseRelation):
    """Row, column, timestamp, value: pivoted into the columns that are asked for."""

    lines, names, line, name = "rows", "cols", "row", "col"

    def __init__(self, number: int, layout: Cells, alias: str | None, *, lasting: bool = False) -> None:
        """``lasting``: for what is told of the columns beyond this moment, when there may be others; not to be read."""
        super().__init__(number, layout, alias)
        self._lasting = lasting
        self._known: dict[int, CellColumn] = {}
        self._whole: Row | None = None

    def leaf(self, column: CellColumn) -> Leaf:
        """A column of the dataset as a column of the rows."""
        if self._lasting:
            column = replace(column, kind=Kind.ANY, multiple=False, nulls=False)
        self._known[column.id] = column
        sql, ts = self.ref(f"c{column.id}"), self.ref(f"t{column.id}")
        if column.listed:
            return MultiValue(sql, column.kind, partial(self.ref, f"n{column.id}"))
        return Atom(sql, column.kind, lambda: ts, sparse=True)

    def row(self) -> Row:
        if self._whole is None:
            self._whole = self.under(())
        return self._whole

    def under(self, prefix: Path) -> Row:
        columns = self.layout.columns
        known: dict[Path, Leaf] = {}
        if self.pivots(len(columns)):
            known = {column.path[len(prefix) :]: self.leaf(column) for column in columns.under(prefix)}
            if not self._lasting:
                return Row(known)
        return Row(known, (Rest((), self.gathered_under(prefix)),))

    def pivots(self, columns: int) -> bool:
        """Whether so many columns become columns of a table."""
        return columns <= PIVOT_COLUMNS and columns * self.layout.rows <= PIVOT_WORK

    def lookup(self, path: Path) -> Value | None:
        column = self.layout.columns.get(path)
        below = next(iter(self.layout.columns.under(path)), None)
        if column is not None and below is None:
            return self.leaf(column)
        if column is None and below is None:
            return None
        if column is None:
            return self.under(path)
        under = self.under(path)
        return Open(to_cells(Row({(): self.leaf(column), **under.columns}, under.rests)))

    def weighs(self, above: str) -> bool:
        return len(self._pivoted(self.used(above)[0])) > _FEW_COLUMNS or self.gathers(above)

    @staticmethod
    def _pivoted(used: set[str]) -> list[int]:
        """Ids of the columns of which values ``c<id>``, their time ``t<id>`` or the newest ``n<id>`` are read."""
        return sorted({int(name[1:]) for name in used if name[0] in "ctn" and name[1:].isdigit()})

    def columns_where(self, condition: str, order: list[str], tail: str) -> Row:
        """The columns ``k`` that meet a condition of SQL on ``k.name`` and ``k.rows``.

        ``tail``, LIMIT and OFFSET, counts them in this order, and then the natural one.
        """
        stored = self.layout.columns
        if not tail and not self.pivots(stored.count(condition)):
            return Row({}, (Rest((), self.gathered(condition)),))
        columns = stored.where(condition, order, tail)
        if self.pivots(len(columns)):
            return Row({column.path: self.leaf(column) for column in columns})
        ids = ", ".join(str(column.id) for column in columns)
        return Row({}, (Rest((), self.gathered(f"k.id IN ({ids})")),))

    def column_rows(self, path: Path) -> str | None:
        column = self.layout.columns.get(path)
        return None if column is None else str(column.rows)

    def lacks(self, name: str) -> bool:
        columns = self.layout.columns
        # A quoted element is told apart only by its text: a name in quotes is no proof.
        begins = f"starts_with(k.name, {literal_text(name)}) OR starts_with(k.name, '\"')"
        return len(columns) > 0 and columns.count(begins) == 0

    def rows_by_column(self) -> str:
        return f"(SELECT map(list(name), list(rows)) FROM {self._table(self.names)})"

    def row_hash(self) -> str:
        return self.ref("_hash")

    def order(self) -> list[str]:
        return [self.ref("_ord")]

    def with_value(self, column: str, above: str) -> str | None:
        found = next((one for one in self._known.values() if self.ref(f"c{one.id}") == column), None)
        used, staged = self.used(above)
        if found is None or found.listed or staged or not self.layout.rows:
            return None
        if used - {f"c{found.id}", f"t{found.id}"}:
            return None
        return f"({self._pivot(tuple(sorted(found.stores)), [found], used)}) AS r{self.number}"

    def parts(self, used: set[str]) -> tuple[list[str], list[str]]:
        fields = ["m.name AS _row", "m.hash AS _hash", "m.ord AS _ord"]
        joins: list[str] = []
        groups: dict[tuple[str, ...], list[CellColumn]] = {}
        for column in filter(None, map(self._known.get, self._pivoted(used))):
            groups.setdefault(tuple(sorted(column.stores)), []).append(column)
        for number, (stores, columns) in enumerate(groups.items()):
            text = self._pivot(stores, columns, used)
            joins.append(f"LEFT JOIN ({text}) AS p{number} ON p{number}.row = m.id")
            fields.extend(f"p{number}.{name}" for column in columns for name in _offered(column, used))
        return fields, joins

    def _pivot(self, stores: tuple[str, ...], columns: list[CellColumn], used: set[str]) -> str:
        """One row per row id, with the wanted columns that lie in exactly these value tables."""
        ids = ", ".join(str(column.id) for column in columns)
        timed = any(column.listed or f"t{column.id}" in used for column in columns)
        scans = [self._scan(store, ids, timed, mixed=len(stores) > 1) for store in stores]
        if len(columns) == 1 and not columns[0].listed:
            # One cell per row at most: nothing to group.
            value = _extracted(columns[0], stores)
            ts = f", ts AS t{ids}" if timed else ""
            return f"SELECT row, {value} AS c{ids}{ts} FROM ({' UNION ALL '.join(scans)})"
        outputs = ["row"]
        for column in columns:
            value, where = _extracted(column, stores), f"FILTER (WHERE col = {column.id})"
            if value != "value":  # DuckDB converts before it filters: values of other columns may be no numbers
                value = f"CASE WHEN col = {column.id} THEN {value} END"
            if column.listed:
                listed = f"list(struct_pack(v := {value}, t := ts) ORDER BY ts, {value}) {where} AS c{column.id}"
                newest = f"min(struct_pack(t := -ts, v := {value})) {where} AS n{column.id}"
                outputs += [sql for sql in (listed, newest) if sql.rpartition(" ")[2] in used]
                continue
            outputs.append(f"any_value({value}) {where} AS c{column.id}")
            if f"t{column.id}" in used:
                outputs.append(f"any_value(ts) {where} AS t{column.id}")
        return f"SELECT {', '.join(outputs)} FROM ({' UNION ALL '.join(scans)}) GROUP BY row"

    def expected_cells(self, cursor: duckdb.DuckDBPyConnection, lines: str, count: int) -> float:
        return count * self.layout.cells / max(self.layout.rows, 1)

    def _scan(self, store: str, ids: str, timed: bool, *, mixed: bool) -> str:
        value = STORE_ANY[store] if mixed else "value"
        where = " AND ".join([f"col IN ({ids})", *self.only_kept("row")])
        ts, times = (f", {TIME} AS ts", self._times) if timed else ("", "")
        return f"SELECT row, col, {value} AS value{ts} FROM {self._table(store)}{times} WHERE {where}"


class TransposedCells(SparseRelation):
    """Rows and columns changed over: the columns that have cells are the rows, and rows are open."""

    lines, names, line, name = "cols", "rows", "col", "row"

    def row(self) -> Row:
        return Row({}, (Rest((), self.gathered()),))

    def under(self, prefix: Path) -> Row:
        return Row({}, (Rest((), self.gathered_under(prefix)),))

    def order(self) -> list[str]:
        return [f"u_natural_key({self.ref('_row')})"]

    def counted(self, cells: str) -> str | None:
        return (
            self.ref("_rows") if self.condition_of(cells) == "" and not self._has_multiple else super().counted(cells)
        )

    def parts(self, used: set[str]) -> tuple[list[str], list[str]]:
        return ["m.name AS _row", "m.rows AS _rows"], []

    def expected_cells(self, cursor: duckdb.DuckDBPyConnection, lines: str, count: int) -> float:
        joined = f"{self._table(self.lines)} c JOIN {lines} AS l(place, id) ON l.id = c.id"
        return float(cursor.execute(f"SELECT coalesce(sum(c.rows), 0) FROM {joined}").fetchall()[0][0])

    def _stored_lines(self) -> str:
        return f"(SELECT id, name, rows FROM {self._table(self.lines)} WHERE rows > 0)"


def _offered(column: CellColumn, used: set[str]) -> list[str]:
    if column.listed:
        return [name for name in (f"c{column.id}", f"n{column.id}") if name in used]
    return [f"c{column.id}", *([f"t{column.id}"] if f"t{column.id}" in used else [])]


_ANY_MEMBER = {
    Kind.STRING: "s", Kind.TIMESTAMP: "t", Kind.INTERVAL: "v", Kind.BLOB: "b", Kind.PATH: "p", Kind.UNSIGNED: "u",
}  # fmt: skip


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
