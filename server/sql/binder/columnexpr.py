"""COLUMN EXPR (sql-dialect.md §4.4): SELECT, AS and WHERE are evaluated per column of the row.

Columns known while binding are chosen while binding, as far as WHERE and AS depend on names only; what depends on
values, and the cells of open rows, are decided row by row.
"""

from __future__ import annotations

from dataclasses import replace

from server.errors import MldbError
from server.sql import coerce, comparison
from server.sql.binder.base import bind, bind_atom, bind_truth, within
from server.sql.binder.rowfunctions import path_element
from server.sql.bound import Atom, Embedding, MultiValue, Open, Rest, Row, RowBuilder, Value, is_null, presence, present
from server.sql.cells import CellsRelation
from server.sql.duck import literal_text, outer_references
from server.sql.hoisted import HoistedQueries
from server.sql.notes import Note
from server.sql.relations import cut
from server.sql.scope import NestedScope, Scope, TableScope
from server.sql.tree import Binary, Call, ColumnExpr, Constant, Expression, OrderKey, conjuncts
from server.storage.database import PATH_HASH
from server.values.atoms import PathValue
from server.values.kinds import Kind
from server.values.paths import Path, format_path, natural_key, parse_path

_ORDER_BY_VALUES = "ORDER BY in COLUMN EXPR may depend on the column's name and rowCount(), not on its values"
_NULL_NAME = "Cannot have a NULL column name"
_FUNCTIONS = {"columnName", "columnPath", "columnPathElement", "columnPathLength", "value", "rowCount", "columnHash"}

NOTES = [
    Note("columnName() → text", "The name of the column.",
         ("SELECT COLUMN EXPR (AS 'x' WHERE columnName() = 'b') FROM (SELECT 1 AS a, 2 AS b)", "2")),
    Note("columnPath() → path", "The path of the column.",
         ("SELECT COLUMN EXPR (SELECT path_length(columnPath()) AS 'x') FROM (SELECT 1 AS a.b)", "2")),
    Note("columnPathElement(n: integer) → text", "The element number n of the column's path, from "
         "0; negative: from the end; NULL beyond.",
         ("SELECT COLUMN EXPR (SELECT columnPathElement(-1) AS 'x') FROM (SELECT 1 AS a.b)", '"b"')),
    Note("columnPathLength() → integer", "How many elements the column's path has.",
         ("SELECT COLUMN EXPR (SELECT columnPathLength() AS 'x') FROM (SELECT 1 AS a.b)", "2")),
    Note("columnHash() → integer", "A hash of the column's path: CityHash64.",
         ("SELECT COLUMN EXPR (SELECT columnHash() AS 'x') FROM (SELECT 1 AS x)", "5748889492429595544")),
    Note("value() → any", "The value of the column.",
         ("SELECT COLUMN EXPR (SELECT value() + 1 AS 'x') FROM (SELECT 1 AS a)", "2")),
    Note("rowCount() → integer", "How many rows of the table have the column.",
         ("SELECT COLUMN EXPR (SELECT rowCount() AS 'x' WHERE columnName() = 'value') FROM row_dataset([7, 8]) LIMIT 1",
          "2")),
]  # fmt: skip


class ColumnScope(NestedScope):
    """What the parts of COLUMN EXPR see: one column. ``path`` is None for the cells of an open row."""

    def __init__(self, outer: Scope, value: Value, name: Atom, path: Path | None) -> None:
        super().__init__(outer)
        self.value = value
        self.name = name
        self.path = path
        self.hoisted = HoistedQueries(outer.context)

    def column(self, path: Path) -> Value:
        raise MldbError(f"Cannot read column '{format_path(path)}' inside COLUMN EXPR")

    def everything(self) -> Row:
        raise MldbError("Cannot use wildcard inside COLUMN EXPR")

    def call(self, call: Call) -> Value | None:
        match call.name:
            case "columnName":
                return Atom(self.name.sql, Kind.STRING, constant=self.name.constant)
            case "columnPath":
                return self.name
            case "columnPathElement":
                element = path_element(self.name, call)
                return Atom(element.sql, Kind.STRING, constant=self.name.constant)
            case "columnPathLength":
                return Atom(f"u_path_length({self.name.sql})", Kind.INTEGER, constant=self.name.constant)
            case "columnHash":
                return Atom(f"{PATH_HASH}({self.name.sql})", Kind.UNSIGNED, constant=self.name.constant)
            case "value":
                return self.value
            case "rowCount":
                return self._row_count()
        return None

    def _row_count(self) -> Atom:
        relation = self.outer.source
        if relation is None:
            return Atom("1::BIGINT", Kind.INTEGER)
        if self.path is None:
            counts = self.outer.once(relation.rows_by_column())
            return Atom(f"coalesce({counts}[{self.name.sql}], 0)", Kind.INTEGER)
        rows = relation.column_rows(self.path)
        if rows is None or rows.isdigit():
            return Atom(f"{rows or 1}::BIGINT", Kind.INTEGER, constant=True)
        if outer_references(rows) or self.context.parameters is not None:  # known only while the query runs
            return Atom(self.outer.once(rows), Kind.INTEGER)
        return Atom(f"{self.context.execute(f'SELECT {rows}')[0][0]}::BIGINT", Kind.INTEGER, constant=True)

    def in_cells(self) -> bool:
        return self.path is None or self.outer.in_cells()

    def stage(self, sql: str) -> str:
        return sql if self.in_cells() else self.hoisted.stage(sql)


class _ReadsMore(Exception):
    """Raised when a condition on columns reads more of them than their names and row counts."""


class _StoredColumnScope(ColumnScope):
    """The columns of a sparse dataset as its table of columns has them: ``k.name`` and ``k.rows``."""

    def __init__(self, outer: Scope) -> None:
        super().__init__(outer, Atom("NULL", Kind.NULL), Atom("k.name", Kind.PATH), None)

    def call(self, call: Call) -> Value | None:
        if call.name == "value":
            raise _ReadsMore
        return super().call(call)

    def _row_count(self) -> Atom:
        return Atom("k.rows::BIGINT", Kind.INTEGER)

    def stage(self, sql: str) -> str:
        raise _ReadsMore  # a sub-query of the row at hand

    def once(self, sql: str) -> str:
        raise _ReadsMore

    def brief(self, sql: str) -> str:
        return sql


def _chosen(node: ColumnExpr, scope: Scope) -> tuple[Row, ColumnExpr] | None:
    """The columns that WHERE, ORDER BY and LIMIT leave of a sparse dataset, and what of WHERE reads their values.

    None where nothing can be chosen before the values are read.
    """
    relation = scope.relation if isinstance(scope, TableScope) else None
    if not isinstance(relation, CellsRelation) or node.structured or not (node.where or _plain(node)):
        return None
    inner = _StoredColumnScope(scope)
    conditions: list[str] = []
    left: list[Expression] = []
    for part in conjuncts(node.where):
        try:
            conditions.append(f"coalesce({bind_truth(part, inner)}, FALSE)")
        except _ReadsMore:
            left.append(part)
    if not conditions and not _plain(node):
        return None
    order = [term for key in (node.order_by if _plain(node) else ()) for term in _stored_order(key, inner)]
    tail = ""
    if _plain(node):
        tail += f" LIMIT {node.limit}" if node.limit is not None else ""
        tail += f" OFFSET {node.offset}" if node.offset else ""
    rest = replace(node, where=_conjunction(left), order_by=(), limit=None, offset=0)
    return relation.columns_where(" AND ".join(conditions) or "TRUE", order, tail), rest


def _stored_order(key: OrderKey, inner: _StoredColumnScope) -> list[str]:
    try:
        return comparison.sort_terms(bind_atom(key.expression, inner), key.descending)
    except _ReadsMore:
        with within(key.expression):
            raise MldbError(_ORDER_BY_VALUES) from None


def _conjunction(parts: list[Expression]) -> Expression | None:
    found: Expression | None = None
    for part in parts:
        found = part if found is None else Binary("and", found, part, span=part.span)
    return found


def column_expression(node: ColumnExpr, scope: Scope) -> Row:
    if isinstance(node.select, Call) and node.select.name == "value" and not node.select.args:
        node = replace(node, select=None)  # which is the default: all values of a cell
    row = scope.everything()
    chosen = _chosen(node, scope) if row.rests else None
    if chosen is not None:
        row, node = chosen
    builder = RowBuilder()
    names = _limited(node, row, scope) if _plain(node) and not row.rests else None
    for path, leaf in _columns(row, node.structured):
        if names is None or path in names:
            _known_column(node, path, leaf, scope, builder)
    for rest in row.rests:
        builder.rests.append(Rest((), _open_cells(node, rest.cells(), scope)))
    return builder.build()


def _columns(row: Row, structured: bool) -> list[tuple[Path, Value]]:
    if not structured:
        return list(row.columns.items())
    found: list[tuple[Path, Value]] = []
    for first in dict.fromkeys(path[:1] for path in row.columns):
        whole = row.columns.get(first)
        found.append((first, whole if whole is not None else cut(row, first)))
    return found


def _scope(node_path: Path, leaf: Value, scope: Scope) -> ColumnScope:
    name = Atom(literal_text(format_path(node_path)), Kind.PATH, constant=True)
    return ColumnScope(scope, leaf, name, node_path)


def _known_column(node: ColumnExpr, path: Path, leaf: Value, scope: Scope, builder: RowBuilder) -> None:
    inner = _scope(path, leaf, scope)
    condition = None
    if node.where is not None:
        condition = inner.hoisted.around(bind_truth(node.where, inner))
        decided = _decided(condition, scope)
        if decided is False:
            return
        condition = None if decided else condition
    value = leaf
    if node.select is not None:
        value = present(inner.hoisted.around_value(bind(node.select, inner)))
        condition = " AND ".join(filter(None, (presence(leaf), condition))) or None
    if condition is not None:
        value = _conditional(condition, value)
    name = path if node.as_ is None else _constant_path(node.as_, inner, scope)
    builder.add(name, value)


def _conditional(condition: str, value: Value) -> Value:
    """The value where a condition holds, else no cell at all; a null that is there stays a null."""
    match value:
        case Atom():
            return value.where(condition)
        case MultiValue(sql, kind):
            return MultiValue(f"CASE WHEN {condition} THEN {sql} END", kind)
        case Embedding():
            return replace(value, sql=f"CASE WHEN {condition} THEN {value.sql} END")
    return Open(f"CASE WHEN {condition} THEN {coerce.to_cells(value)} ELSE [] END")


def _decided(condition: str, scope: Scope) -> bool | None:
    """What WHERE gives for all rows alike, None when it depends on them."""
    if outer_references(condition):
        return None
    return bool(scope.context.execute(f"SELECT coalesce({condition}, FALSE)")[0][0])


def _constant_path(expression: Expression, inner: ColumnScope, scope: Scope) -> Path:
    """The name that AS gives, computed while binding."""
    match expression:
        case Constant(value=str(text)):
            return (text,)
        case Constant(value=PathValue(path)):
            return path
        case Call(name="columnName"):
            # A name is one element, unless it is the column's own.
            return inner.path or ()
        case Call(name="columnPath"):
            return inner.path or ()
    value = inner.hoisted.around_value(bind(expression, inner))
    with within(expression):
        if is_null(value):
            raise MldbError(_NULL_NAME)
        sql = coerce.to_path(value)
        if outer_references(sql):
            raise MldbError("AS in COLUMN EXPR may depend on the column's name, not on its values")
        text = scope.context.execute(f"SELECT {sql}")[0][0]
        if text is None:
            raise MldbError(_NULL_NAME)
        return parse_path(text)


def _plain(node: ColumnExpr) -> bool:
    """ORDER BY, OFFSET and LIMIT count only when SELECT is value() and AS is columnPath()."""
    names = node.as_ is None or (isinstance(node.as_, Call) and node.as_.name in ("columnPath", "columnName"))
    return node.select is None and names and bool(node.order_by or node.limit is not None or node.offset)


def _limited(node: ColumnExpr, row: Row, scope: Scope) -> set[Path]:
    """The columns that ORDER BY, OFFSET and LIMIT leave, chosen among the known ones."""
    leaves = dict(_columns(row, node.structured))
    paths = [path for path, leaf in leaves.items() if node.where is None or _passes(node.where, path, leaf, scope)]
    paths.sort(key=natural_key)
    for key in reversed(node.order_by):
        values = {path: _key(key.expression, path, leaves[path], scope) for path in paths}
        paths.sort(key=lambda path: _sortable(values[path]), reverse=key.descending)
    start = node.offset or 0
    end = None if node.limit is None else start + node.limit
    return set(paths[start:end])


def _passes(where: Expression, path: Path, leaf: Value, scope: Scope) -> bool:
    inner = _scope(path, leaf, scope)
    return _decided(inner.hoisted.around(bind_truth(where, inner)), scope) is not False


def _key(expression: Expression, path: Path, leaf: Value, scope: Scope) -> object:
    inner = _scope(path, leaf, scope)
    value = coerce.atom(inner.hoisted.around_value(bind_atom(expression, inner)))
    if outer_references(value.sql):
        with within(expression):
            raise MldbError(_ORDER_BY_VALUES)
    return scope.context.execute(f"SELECT {value.sql}")[0][0]


def _sortable(value: object) -> tuple[int, object]:
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, int | float) else (2, str(value))


def _open_cells(node: ColumnExpr, cells: str, scope: Scope) -> str:
    """The cells of an open row, as COLUMN EXPR has them."""
    if node.structured:
        return _open_items(node, cells, ColumnScope(scope, Open("item.c"), Atom("item.p", Kind.PATH), None))
    inner = ColumnScope(scope, Atom("item.v", Kind.ANY, lambda: "item.t"), Atom("item.p", Kind.PATH), None)
    if node.where is not None:
        cells = f"list_filter({cells}, lambda item: coalesce({coerce.truth(bind(node.where, inner))}, FALSE))"
    if node.select is None and node.as_ is None:
        return cells
    value, name = inner.value if node.select is None else bind(node.select, inner), _open_name(node, inner)
    if isinstance(value, Row | Open | Embedding):
        return f"flatten(list_transform({cells}, lambda item: m_prefixed({coerce.to_cells(value)}, {name})))"
    one = coerce.atom(value)
    body = f"struct_pack(p := {name}, v := {coerce.to_any(one)}, t := {one.ts()})"
    return f"list_transform({cells}, lambda item: {body})"


def _open_items(node: ColumnExpr, cells: str, inner: ColumnScope) -> str:
    """With STRUCTURED: the top-level columns of an open row, each with the cells below it."""
    items = f"u_row_items({cells})"
    if node.where is not None:
        items = f"list_filter({items}, lambda item: coalesce({bind_truth(node.where, inner)}, FALSE))"
    value = coerce.to_cells(inner.value if node.select is None else bind(node.select, inner))
    return f"flatten(list_transform({items}, lambda item: m_prefixed({value}, {_open_name(node, inner)})))"


def _open_name(node: ColumnExpr, inner: ColumnScope) -> str:
    """SQL of the name that AS gives to a column of an open row."""
    if node.as_ is None or (isinstance(node.as_, Call) and node.as_.name in ("columnName", "columnPath")):
        return inner.name.sql
    value = bind(node.as_, inner)
    with within(node.as_):
        if is_null(value):
            raise MldbError(_NULL_NAME)
    return f"m_need_column({coerce.to_path(value)})"
