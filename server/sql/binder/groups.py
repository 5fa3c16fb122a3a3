"""GROUP BY and aggregates (sql-dialect.md §5, §9).

Grouping is one sub-query that computes the keys (``k<n>``) and the aggregates (``a<n>``); SELECT, HAVING, NAMED and
ORDER BY are bound over it.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace
from typing import NoReturn

from server.errors import MldbError
from server.sql import coerce, comparison
from server.sql.binder.aggregates import AGGREGATES, aggregate
from server.sql.binder.base import bind, within
from server.sql.binder.output import distinct_terms, named, order_terms
from server.sql.binder.query import Query
from server.sql.binder.rowfunctions import row_function
from server.sql.binder.rows import bind_clauses
from server.sql.bound import Atom, Embedding, Open, Row, Ts, Value, as_any_list, timestamp_of
from server.sql.duck import where_clause
from server.sql.notes import Note
from server.sql.positions import did_you_mean
from server.sql.relations import Relation, lookup, require_row
from server.sql.render import render
from server.sql.scope import OverlayScope, Scope
from server.sql.tree import Call, Clause, ColumnRef, Constant, Expression, Item, Node, Select, Wildcard, children
from server.storage.database import PATH_HASH
from server.values.kinds import Kind
from server.values.paths import Path, format_path

_WHOLE = frozenset({Kind.INTEGER, Kind.UNSIGNED})  # kinds of keys whose text needs no quotes in a row name

_ROW_FUNCTIONS = {"rowName", "rowPath", "rowHash"}
_KEY_ELEMENT = {"groupKeyElement", "group_key_element"}

NOTES = [
    Note(f"{name}(n: integer) → any", "The value of GROUP BY's expression number n, from 0.",
         (f"SELECT {name}(0) AS x FROM (SELECT 5 AS a) GROUP BY a", "5"))
    for name in sorted(_KEY_ELEMENT)
]  # fmt: skip


class GroupRelation(Relation):
    """One row per group: keys and aggregates over an inner relation."""

    def __init__(self, number: int, inner: Relation, where: list[str]) -> None:
        super().__init__(number)
        self.inner = inner
        self.where = where
        self.keys: list[str] = []
        self.key_values: list[Value] = []
        self._aggregates: dict[str, str] = {}
        self._over: dict[str, str] = {}  # aggregate → what must not be NULL in a row that says something to it
        self.arguments: dict[str, Call | None] = {}  # SQL that may fail → the aggregate that it is an argument of
        self.calling: Call | None = None  # the aggregate that is being bound
        self._maybe_null: set[str] = set()  # keys that may be atoms, and so null where they have no cells
        self.counts = False  # the query uses count by that name

    @property
    def single(self) -> bool:
        return not self.keys

    def add_key(self, value: Value) -> Value:
        """A group key: its value as read from the grouped relation."""
        name = f"k{len(self.keys)}"
        self.keys.append(comparison.group_term(value))
        if isinstance(value, Row | Open):
            # The group's key is the row with the earliest cells.
            key = Open(self.aggregate(f"min(m_sorted_cells({coerce.to_cells(value)}))"))
            result: Value = key
            if isinstance(value, Open):
                self._maybe_null.add(key.sql)
        elif isinstance(value, Embedding):
            result = replace(value, sql=self.ref(name), ts=self._key_ts(value), constant=False)
        else:
            one = coerce.atom(value)
            kind = one.kind if one.kind is not Kind.NULL else Kind.ANY
            result = Atom(self.ref(name), kind, self._key_ts(one), may_be_null=one.nullable)
        self.key_values.append(result)
        return result

    def _key_ts(self, value: Value) -> Ts:
        return lambda: self.aggregate(f"any_value({timestamp_of(value)})")

    def aggregate(self, sql: str, over: str = "") -> str:
        """A DuckDB aggregate over the group; the reference to its result. See ``Grouping``."""
        name = self._aggregates.setdefault(sql, f"a{len(self._aggregates)}")
        self._over[name] = over
        return self.ref(name)

    def row(self) -> Row:
        raise MldbError("Wildcard cannot be used with GROUP BY")

    def row_path(self) -> Atom:
        if not self.key_values:
            return Atom("'[]'", Kind.PATH)
        parts = ", ".join(self._key_json(value) for value in self.key_values)
        text = f"concat('[', concat_ws(',', {parts}), ']')"
        whole = all(isinstance(value, Atom) and value.kind in _WHOLE for value in self.key_values)
        # m_quote looks for control characters, of which JSON has none, by a pattern: to make that ready takes long.
        return Atom(text if whole else f"m_quote_json({text})", Kind.PATH)

    def _key_json(self, value: Value) -> str:
        text = _known_json(value)
        if isinstance(value, Open) and value.sql in self._maybe_null:
            return f"CASE WHEN len({value.sql}) = 0 THEN 'null' ELSE {text} END"
        return text

    def order(self) -> list[str]:
        return [term for value in self.key_values for term in comparison.sort_terms(value, False)]

    def base(self, used: set[str], ordered: bool) -> str:
        items = [f"{sql} AS k{number}" for number, sql in enumerate(self.keys)]
        items += [f"{sql} AS {name}" for sql, name in self._aggregates.items() if name in used]
        columns = ", ".join(items) or "count(*) AS rows"
        counted = self._counted(used)
        if counted is not None:
            return f"(SELECT {counted}) AS r{self.number}"
        source = self._with_value(columns, used)
        if source is not None:
            return f"(SELECT {columns} FROM {source}) AS r{self.number}"
        if items and not self.keys and not self.counts:
            columns += ", count(*) AS rows"
        where = where_clause(self.where)
        group = f" GROUP BY {', '.join(str(n + 1) for n in range(len(self.keys)))}" if self.keys else ""
        having = " HAVING count(*) > 0" if not self.keys and not self.counts else ""
        source = self.inner.render(f"{columns}{where}", ordered=False)
        return f"(SELECT {columns} FROM {source}{where}{group}{having}) AS r{self.number}"

    def _counted(self, used: set[str]) -> str | None:
        """The columns, where all that is asked is how many rows there are of a relation that knows."""
        rows = self.inner.known_rows
        names = [name for sql, name in self._aggregates.items() if name in used and sql == "count(*)"]
        if rows is None or self.keys or self.where or used != set(names):
            return None
        return ", ".join(f"'{rows}'::BIGINT AS {name}" for name in names) or None

    def _with_value(self, columns: str, used: set[str]) -> str | None:
        """The FROM item for aggregates over all rows that only look at those that have one column."""
        over = {sql for name, sql in self._over.items() if name in used}
        if self.keys or self.where or len(over) != 1:
            return None
        return self.inner.with_value(over.pop(), columns)


def _known_json(value: Value) -> str:
    if isinstance(value, Atom):
        match value.kind:
            case Kind.INTEGER | Kind.BOOLEAN | Kind.UNSIGNED:
                return f"coalesce({coerce.to_text(value)}, 'null')"
            case Kind.NUMBER:
                other = f"coalesce(u_key_json({coerce.to_any(value)}), 'null')"  # NaN, infinite, or NULL
                return f"CASE WHEN isfinite({value.sql}) THEN {coerce.to_text(value)} ELSE {other} END"
            case Kind.STRING:
                return f"coalesce(CAST(to_json({value.sql}) AS VARCHAR), 'null')"
        return f"coalesce(u_key_json({coerce.to_any(value)}), 'null')"
    if isinstance(value, Embedding) and value.names is None:
        shape = [] if value.shape is None else list(value.shape)
        return f"coalesce(u_keys_json({as_any_list(value)}, {shape}::DOUBLE[]), 'null')"
    return f"coalesce(u_cells_json({coerce.to_cells(value)}), 'null')"


class GroupScope(Scope):
    """Group keys by the expressions that they are, aggregates, and the group's own row functions."""

    def __init__(self, relation: GroupRelation, inner: Scope) -> None:
        super().__init__(inner.context)
        self.relation = relation
        self.inner = inner
        self.keys: dict[Expression, Value] = {}

    @property
    def source(self) -> Relation:
        return self.relation

    def add_key(self, expression: Expression) -> None:
        bound = bind(expression, self.inner)
        with within(expression):
            value = self.relation.add_key(bound)
        if isinstance(expression, Call) and expression.name in ("rowName", "rowHash"):
            return
        self.keys[self._plain(expression)] = value

    def _plain(self, expression: Expression) -> Expression:
        """A bare column without its table alias."""
        alias = self.relation.inner.alias
        if isinstance(expression, ColumnRef) and len(expression.path) > 1 and expression.path[0] == alias:
            return ColumnRef(expression.path[1:])
        return expression

    def known(self, expression: Expression) -> Value | None:
        return self.keys.get(self._plain(expression))

    def column(self, path: Path) -> Value:
        below = self._below_key(path)
        if below is not None:
            return below
        if self._without_rows():
            return Atom("NULL", Kind.NULL)  # each group is refused by itself, and there is none
        keys = (format_path(key.path) for key in self.keys if isinstance(key, ColumnRef))
        name = format_path(path)
        near = did_you_mean(name, keys)
        raise MldbError(
            f"variable '{name}' must appear in the GROUP BY clause or be used in an aggregate function"
            + (near and f".{near}")
        )

    def _without_rows(self) -> bool:
        where = " AND ".join(self.relation.where) or "TRUE"
        source = self.relation.inner.render(where, ordered=False)
        if self.context.execute(f"SELECT 1 FROM {source} WHERE {where} LIMIT 1"):
            return False
        self.context.marks.add("volatile")
        return True

    def _below_key(self, path: Path) -> Value | None:
        for size in range(len(path) - 1, 0, -1):
            key = self.keys.get(self._plain(ColumnRef(path[:size])))
            if isinstance(key, Open):
                return lookup(require_row(key, ""), path[size:])
        return None

    def everything(self) -> Row:
        raise MldbError("Wildcard cannot be used with GROUP BY")

    def qualified(self, prefix: Path) -> Row | None:
        raise MldbError("Wildcard cannot be used with GROUP BY")

    def call(self, call: Call) -> Value | None:
        if call.name in _KEY_ELEMENT:
            return self._key_element(call)
        if call.name in _ROW_FUNCTIONS and call.qualifier is not None:
            call = Call(call.name, call.args)
        if call.name in AGGREGATES and call.qualifier is None:
            if any(map(_calls_aggregate, call.args)):
                raise MldbError(f"Nested aggregators '{render(call)}' are not allowed")
            if call.name == "count":  # by that exact name
                self.relation.counts = True
            return aggregate(call, self.inner, self.relation)
        return row_function(self.relation, call)

    def _key_element(self, call: Call) -> Value:
        match call.args:
            case (Constant(value=int(index)),) if 0 <= index < len(self.relation.key_values):
                return self.relation.key_values[index]
        raise MldbError(f"{call.name} takes the number of a group key, from 0")

    def parameter(self, name: str) -> Value:
        return self.inner.parameter(name)

    def stage(self, sql: str) -> str:
        return self.relation.stage(sql)


def bind_grouped(select: Select, relation: Relation, scope: Scope, where: list[str]) -> Query:
    """A statement with GROUP BY, or with aggregates and one implicit group."""
    _refuse_wildcards(select)
    grouped = GroupRelation(scope.context.number(), relation, where)
    inner = GroupScope(grouped, scope)
    for key in select.group_by:
        inner.add_key(key)
    row = bind_clauses(select.clauses, inner)
    having = []
    if select.having is not None:
        with within(select.having):
            having = [_having(select, inner)]
    path = named(select.named, grouped, inner)
    order = order_terms(select.order_by, OverlayScope(row, inner))
    if order:
        order += grouped.order()
    distinct = distinct_terms(select, OverlayScope(row, inner))
    return Query(grouped, row, path, f"{PATH_HASH}({path.sql})", having, order, distinct, select.limit, select.offset)


def _having(select: Select, scope: GroupScope) -> str:
    assert select.having is not None
    if not select.group_by:
        raise MldbError("HAVING expression requires a GROUP BY expression")
    value = bind(select.having, scope)
    if not isinstance(value, Atom) or value.kind not in (Kind.BOOLEAN, Kind.NULL):
        raise MldbError("HAVING must be a boolean expression")
    return coerce.truth(value)


def has_aggregate(clauses: Iterable[Clause]) -> bool:
    """Whether an aggregate is called in a SELECT list (which makes one implicit group)."""
    return any(_calls_aggregate(clause) for clause in clauses)


def _calls_aggregate(node: Node) -> bool:
    if isinstance(node, Call) and node.name in AGGREGATES and node.qualifier is None:
        return True
    return any(_calls_aggregate(child) for child in children(node))


def _refuse_wildcards(select: Select) -> None:
    keys = frozenset(select.group_by)
    for clause in select.clauses:
        culprit = _bare_wildcard(clause, keys)
        if culprit is not None:
            with within(culprit):
                _refuse_wildcard(clause, culprit, grouped=bool(select.group_by))


def _refuse_wildcard(clause: Clause, culprit: Node, *, grouped: bool) -> NoReturn:
    if isinstance(culprit, Wildcard):
        raise MldbError("Wildcard cannot be used with GROUP BY")
    text = clause.text if isinstance(clause, Item) else render(culprit)
    if grouped:
        raise MldbError(f"Non-aggregator '{text}' with GROUP BY clause is not allowed")
    raise MldbError(f"Mixing non-aggregator '{text}' with aggregators is not allowed")


def _bare_wildcard(node: Node, keys: Set[Node]) -> Node | None:
    """The clause, or the outermost expression, that reads a wildcard outside every aggregate and every key."""
    if isinstance(node, Wildcard):
        return node
    if node in keys or (isinstance(node, Call) and node.name in AGGREGATES):
        return None
    for child in children(node):
        if _bare_wildcard(child, keys) is not None:
            return child if isinstance(node, Item) else node
    return None
