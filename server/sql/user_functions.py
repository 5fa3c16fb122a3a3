"""The function types ``sql.expression`` and ``sql.query`` (sql-dialect.md §11.3–11.4, entity-types.md §4.1).

Both are bound into the query that calls them; over REST the caller is a query over the batch of inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from server.declarations import BoundFunction, Creation, EntityType, Params, Services, SqlText, TypeName
from server.errors import MldbError
from server.sql import coerce
from server.sql.batch_functions import apply_function
from server.sql.binder.base import bind
from server.sql.binder.query import Query, SelectRelation
from server.sql.binder.rows import bind_clauses
from server.sql.binder.select import bind_select
from server.sql.bound import (
    Atom,
    Embedding,
    MultiValue,
    Open,
    Rest,
    Row,
    RowBuilder,
    Value,
    fixed,
    is_constant,
    only_where,
    typed,
)
from server.sql.duck import literal_text
from server.sql.parser import parse_clauses, parse_query
from server.sql.relations import lookup, require_row
from server.sql.render import render
from server.sql.scope import RowScope, Scope
from server.sql.tree import Clause, ColumnRef, Extract, Item, Node, Parameter, Select, Wildcard, children, walk
from server.values.batches import Column, RowType
from server.values.info import function_info
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import Path, format_path


class ExpressionParams(Params):
    """Parameters of ``sql.expression``."""

    expression: SqlText = Field(description="SELECT list (without SELECT) over the function's input")
    prepared: bool = Field(False, description="Bind once, for inputs of any kind")
    raw: bool = Field(False, description="Give the bare value of the one clause instead of a row")
    autoInput: bool = Field(False, description="The one input variable may be passed bare")


class QueryParams(Params):
    """Parameters of ``sql.query``."""

    query: Annotated[str | dict[str, Any], TypeName("InputQuery")] = Field(
        description="A whole statement; inputs are $name"
    )
    output: Literal["FIRST_ROW", "NAMED_COLUMNS"] = Field(
        "FIRST_ROW", description="The first row, or a row made of the columns 'column' and 'value' of all rows"
    )


class _SqlFunction(ABC):
    """What both types share: over batches (REST) they are SQL over the rows of the batch."""

    def __init__(self, creation: Creation) -> None:
        self.services = creation.services
        self.id = creation.id

    @property
    @abstractmethod
    def input(self) -> RowType:
        """What the function reads."""

    @abstractmethod
    def over_row(self, row: Row, scope: Scope) -> Value:
        """The function of a row of a batch; what the row lacks is null."""

    @cached_property
    def output(self) -> RowType:
        return self.bind(self.input).output

    def bind(self, given: RowType) -> BoundFunction:
        bound: BoundFunction = engine(self.services).over_batch(given, self._rows)
        return bound

    def info(self) -> dict[str, Any]:
        """What is told of the function: a dataset that it reads may change, and the kinds of its columns with it."""
        return function_info(self.input, engine(self.services).lasting_type(self.input, self._rows))

    def _rows(self, scope: Scope) -> Row:
        return as_row(self.over_row(scope.everything(), scope))


class SqlExpression(_SqlFunction):
    """A SELECT list as a function; its column reads are the inputs."""

    def __init__(self, creation: Creation) -> None:
        super().__init__(creation)
        self.params: ExpressionParams = creation.params
        text = self.params.expression.strip()
        self.clauses: tuple[Clause, ...] = parse_clauses(text)
        self.variables = _variables(self.clauses)
        self._check()

    def _check(self) -> None:
        passed = self.params.expression
        if self.params.raw and len(self.clauses) != 1:
            raise MldbError(
                "An sql.expression function with raw=true must have a single clause in the select; "
                f"there were {len(self.clauses)} in the passed expression {passed}"
            )
        if self.params.raw and not isinstance(self.clauses[0], Item):
            raise MldbError(
                "An sql.expression function with raw=true must have a single statement in the select; "
                f"passed expression was {passed}"
            )
        if self.params.autoInput and (len(self.variables) != 1 or () in self.variables):
            raise MldbError(
                "An sql.expression function with autoInput=true must have a single variable in the expression; "
                f"the passed expression {passed} had {len(self.variables)} variables "
                f"({', '.join(format_path(path) or '*' for path in self.variables)})."
            )

    @property
    def bare(self) -> Path:
        """The path of the one input variable, which may be passed bare; else empty."""
        return self.variables[0] if self.params.autoInput else ()

    @cached_property
    def input(self) -> RowType:
        columns = (Column(path, Kind.ANY) for path in self.variables if path)
        return RowType(tuple(columns), open=True)

    def over_row(self, row: Row, scope: Scope) -> Value:
        return self._body(row, scope, closed=False)

    def inline(self, argument: Value, scope: Scope) -> Value:
        """Bound into a query: the expression over the argument's columns."""
        if self.bare and not (isinstance(argument, Row) and _may_have(argument, self.bare)):
            builder = RowBuilder()
            if isinstance(argument, Open):  # only the data tell whether it is the value or a row that has it
                name = literal_text(format_path(self.bare))
                argument = Open(f"m_input({scope.stage(argument.cells)}, {name})", argument.constant)
            builder.add(self.bare, argument)
            argument = builder.build()
        row = require_row(argument, f"User function {self.id} expected a single row {{ }} argument")
        return self._body(row, scope, closed=not row.rests and not self.params.prepared)

    def _body(self, row: Row, scope: Scope, *, closed: bool) -> Value:
        inner = _BodyScope(scope, row, closed=closed)
        if self.params.raw:
            clause = self.clauses[0]
            assert isinstance(clause, Item)
            return bind(clause.expression, inner)
        return bind_clauses(self.clauses, inner)

    def status(self) -> dict[str, Any]:
        surface = {"ast": ", ".join(map(render, self.clauses)), "surface": self.params.expression}
        return {"expression": surface, **_known(self)}


def _may_have(row: Row, path: Path) -> bool:
    """Whether a row has a column of this name, or may have it."""
    return bool(row.rests) or not row.columns or any(column[:1] == path[:1] for column in row.columns)


class _BodyScope(RowScope):
    """The scope of a function's body: its input, and no table around it."""

    def __init__(self, outer: Scope, row: Row, *, closed: bool) -> None:
        super().__init__(outer, row, closed=closed)
        self.context = outer.context.deeper()

    def column(self, path: Path) -> Value:
        """Inputs are read by the filter LATEST (§2.4). Columns that are known have passed it where the call stands."""
        found = super().column(path)
        if isinstance(found, Open):
            return replace(found, sql=self.stage(f"m_latest_cells({self.reference(found.sql)})"))
        return found

    def parameter(self, name: str) -> Value:
        raise MldbError("Bound parameters requested but none passed", code=500)


class SqlQuery(_SqlFunction):
    """A statement with parameters as a function: a correlated sub-query of the query that calls it."""

    def __init__(self, creation: Creation) -> None:
        super().__init__(creation)
        self.params: QueryParams = creation.params
        query = self.params.query
        self.select: Select = parse_query(query)
        self.parameters = list(dict.fromkeys(node.name for node in walk(self.select) if isinstance(node, Parameter)))

    @cached_property
    def input(self) -> RowType:
        return RowType(tuple(Column((name,), Kind.ANY) for name in self.parameters), open=True)

    def over_row(self, row: Row, scope: Scope) -> Value:
        return self.inline(row, scope)

    def inline(self, argument: Value, scope: Scope) -> Value:
        row = require_row(argument, f"User function {self.id} expected a single row {{ }} argument")
        if scope.in_cells():  # where DuckDB takes no sub-query
            return apply_function(self, row, scope)
        context = scope.context.deeper()
        context.parameters = row
        query = bind_select(self.select, context)
        if self.params.output == "NAMED_COLUMNS":
            return self._named_columns(query, scope)
        return _first_row(query, scope)

    def _named_columns(self, query: Query, scope: Scope) -> Row:
        """``{output: {<column>: <value>, …}}`` from the rows' columns ``column`` and ``value``."""
        names = set(query.row.columns)
        if query.row.rests or any(path[0] not in ("column", "value") for path in names):
            raise MldbError("Rows returned from NAMED_COLUMNS SQL query can only contain 'column' and 'value' columns")
        relation = SelectRelation(scope.context.number(), query)
        name, value = lookup(relation.row(), ("column",)), lookup(relation.row(), ("value",))
        if name is None or value is None:
            raise MldbError(
                "Rows returned from NAMED_COLUMNS SQL query must contain exactly one 'column' and one 'value' column"
            )
        text = f"u_named_column({coerce.to_any(name)})"
        cells = f"m_prefixed({coerce.to_cells(value)}, {text})"
        source = relation.render(cells, ordered=True)
        listed = f"(SELECT flatten(list({cells})) FROM {source})"
        builder = RowBuilder()
        cells = scope.stage(f"CAST(coalesce({listed}, []) AS {CELL_TYPE}[])")
        builder.rests.append(Rest(("output",), cells, rows=((),)))
        return builder.build()

    def status(self) -> dict[str, Any]:
        query = self.params.query
        surface = query if isinstance(query, str) else render(self.select)
        return {"expression": {"query": {"ast": render(self.select), "surface": surface}}, **_known(self)}


def _known(function: SqlExpression | SqlQuery) -> dict[str, Any]:
    """The ``info`` member of the status; absent where the output cannot be told without an input."""
    try:
        return {"info": function.info()}
    except MldbError:
        return {}


def _first_row(query: Query, scope: Scope) -> Row:
    """The columns of a query's first row, as fields of one scalar sub-query."""
    relation = SelectRelation(scope.context.number(), query)
    query.limit = 1
    row = relation.row()
    fields: list[str] = []
    for index, leaf in enumerate(row.columns.values()):
        fields.append(f"c{index} := {typed(leaf)}")
        if not isinstance(leaf, MultiValue):
            fields.append(f"t{index} := {leaf.ts()}")
        if isinstance(leaf, Atom) and leaf.there:
            fields.append(f"h{index} := {leaf.there}")
    fields.extend(f"rest{number} := {rest.sql}" for number, rest in enumerate(row.rests))
    packed = f"struct_pack({', '.join(fields) or 'one := 1'})"
    result = scope.stage(f"(SELECT {packed} FROM {relation.render(packed, ordered=True)})")
    return only_where(_fields_of(row, result), f"({result} IS NOT NULL)")


def _fields_of(row: Row, result: str) -> Row:
    builder = RowBuilder()
    for index, (path, leaf) in enumerate(row.columns.items()):
        sql = f"{result}.c{index}"
        ts = fixed(f"{result}.t{index}")
        match leaf:
            case MultiValue(kind=kind):
                builder.add(path, MultiValue(sql, kind))
            case Embedding():
                builder.add(path, Embedding(sql, leaf.kind, leaf.shape, ts, leaf.names))
            case Atom():
                kind = leaf.kind if leaf.kind is not Kind.NULL else Kind.ANY
                there = leaf.there and f"{result}.h{index}"
                builder.add(path, Atom(sql, kind, ts, sparse=leaf.sparse, there=there))
    for number, rest in enumerate(row.rests):
        builder.rests.append(Rest(rest.prefix, f"{result}.rest{number}"))
    return builder.build()


def as_row(value: Value) -> Row:
    """The output of a function as a row; a bare value stands under the empty path."""
    if isinstance(value, Row):
        return value
    if isinstance(value, Open):
        return Row({}, (Rest((), value.cells),))
    return Row({(): value}, constant=is_constant(value))


def engine(services: Services) -> Any:
    return services.engine


def _variables(clauses: tuple[Clause, ...]) -> list[Path]:
    """The columns that a SELECT list reads; ``()`` when a wildcard reads them all.

    Inside ``e[…]`` names belong to ``e``.
    """
    found: dict[Path, None] = {}

    def visit(node: Node) -> None:
        if isinstance(node, ColumnRef):
            found.setdefault(node.path)
        elif isinstance(node, Wildcard):
            found.setdefault(node.prefix)
        elif isinstance(node, Extract):
            visit(node.base)
        else:
            for child in children(node):
                visit(child)

    for clause in clauses:
        visit(clause)
    return list(found)


TYPES = [
    EntityType(
        "function",
        "sql.expression",
        ExpressionParams,
        "An SQL expression as a function",
        SqlExpression,
        "The SELECT list is bound into each query that calls the function, so it runs at the engine's speed.",
    ),
    EntityType("function", "sql.query", QueryParams, "A query with parameters as a function", SqlQuery),
]
