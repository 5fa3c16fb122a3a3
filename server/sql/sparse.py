"""Relations over sparse datasets: cells are pivoted into columns, or gathered into a list per row.

What is pivoted and gathered is only what a query reads: its columns, and the rows that WHERE and LIMIT leave where
these can be found without the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from server.sql.bound import Atom, Leaf, MultiValue, Open, Rest, Row, Value
from server.sql.coerce import to_cells
from server.sql.duck import literal_text, where_clause
from server.sql.relations import Relation
from server.storage.database import identifier
from server.storage.layouts import TIME, times_joined
from server.storage.stores import STORES
from server.values.kinds import Kind
from server.values.paths import Path, format_path

if TYPE_CHECKING:
    import duckdb

    from server.storage.layouts import CellColumn, Cells

# A sparse dataset is pivoted into known columns up to these sizes; beyond, its rows are open (a list of cells).
PIVOT_COLUMNS: Final = 1000
PIVOT_WORK: Final = 200_000_000  # columns × rows

NAMES: Final = "streamed_names"  # the table of the names that are wanted, where not all are: ``id`` and ``name``
LINES: Final = "streamed_lines"  # the table of the lines that are streamed: ``id``, and ``place`` in the result

_NO_LIMIT: Final = 2**62

_FEW_COLUMNS: Final = 8  # so many are pivoted for all rows in less time than it takes to find the wanted rows first


class SparseRelation(Relation):
    """Cells by line: the rows of a sparse dataset, or its columns where it is transposed.

    ``lines`` and ``names`` are the suffixes of the tables of the lines and of the names within a line; ``line`` and
    ``name`` the fields of a cell that hold their ids.
    """

    lines: str
    names: str
    line: str
    name: str

    def __init__(self, number: int, layout: Cells, alias: str | None) -> None:
        super().__init__(number, alias)
        self.layout = layout
        self._gathered: dict[str, str] = {}  # column → condition on the name ``k`` of a cell
        self._folded: dict[str, tuple[str, str]] = {}  # column → condition, aggregate over the cells ``s``
        self._kept = ""  # SQL of the ids of the lines that are wanted, where these are known

    def gathered(self, condition: str = "") -> str:
        """The reference to the list of a line's cells whose name ``k`` meets a condition."""
        for column, known in self._gathered.items():
            if known == condition:
                return self.ref(column)
        column = f"rest{len(self._gathered)}"
        self._gathered[column] = condition
        return self.ref(column)

    def gathered_under(self, prefix: Path) -> str:
        """The same of the cells strictly below a prefix, the prefix cut off."""
        if not prefix:
            return self.gathered()
        text = format_path(prefix)
        cells = self.gathered(f"starts_with(k.name, {literal_text(text + '.')})")
        return f"m_under({cells}, {literal_text(text)})"

    def condition_of(self, cells: str) -> str | None:
        """The condition of a list of cells that this relation gathers; None where it is another list."""
        return next((known for column, known in self._gathered.items() if self.ref(column) == cells), None)

    def narrowed(self, cells: str, condition: str) -> str | None:
        known = self.condition_of(cells)
        return None if known is None else self.gathered(f"{known} AND {condition}" if known else condition)

    def folded(self, cells: str, aggregate: str, number: str = "") -> str | None:
        condition = self.condition_of(cells)
        if condition is None or self._has_multiple:
            return None
        aggregate = aggregate.format(n="s.v" if self._numbers_only else number)
        column = next((name for name, known in self._folded.items() if known == (condition, aggregate)), None)
        if column is None:
            column = f"fold{len(self._folded)}"
            self._folded[column] = (condition, aggregate)
        return self.ref(column)

    def counted(self, cells: str) -> str | None:
        folded = self.folded(cells, "count(*)")
        return folded and f"coalesce({folded}, 0)"

    def by_name(self, cells: str, value: str, ts: str, where: list[str]) -> str | None:
        condition = self.condition_of(cells)
        if condition is None or self._has_multiple:
            return None
        lines = ""
        if where:
            id_, both = self.ref("_id"), " AND ".join(where)
            lines = f"SELECT {id_} AS id FROM {self.render(f'{both} {id_}', ordered=False)} WHERE {both}"
        stream = self._stream(condition, [f"{self.line} IN ({lines})"] if lines else [])
        cell = "struct_pack(p := n.name, v := g.v, t := g.t)"
        return (
            f"(SELECT coalesce(list({cell}), []) FROM (SELECT s.named, {value} AS v, {ts} AS t"
            f" FROM ({stream}) AS s GROUP BY s.named) AS g JOIN {self._table(self.names)} n ON n.id = g.named)"
        )

    @cached_property
    def _has_multiple(self) -> bool:
        """Whether a line may have several cells of one name, of which only the latest counts."""
        return self.layout.columns.count("k.multiple") > 0

    @contextmanager
    def keeping(self, ids: str) -> Iterator[None]:
        """What is rendered meanwhile reads only the lines whose ids this SQL gives."""
        self._kept = ids
        try:
            yield
        finally:
            self._kept = ""

    def render_named(self, names: str, above: str) -> str:
        """As ``render``, of only the lines whose names this SQL gives."""
        with self.keeping(f"SELECT id FROM {self._stored_lines()} WHERE name IN ({names})"):
            return self.render(above, ordered=False)

    def weighs(self, above: str) -> bool:
        """Whether reading this costs much less for few lines than for all."""
        return self.gathers(above)

    def gathers(self, above: str) -> bool:
        """Whether reading this gathers or folds cells."""
        return bool(self.used(above)[0] & (self._gathered.keys() | self._folded.keys()))

    def chosen(self, above: str, where: list[str], order: list[str], tail: str) -> str | None:
        choosing = " ".join([*where, *order])
        if not self.weighs(above) or self.gathers(choosing):
            return None
        with self.keeping(self.choice(f"{self.ref('_id')} AS id", where, order, tail)):
            return self.render(above, ordered=False)

    def base(self, used: set[str], ordered: bool) -> str:
        fields, joins = self.parts(used)
        kept = f"WITH {self._kept_lines} AS MATERIALIZED ({self._kept}) " if self._kept else ""
        only = f" SEMI JOIN {self._kept_lines} ON {self._kept_lines}.id = m.id" if self._kept else ""
        conditions = self.only_kept(self.line)
        for column, condition in self._gathered.items():
            if column in used:
                cell = "struct_pack(p := s.name, v := s.v, t := s.t)"
                stream = self._stream(condition, conditions, names=True)
                joins.append(
                    _joined(column, f"SELECT s.line, list({cell}) AS cells FROM ({stream}) AS s GROUP BY s.line")
                )
                fields.append(f"{column}.cells AS {column}")
        for column, (condition, aggregate) in self._folded.items():
            if column in used:
                stream = self._stream(condition, conditions, timed=_TIME_OF_CELL in aggregate, plain=self._numbers_only)
                joins.append(_joined(column, f"SELECT s.line, {aggregate} AS v FROM ({stream}) AS s GROUP BY s.line"))
                fields.append(f"{column}.v AS {column}")
        if "_id" in used:
            fields.append("m.id AS _id")
        lines = f"{self._stored_lines()} AS m{only}"
        return f"({kept}SELECT {', '.join(fields)} FROM {' '.join([lines, *joins])}) AS r{self.number}"

    def parts(self, used: set[str]) -> tuple[list[str], list[str]]:
        """The fields and joins that a line has besides its gathered cells; ``m`` is the line."""
        raise TypeError(f"{type(self).__name__} does not say what its lines have")

    def _stored_lines(self) -> str:
        return self._table(self.lines)

    def _table(self, suffix: str) -> str:
        return identifier(f"{self.layout.prefix}_{suffix}")

    @property
    def _kept_lines(self) -> str:
        return f"kept{self.number}"

    @property
    def _stores(self) -> list[str]:
        """The value tables that hold anything, or one that does not."""
        filled = self.layout.columns.stores()
        return [store for store in STORES if store in filled] or ["int"]

    @property
    def _numbers_only(self) -> bool:
        """Whether all values are numbers: then those that are folded need not be ``ANY``."""
        return set(self._stores) <= {"int", "num"}

    @property
    def _times(self) -> str:
        return times_joined(self.layout.prefix)

    def only_kept(self, line: str) -> list[str]:
        """The condition that leaves the cells of the wanted lines."""
        return [f"{line} IN (SELECT id FROM {self._kept_lines})"] if self._kept else []

    def _stream(
        self, condition: str, where: list[str], *, names: bool = False, timed: bool = True, plain: bool = False
    ) -> str:
        """Cells one by one: ``line``, ``named``, value ``v``, ``timed`` the timestamp ``t``, with ``names`` ``name``.

        Values are ``ANY``, or ``plain`` DOUBLE.
        """
        only = where_clause(where)
        scans = " UNION ALL ".join(
            f'SELECT row, col, "time", {"value::DOUBLE" if plain else _STORE_ANY[store]} AS v'
            f" FROM {self._table(store)}{only}"
            for store in self._stores
        )
        joined = f" JOIN {self._table(self.names)} k ON k.id = {self.name}" if names or condition else ""
        fields = [f"{self.line} AS line", f"{self.name} AS named", "v"]
        fields += [f"{TIME} AS t"] if timed else []
        fields += ["k.name AS name"] if names else []
        return (
            f"SELECT {', '.join(fields)} FROM ({scans}){joined}{self._times if timed else ''}"
            f"{where_clause([condition] if condition else [])}"
        )

    def streamed(self, lines: str, *, chosen: bool) -> str:
        """The cells of lines as they lie, in order of their places; ``chosen``: only those named in ``NAMES``.

        ``lines`` is SQL of the lines: ``place`` and ``id``.

        Of each: ``k`` (place << 32 | id of the name), the timestamp ``t``, and the value in the column that is named
        as its store, one for each store that holds anything.
        """
        stores = self._stores
        scans = []
        for store in stores:
            values = ", ".join(f"{'value' if each == store else 'NULL'} AS {identifier(each)}" for each in stores)
            scans.append(f'SELECT row, col, "time", {values} FROM {self._table(store)}')
        values = ", ".join(map(identifier, stores))
        wanted = f" SEMI JOIN {NAMES} k ON k.id = {self.name}" if chosen else ""
        return (
            f"SELECT (l.place << 32) | {self.name} AS k, {TIME} AS t, {values} FROM ({' UNION ALL '.join(scans)})"
            f" JOIN {lines} AS l(place, id) ON l.id = {self.line}{wanted}{self._times} ORDER BY 1"
        )

    def names_where(self, condition: str, ids: str = "") -> str:
        """``id`` and ``name`` of the names ``k`` that meet a condition; ``ids``: of this table of ids only."""
        names = self._table(self.names)
        where = where_clause([condition] if condition else [])
        if not ids:
            return f"SELECT k.id, k.name FROM {names} k{where}"
        # Without a LIMIT between them DuckDB tries the condition, which may be slow, on all names first.
        given = f"SELECT n.* FROM {names} n SEMI JOIN {ids} AS g ON g.id = n.id LIMIT {_NO_LIMIT}"
        return f"SELECT k.id, k.name FROM ({given}) k{where}"

    def expected_cells(self, cursor: duckdb.DuckDBPyConnection, lines: str, count: int) -> float:
        """About how many cells so many lines have, of which SQL is given as to ``streamed``."""
        raise TypeError(f"{type(self).__name__} does not say how many cells its lines have")


def _joined(column: str, lines: str) -> str:
    return f"LEFT JOIN ({lines}) AS {column} ON {column}.line = m.id"


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
        value = _STORE_ANY[store] if mixed else "value"
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


_TIME_OF_CELL: Final = "s.t"  # in aggregates over cells

_STORE_ANY = {"int": "any_i(value)", "num": "any_n(value)", "str": "any_s(value)", "any": "value"}
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
