"""Table functions: transpose, merge, sample, union, row_dataset and atom_dataset (sql-dialect.md §6.2)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.base import bind, bind_table, binds_table
from server.sql.binder.query import FromRelation
from server.sql.binder.sources import constant_scope
from server.sql.bound import (
    Atom,
    Embedding,
    Leaf,
    MultiValue,
    Open,
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
from server.sql.duck import select_list
from server.sql.notes import Note
from server.sql.relations import Relation, lookup, require_row
from server.sql.scope import Context
from server.sql.sparse import SparseRelation
from server.sql.tree import Constant, Item, RowLiteral, RowTable, TableCall, Unary
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import Path

NOTES = [
    Note("transpose(t: table) → table", "Rows become columns, and columns rows.",
         ("SELECT x FROM transpose((SELECT 5 AS a NAMED 'x'))", "5")),
    Note("merge(t: table[, further: table, …]) → table", "Rows of equal name become one, with the columns of "
         "all.", ("SELECT a + b AS x FROM merge((SELECT 1 AS a), (SELECT 2 AS b))", "3")),
    Note("union(t: table[, further: table, …]) → table", "The rows of all tables; row r of table number k is "
         "named k.r.", ("SELECT rowName() AS x FROM union((SELECT 1 AS a NAMED 'r'))", '"0.r"')),
    Note("sample(t: table[, options: row]) → table", "Random rows, one without options. Options: `rows` or "
         "`fraction`, `withReplacement` (0), `seed` (random).",
         ("SELECT count(*) AS x FROM sample(row_dataset({a: 1, b: 2, c: 3}), {rows: 2, seed: 1})", "2")),
    Note("row_dataset(r: row) → table", "A row for each column of a row: `column`, a path, and `value`.",
         ("SELECT max(value) AS x FROM row_dataset({a: 1, b: 2})", "2"), ("an error: NULL is no row", None)),
    Note("atom_dataset(r: row) → table", "A row for each atom of a row: `column`, its full path, and "
         "`value`.", ("SELECT count(*) AS x FROM atom_dataset({a: {b: 1, c: 2}})", "2"),
         ("an error: NULL is no row", None)),
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


def _sample(node: TableCall, context: Context) -> Relation:
    if len(node.tables) != 1:
        raise MldbError(
            "The 'sample' function takes 1 dataset as input, followed by a row expression of optional parameters"
        )
    return SampleRelation(context, bind_table(node.tables[0], context), sample_options(node.options), node.alias)


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
    "merge": _merge, "sample": _sample, "transpose": _transpose, "union": _union,
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
        del ordered
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


def sample_options(options: RowLiteral | None) -> dict[str, Any]:
    """The options of ``sample`` as Python values, checked (entity-types.md §2.4)."""
    found: dict[str, Any] = {}
    for clause in options.clauses if options is not None else ():
        if not isinstance(clause, Item):
            raise MldbError("sample takes its options as {name: constant}")
        found[".".join(clause.name or (clause.text,))] = _constant(clause)
    unknown = set(found) - {"rows", "fraction", "withReplacement", "seed"}
    if unknown:
        raise MldbError(f"Unknown option '{min(unknown)}' of sample; known are rows, fraction, withReplacement, seed")
    return check_sample(found)


def _constant(item: Item) -> Any:
    match item.expression:
        case Constant(value=value):
            return value
        case Unary(op="-", operand=Constant(value=int() | float() as value)):
            return -value
    raise MldbError("the options of sample are constants")


def check_sample(options: dict[str, Any]) -> dict[str, Any]:
    rows, fraction = options.get("rows", 0), options.get("fraction", 0)
    for name, value in options.items():
        if not isinstance(value, int | float) or (name != "fraction" and not isinstance(value, int)) or value != value:
            kind = "a number" if name == "fraction" else "an integer"
            raise MldbError(f"The '{name}' parameter of sample needs to be {kind}. Value provided is '{value}'")
    if not 0 <= rows < 2**63:
        raise MldbError(f"The 'rows' parameter cannot be negative or beyond 64 bits. Value provided is '{rows}'")
    if rows and fraction:
        raise MldbError("The 'rows' and 'fraction' parameters cannot be set at the same time.")
    if not rows and "fraction" in options and not 0 < fraction <= 1:
        raise MldbError(
            f"The 'fraction' parameter needs to be between 0 and 1. Value provided is '{options['fraction']:.4f}'"
        )
    if not rows and not fraction:
        options["rows"] = 1
    return options


class SampleRelation(FromRelation):
    """Rows drawn at random, reproducibly when a seed is given."""

    def __init__(self, context: Context, inner: Relation, options: dict[str, Any], alias: str | None) -> None:
        super().__init__(context.number(), alias)
        self.inner = inner
        self._row = self.export_row(inner.row())
        count = context.execute(f"SELECT count(*) FROM {inner.render('', ordered=False)}")[0][0]
        self.rows = int(options.get("rows") or count * options["fraction"])
        self.replaced = bool(options.get("withReplacement", False))
        if self.rows > count and not self.replaced:
            raise MldbError(
                "Requested more rows without replacement than available number of rows in original dataset."
            )
        self.count = count
        if not options.get("seed"):
            context.marks.add("volatile")
        self.seed = options.get("seed") or random.getrandbits(31)

    def row(self) -> Row:
        return self._row

    def row_path(self) -> Atom:
        path = self.inner.row_path()
        return Atom(self.offer(path.sql), path.kind)

    def row_hash(self) -> str:
        return self.offer(self.inner.row_hash())

    def base(self, used: set[str], ordered: bool) -> str:
        columns = select_list(self.exported(used))
        name = self.inner.row_text()
        source = self.inner.render(f"{columns} {name}", ordered=False)
        if not self.replaced:
            drawn = f"SELECT {columns} FROM {source} ORDER BY hash({name}, {self.seed}) LIMIT {self.rows}"
        else:
            place = f"row_number() OVER (ORDER BY {name}) - 1"
            draws = f"SELECT hash(i, {self.seed}) % {max(self.count, 1)} AS draw FROM range({self.rows}) AS d(i)"
            placed = f"SELECT {columns}, {place} AS place FROM {source}"
            drawn = f"SELECT s.* EXCLUDE (place) FROM ({draws}) JOIN ({placed}) s ON s.place = draw"
        return f"({drawn}) AS r{self.number}"


# ── row_dataset, atom_dataset ────────────────────────────────────────────────────────────────────────────────


@binds_table(RowTable)
def _row_table(node: RowTable, context: Context) -> Relation:
    scope = constant_scope(context)
    value = bind(node.expression, scope)
    if isinstance(value, Atom | MultiValue):
        got = "NULL" if value.kind is Kind.NULL else "scalar"
        raise MldbError(f"Argument to {node.name} must be a row, not a scalar or NULL (got {got})")
    atoms = node.name == "atom_dataset"
    return RowTableRelation(context.number(), value, scope.relation, atoms=atoms, alias=node.alias)


class RowTableRelation(Relation):
    """One row per (top-level) column of a row value: its name in ``column``, its value in ``value``."""

    def __init__(self, number: int, value: Value, given: Relation, *, atoms: bool, alias: str | None) -> None:
        """``given`` is the one row over which the value is bound."""
        super().__init__(number, alias)
        # What shows only at run time to be an atom is refused then.
        self.value = replace(value, sql=f"m_only_row({value.cells})", named=False) if isinstance(value, Open) else value
        self.given = given
        row = None if isinstance(value, Open) else require_row(value, "a row is needed")
        flat = row is not None and not row.rests and all(self._single(path, row.columns[path]) for path in row.columns)
        self.atoms = atoms or flat

    @staticmethod
    def _single(path: Path, leaf: Leaf) -> bool:
        return len(path) == 1 and not isinstance(leaf, Embedding)

    def row(self) -> Row:
        builder = RowBuilder()
        builder.add(("column",), Atom(self.ref("name"), Kind.PATH, lambda: self.ref("ts")))
        if self.atoms:
            builder.add(("value",), Atom(self.ref("value"), Kind.ANY, lambda: self.ref("ts")))
        else:
            builder.add(("value",), Open(self.ref("value")))
        return builder.build()

    def row_path(self) -> Atom:
        return Atom(self.ref("_row"), Kind.INTEGER)

    def order(self) -> list[str]:
        return [self.ref("_row")]

    def base(self, used: set[str], ordered: bool) -> str:
        cells = coerce.to_cells(self.value)
        if self.atoms:
            listed, value, ts = f"u_natural_cells({cells})", "c.v", "c.t"
        else:
            listed, value, ts = f"u_row_items({cells})", "c.c", "m_newest(c.c)"
        inner = f"SELECT unnest({listed}) AS c, unnest(generate_series(0, len({listed}) - 1)) AS _row"
        inner += f" FROM {self.given.render(listed, ordered=False)}"
        return f"(SELECT _row, c.p AS name, {value} AS value, {ts} AS ts FROM ({inner})) AS r{self.number}"
