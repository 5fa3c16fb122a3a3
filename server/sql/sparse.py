"""What relations over sparse datasets share: the cells of a line, gathered into a list or folded by an aggregate.

What is pivoted and gathered is only what a query reads: its columns, and the rows that WHERE and LIMIT leave where
these can be found without the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Final

from server.sql.duck import literal_text, where_clause
from server.sql.relations import Relation
from server.storage.database import identifier
from server.storage.layouts import TIME, times_joined
from server.storage.stores import STORES
from server.values.paths import Path, format_path

if TYPE_CHECKING:
    import duckdb

    from server.storage.layouts import Cells

NAMES: Final = "streamed_names"  # the table of the names that are wanted, where not all are: ``id`` and ``name``
LINES: Final = "streamed_lines"  # the table of the lines that are streamed: ``id``, and ``place`` in the result

STORE_ANY: Final = {"int": "any_i(value)", "num": "any_n(value)", "str": "any_s(value)", "any": "value"}  # as ANY

_TIME_OF_CELL: Final = "s.t"  # in aggregates over cells
_NO_LIMIT: Final = 2**62


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
            f'SELECT row, col, "time", {"value::DOUBLE" if plain else STORE_ANY[store]} AS v'
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
