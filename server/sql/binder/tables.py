"""Table functions over tables: transpose, merge and union; ``samples`` has sample (sql-dialect.md §6.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.base import bind_table, binds_table
from server.sql.binder.query import FromRelation
from server.sql.binder.samples import sample
from server.sql.bound import (
    Atom,
    Leaf,
    Rest,
    Row,
    RowBuilder,
    Ts,
    Value,
    fixed,
    only_where,
    presence,
)
from server.sql.cells import CellsRelation, TransposedCells
from server.sql.notes import Note
from server.sql.relations import Relation, lookup
from server.sql.scope import Context
from server.sql.sparse import SparseRelation
from server.sql.tree import TableCall
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import Path

NOTES = [
    Note("transpose(t: table) → table", "Rows become columns, and columns rows.",
         ("SELECT x FROM transpose((SELECT 5 AS a NAMED 'x'))", "5")),
    Note("merge(t: table[, further: table, …]) → table", "Rows of equal name become one, with the columns of "
         "all.", ("SELECT a + b AS x FROM merge((SELECT 1 AS a), (SELECT 2 AS b))", "3")),
    Note("union(t: table[, further: table, …]) → table", "The rows of all tables; row r of table number k is "
         "named k.r.", ("SELECT rowName() AS x FROM union((SELECT 1 AS a NAMED 'r'))", '"0.r"')),
]  # fmt: skip


@binds_table(TableCall)
def _table_call(node: TableCall, context: Context) -> Relation:
    function = _FUNCTIONS.get(node.name)
    if function is None:
        raise MldbError(f"could not bind dataset function {node.name}; known are {', '.join(_FUNCTIONS)}")
    return function(node, context)


def _merge(node: TableCall, context: Context) -> Relation:
    if not node.tables:
        raise MldbError("merge() needs at least 1 argument", code=500)
    if node.options is not None:
        raise MldbError("merge() does not take any options", code=500)
    inputs = [bind_table(table, context) for table in node.tables]
    if len(inputs) > 1:
        return MergeRelation(context, inputs, node.alias)
    inputs[0].alias = node.alias or inputs[0].alias
    return inputs[0]


def _transpose(node: TableCall, context: Context) -> Relation:
    if len(node.tables) != 1:
        raise MldbError("transpose() takes a single argument", code=500)
    if node.options is not None:
        raise MldbError("transpose() does not take any options", code=500)
    inner = bind_table(node.tables[0], context)
    if isinstance(inner, CellsRelation):
        return TransposedCells(context.number(), inner.layout, node.alias)
    return TransposeRelation(context.number(), inner, node.alias)


def _union(node: TableCall, context: Context) -> Relation:
    if not node.tables or node.options is not None:
        raise MldbError("union takes one table or more, and no options")
    return UnionRelation(context.number(), [bind_table(table, context) for table in node.tables], node.alias)


_FUNCTIONS: dict[str, Callable[[TableCall, Context], Relation]] = {
    "merge": _merge, "sample": sample, "transpose": _transpose, "union": _union,
}  # fmt: skip


class TransposeRelation(Relation):
    """Rows and columns changed over: rows are open, for their columns are the source's rows."""

    def __init__(self, number: int, inner: Relation, alias: str | None) -> None:
        super().__init__(number, alias)
        self.inner = inner
        self._cells = coerce.to_cells(inner.row())
        self._name = inner.row_text()

    def row(self) -> Row:
        return Row({}, (Rest((), self.ref("rest")),))

    def order(self) -> list[str]:
        return [f"u_natural_key({self.ref('_row')})"]

    def base(self, used: set[str], ordered: bool) -> str:
        items = f"{self._name} AS name, unnest({self._cells}) AS c"
        source = self.inner.render(items, ordered=False)
        cell = "struct_pack(p := name, v := c.v, t := c.t)"
        return (
            f"(SELECT c.p AS _row, list({cell}) AS rest FROM (SELECT {items} FROM {source}) GROUP BY c.p)"
            f" AS r{self.number}"
        )


class MergeRelation(FromRelation):
    """Rows of equal name combined; a column that several inputs have keeps all their values."""

    def __init__(self, context: Context, inputs: list[Relation], alias: str | None) -> None:
        super().__init__(context.number(), alias)
        self.inputs = inputs
        self._names = [relation.row_text() for relation in inputs]
        builder = RowBuilder()
        for relation in inputs:
            row = relation.row()
            builder.add((), Row({path: _maybe_missing(leaf) for path, leaf in row.columns.items()}, row.rests))
        self._row = self.export_row(builder.build(), missing=True)  # for single columns, where NULL is NULL
        self._kept = ""  # SQL of the names of the rows that are wanted, where these are known

    def row(self) -> Row:
        builder = RowBuilder()
        for relation, name in zip(self.inputs, self._names, strict=True):
            builder.add((), only_where(relation.row(), f"({name} IS NOT NULL)"))
        return self.export_row(builder.build(), missing=True)

    def lookup(self, path: Path) -> Value | None:
        if not self._row.rests:
            return lookup(self._row, path)
        builder = RowBuilder()
        for relation in self.inputs:
            found = relation.lookup(path)
            if found is not None:
                builder.add(path, _maybe_missing(found) if isinstance(found, Atom) else found)
        return lookup(self.export_row(builder.build(), missing=True), path)

    def row_path(self) -> Atom:
        return Atom(self.offer("spine.name"), Kind.PATH)

    def order(self) -> list[str]:
        return [self.row_hash()]

    def chosen(self, above: str, where: list[str], order: list[str], tail: str) -> str | None:
        choosing = " ".join([*where, *order])
        weighs = any(relation.weighs(self._below(above)) for relation in self._sparse)
        if not weighs or any(relation.gathers(self._below(choosing)) for relation in self._sparse):
            return None
        self._kept = self.choice(f"{self.offer('spine.name')} AS name", where, order, tail)
        try:
            return self.render(above, ordered=False)
        finally:
            self._kept = ""

    @property
    def _sparse(self) -> list[SparseRelation]:
        return [relation for relation in self.inputs if isinstance(relation, SparseRelation)]

    def _below(self, above: str) -> str:
        """What is read of the inputs where ``above`` is read of this."""
        return " ".join(self.exported(self.used(above)[0]).values())

    def base(self, used: set[str], ordered: bool) -> str:
        text = super().base(used, ordered)
        kept = f"WITH {self._names_kept} AS MATERIALIZED ({self._kept}) " if self._kept else ""
        return f"({kept}{text.removeprefix('(')}"

    @property
    def _names_kept(self) -> str:
        return f"kept{self.number}"

    def source(self, above: str, ordered: bool) -> str:
        everything = " ".join([above, *self._names])
        if self._kept:
            texts = [self._render_kept(relation, everything) for relation in self.inputs]
            return f"{self._names_kept} AS spine {self._joins(texts)}"
        texts = [relation.render(everything, ordered=False) for relation in self.inputs]
        names = " UNION ".join(
            f"SELECT {name} AS name FROM {relation.render(name, ordered=False)}"
            for relation, name in zip(self.inputs, self._names, strict=True)
        )
        return f"({names}) AS spine {self._joins(texts)}"

    def _joins(self, texts: list[str]) -> str:
        return " ".join(
            f"LEFT JOIN {text} ON {name} = spine.name" for text, name in zip(texts, self._names, strict=True)
        )

    def _render_kept(self, relation: Relation, above: str) -> str:
        if not isinstance(relation, SparseRelation):
            return relation.render(above, ordered=False)
        return relation.render_named(f"SELECT name FROM {self._names_kept}", above)


def _maybe_missing(leaf: Leaf) -> Leaf:
    """A column that rows may lack; where they do it is NULL, and where it is NULL they are taken to."""
    return replace(leaf, sparse=True, there="") if isinstance(leaf, Atom) else leaf


class UnionRelation(Relation):
    """Rows one after the other; row ``r`` of input k is named ``k.r``."""

    def __init__(self, number: int, inputs: list[Relation], alias: str | None) -> None:
        super().__init__(number, alias)
        self.inputs = inputs
        self._rows = [relation.row() for relation in inputs]
        paths = dict.fromkeys(path for row in self._rows for path in row.columns)
        self._kinds = {path: self._kind(path) for path in paths}

    def _kind(self, path: Path) -> Kind | None:
        """The one kind of a column over all inputs; None where it is no plain atom and goes to the rest."""
        leaves = [row.columns[path] for row in self._rows if path in row.columns]
        if any(not isinstance(leaf, Atom) for leaf in leaves):
            return None
        return coerce.unify([leaf for leaf in leaves if isinstance(leaf, Atom)])

    def row(self) -> Row:
        columns: dict[Path, Leaf] = {}
        for index, (path, kind) in enumerate(self._kinds.items()):
            if kind is not None:
                there = self.ref(f"h{index}") if self._nullable(path) else ""
                columns[path] = Atom(self.ref(f"c{index}"), kind, self._ts(index), sparse=True, there=there)
        rests = (Rest((), self.ref("rest")),) if self._has_rest() else ()
        return Row(columns, rests)

    def _nullable(self, path: Path) -> bool:
        """Whether a row of an input may have the column with NULL in it."""
        leaves = [row.columns.get(path) for row in self._rows]
        return any(isinstance(leaf, Atom) and leaf.nullable() for leaf in leaves)

    def _ts(self, index: int) -> Ts:
        return fixed(self.ref(f"t{index}"))

    def _has_rest(self) -> bool:
        return any(row.rests for row in self._rows) or None in self._kinds.values()

    def order(self) -> list[str]:
        return [self.ref("_input"), self.ref("_place")]

    def base(self, used: set[str], ordered: bool) -> str:
        parts = [self._part(number, used, ordered) for number in range(len(self.inputs))]
        return f"({' UNION ALL '.join(parts)}) AS r{self.number}"

    def _part(self, number: int, used: set[str], ordered: bool) -> str:
        relation, row = self.inputs[number], self._rows[number]
        items = [f"'{number}.' || {relation.row_text()} AS _row", f"{number} AS _input"]
        order = relation.order()
        place = f"row_number() OVER ({'ORDER BY ' + ', '.join(order) if order else ''})" if ordered else "0"
        items.append(f"{place} AS _place")
        for index, (path, kind) in enumerate(self._kinds.items()):
            if kind is None:
                continue
            leaf = row.columns.get(path)
            if f"c{index}" in used:
                one = Atom("NULL", Kind.NULL) if leaf is None else coerce.atom(leaf)
                items.append(f"{coerce.as_kind(one, kind)} AS c{index}")
            if f"h{index}" in used:
                there = "FALSE" if leaf is None else presence(leaf) or "TRUE"
                items.append(f"{there} AS h{index}")
            if f"t{index}" in used:
                items.append(f"{'NULL::DOUBLE' if leaf is None else coerce.atom(leaf).ts()} AS t{index}")
        if "rest" in used:
            known = {path: leaf for path, leaf in row.columns.items() if self._kinds[path] is None}
            items.append(f"CAST({coerce.to_cells(Row(known, row.rests))} AS {CELL_TYPE}[]) AS rest")
        text = ", ".join(items)
        return f"SELECT {text} FROM {relation.render(text, ordered=False)}"
