"""Joins: pairing, the names of joined rows, and the order in which they are listed (sql-dialect.md §6.3)."""

from __future__ import annotations

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.base import bind, bind_table, bind_truth, binds_table
from server.sql.binder.query import FromRelation
from server.sql.binder.rowfunctions import row_function
from server.sql.bound import Atom, Embedding, Row, RowBuilder, Value, only_where
from server.sql.duck import literal_text
from server.sql.hoisted import HoistedQueries
from server.sql.positions import did_you_mean
from server.sql.relations import Relation
from server.sql.scope import Context, TableScope
from server.sql.tree import (
    Binary,
    Call,
    ColumnExpr,
    ColumnRef,
    Expression,
    Join,
    Node,
    RowTable,
    Wildcard,
    children,
    conjuncts,
)
from server.values.kinds import Kind
from server.values.paths import Path

_SQL = {"inner": "INNER JOIN", "left": "LEFT JOIN", "right": "RIGHT JOIN", "full": "FULL JOIN"}


@binds_table(Join)
def _join(join: Join, context: Context) -> Relation:
    left, right = bind_table(join.left, context), bind_table(join.right, context)
    for table, side in ((join.left, left), (join.right, right)):
        if isinstance(table, RowTable) and side.alias is None:
            raise MldbError(
                "Tables in joins that don't have a natural name like a dataset name must have an AS expression "
                f"(consider replacing {table.name}(…) with {table.name}(…) AS x)"
            )
    shared = set(left.sides()) & set(right.sides())
    if shared:
        raise MldbError(
            "Join has ambiguous table name(s) with same name occurring on both left and right side: "
            + ", ".join(sorted(shared))
        )
    relation = JoinRelation(context.number(), left, right, join.kind)
    if join.on is not None:
        relation.condition(join.on, _OnScope(context, relation))
    return relation


class JoinRelation(FromRelation):
    """Two relations paired. Columns are nested under the side's alias."""

    nameless = True

    def __init__(self, number: int, left: Relation, right: Relation, kind: str) -> None:
        super().__init__(number)
        self.left, self.right, self.kind = left, right, kind
        self.operands = tuple(_Side(self, side, missing=self.side_missing(side)) for side in (left, right))
        self._on = "TRUE"
        self._order_value = ""  # SQL of what the one equality compares, if there is one
        self._further = False  # there are other conditions on both sides
        self._one_sided: list[tuple[int, str]] = []  # conditions on one outer side: side number, SQL
        self._row: Row | None = None

    def condition(self, on: Expression, scope: _OnScope) -> None:
        """Bind ON; remember the one equality that orders the result."""
        self._on = scope.truth(on)
        parts = conjuncts(on)
        between = [part for part in parts if len(self._read_by(part)) > 1]
        for part in between:
            if not self._order_value and isinstance(part, Binary) and part.op == "=" and self._separates(part):
                pair = bind(part.left, scope), bind(part.right, scope)
                if not any(isinstance(value, Row | Embedding) for value in pair):  # rows have no order of their own
                    first, second = (coerce.to_any(coerce.atom(value)) for value in pair)
                    self._order_value = scope.hoisted.around(f"coalesce({first}, {second})")
        self._further = len(between) > bool(self._order_value)
        for number, side in enumerate((self.left, self.right)):
            if not self.side_missing(self.right if side is self.left else self.left):
                continue  # an inner side has no unmatched rows to list
            own = [c for c in parts if (names := _tables(c)) and names <= set(side.sides())]
            self._one_sided += [(number, scope.truth(conjunct)) for conjunct in own]

    def _read_by(self, expression: Expression) -> set[int]:
        """The numbers of the sides that an expression reads."""
        names = _tables(expression)
        if _ALL in names:
            return {0, 1}
        own = [set(side.sides()) for side in (self.left, self.right)]
        found = {number for number, known in enumerate(own) if names & known}
        # A column without a table's name is that of a sub-select without one.
        unnamed = {number for number, side in enumerate((self.left, self.right)) if side.alias is None}
        return found if names <= own[0] | own[1] else found | unnamed

    def _separates(self, equality: Binary) -> bool:
        """Whether one side of an equality is of the left rows alone, and the other of the right ones."""
        left, right = self._read_by(equality.left), self._read_by(equality.right)
        return len(left) == len(right) == 1 and left != right

    def side_missing(self, side: Relation) -> bool:
        """Whether rows may lack this side."""
        return self.kind in ({"right", "full"} if side is self.left else {"left", "full"})

    def row(self) -> Row:
        if self._row is None:
            self._row = self._of_sides([self.left, self.right])
        return self._row

    def beginning(self, prefix: Path) -> Row:
        sides = [one for one in (self.left, self.right) if one.alias is None or one.alias.startswith(prefix[0])]
        return self._of_sides(sides) if len(sides) == 1 else self.row()

    def _of_sides(self, sides: list[Relation]) -> Row:
        builder = RowBuilder()
        for side in sides:
            prefix: Path = (side.alias,) if side.alias is not None else ()
            builder.add(prefix, self.row_of(side, missing=self.side_missing(side)))
        return builder.build()

    def row_of(self, table: Relation, *, missing: bool) -> Row:
        """What a table of a side gives to the joined row: nothing where the row lacks it."""
        row = table.row()
        return self.export_row(only_where(row, f"({table.row_path().sql} IS NOT NULL)") if missing else row)

    def lookup(self, path: Path) -> Value | None:
        found = self.find(path)
        return None if found is None else self.export(found[0], missing=found[1])

    def find(self, path: Path) -> tuple[Value, bool] | None:
        """A column in terms of the sides, and whether rows may lack it."""
        for side in (self.left, self.right):
            missing = self.side_missing(side)
            if side.alias is not None:
                if path[0] == side.alias and len(path) > 1:
                    value = side.lookup(path[1:])
                    return None if value is None else (value, missing)
                if path == (side.alias,):
                    return side.row(), missing
            else:
                value = side.lookup(path)
                if value is not None:
                    return value, missing
        return None

    def sides(self) -> dict[str, Relation]:
        found = super().sides()
        for side in (self.left, self.right):
            for name, relation in side.sides().items():
                found[name] = _Side(self, relation, missing=self.side_missing(side))
        return found

    def lacks(self, name: str) -> bool:
        """Every column of a side with an alias is below that."""
        return all(
            not side.alias.startswith(name) if side.alias is not None else side.lacks(name)
            for side in (self.left, self.right)
        )

    def raw_name(self) -> str:
        """The one element of the joined row's path, over the sides, unquoted."""
        if isinstance(self.left, JoinRelation):
            left = f"coalesce({self.left.offer(self.left.raw_name())}, {literal_text(self.left.missing_name())})"
        else:
            left = _bracketed(self.left)
        return f"({left} || '-' || {_bracketed(self.right)})"

    def missing_name(self) -> str:
        """The name where the whole row is missing: a pair of brackets for each table of the chain."""
        left = self.left.missing_name() if isinstance(self.left, JoinRelation) else "[]"
        return f"{left}-[]"

    def row_path(self) -> Atom:
        return Atom(self.offer(f"m_quote({self.raw_name()})"), Kind.PATH)

    def order(self) -> list[str]:
        terms: list[str] = []
        if self._one_sided:
            # Rows that fail a condition on their side alone come first, those of the left side before the right's.
            names = (self.left.row_text(), self.right.row_text())
            failing = " ".join(
                f"WHEN {names[number]} IS NOT NULL AND NOT coalesce({sql}, FALSE) THEN {number}"
                for number, sql in self._one_sided
            )
            place = f"CASE {failing} ELSE 2 END"
            terms.append(self.offer(place))
        if self._order_value:
            value = self._order_value
            if self._one_sided:
                value = f"CASE WHEN {place} = 2 THEN {value} END"  # those that fail come by their names
            terms.append(f"m_sort_key({self.offer(value)}) ASC NULLS FIRST")
        if self._further:
            # Further conditions are tried for one row of a side after the other, in the side's own order.
            by_left = self.kind == "left" and not self._order_value
            sides = (self.left, self.right) if by_left else (self.right, self.left)
            return [*terms, *(f"{self.offer(side.ref(_LISTED))} ASC NULLS LAST" for side in sides)]
        for side in (self.left, self.right):  # NULLs last: unmatched left rows stand before unmatched right ones
            terms.append(f"{self.offer(_name_key(side))} ASC NULLS LAST")
        return terms

    def source(self, above: str, ordered: bool) -> str:
        above = f"{above} {self._on}"
        left, right = (_listed(side, above) for side in (self.left, self.right))
        return f"{left} {_SQL[self.kind]} {right} ON {self._on}"


_LISTED = "_listed"


def _listed(side: Relation, above: str) -> str:
    """The FROM item of a side; with the numbers of its rows in their own order, where ``above`` reads them."""
    number = side.ref(_LISTED)
    if number not in above:
        return side.render(above, ordered=False)
    order = side.order()
    text = side.render(f"{above.replace(number, '')} {' '.join(order)}", ordered=not order)
    over = f"ORDER BY {', '.join(order)}" if order else ""
    return f"(SELECT r{side.number}.*, row_number() OVER ({over}) AS {_LISTED} FROM {text}) AS r{side.number}"


class _Side(Relation):
    """One side of a join seen from above it: its row functions, read through the join."""

    def __init__(self, join: JoinRelation, side: Relation, *, missing: bool) -> None:
        super().__init__(join.number, side.alias)
        self.join, self.side, self.missing = join, side, missing

    def row_path(self) -> Atom:
        text = self.side.row_text()
        return Atom(self.join.offer(f"coalesce({text}, '')"), Kind.PATH)

    def row_hash(self) -> str:
        return self.join.offer(self.side.row_hash())

    def row(self) -> Row:
        return self.join.row_of(self.side, missing=self.missing)


class _Pair(Relation):
    """The joined row while its sides are being paired: only its name is known."""

    def __init__(self, join: JoinRelation) -> None:
        super().__init__(join.number)
        self.join = join

    def row_path(self) -> Atom:
        return Atom(f"m_quote({self.join.raw_name()})", Kind.PATH)


class _OnScope(TableScope):
    """The scope of ON: columns of both sides, in terms of the sides (not of the join above them)."""

    def __init__(self, context: Context, relation: JoinRelation) -> None:
        super().__init__(context, relation)
        self.join = relation
        self.hoisted = HoistedQueries(context)

    def truth(self, condition: Expression) -> str:
        """SQL of the truth of ON or of a part of it, over the sides."""
        return self.hoisted.around(bind_truth(condition, self))

    def column(self, path: Path) -> Value:
        names = {*self.join.left.sides(), *self.join.right.sides()}
        unnamed = any(side.alias is None for side in (self.join.left, self.join.right))
        if path[0] not in names and not (unnamed and self.join.find(path)):
            near = did_you_mean(path[0], names)
            raise MldbError(f"Join condition refers to unknown variables: {'.'.join(path)}{near and '.' + near}")
        found = self.join.find(path)
        if found is None:
            found = self._nested(path)
        return Atom("NULL", Kind.NULL) if found is None else found[0]

    def everything(self) -> Row:
        builder = RowBuilder()
        for side in (self.join.left, self.join.right):
            builder.add((side.alias,) if side.alias is not None else (), side.row())
        return builder.build()

    def beginning(self, prefix: Path) -> Row:
        return self.everything()

    def _nested(self, path: Path) -> tuple[Value, bool] | None:
        for side in (self.join.left, self.join.right):
            if isinstance(side, JoinRelation) and path[0] in side.sides():
                value = side.lookup(path)
                return None if value is None else (value, False)
        return None

    def call(self, call: Call) -> Value | None:
        if call.qualifier is not None:
            for side in (self.join.left, self.join.right):
                if call.qualifier in side.sides():
                    return row_function(side.sides()[call.qualifier], call)
        return row_function(_Pair(self.join), call)

    def stage(self, sql: str) -> str:
        return self.hoisted.stage(sql)


_ALL = "*"


def _tables(node: Node) -> set[str]:
    """The table names that qualify the columns and functions of an expression; ``*`` for all columns."""
    if isinstance(node, ColumnRef):
        return {node.path[0]}
    if isinstance(node, Wildcard | ColumnExpr):
        return {node.prefix[0] if isinstance(node, Wildcard) and node.prefix else _ALL}
    found = {node.qualifier} if isinstance(node, Call) and node.qualifier is not None else set()
    return found.union(*map(_tables, children(node)))


def _bracketed(side: Relation) -> str:
    return f"('[' || coalesce({side.row_text()}, '') || ']')"


def _name_key(side: Relation) -> str:
    """The sort key of a side's row names in natural order."""
    path = side.row_path()
    return path.sql if path.kind is Kind.INTEGER else f"u_natural_key({path.sql})"
