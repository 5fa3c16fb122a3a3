"""Scopes: what names mean at a place in a query.

RelationScope       over the rows of a relation
    NoScope         nothing can be read (a statement without FROM)
    TableScope      the columns of a relation
NestedScope         within another scope
    RowScope        the columns of a row value (``e[…]``, function bodies)
    OverlayScope    one row value first, another scope behind it (ORDER BY sees SELECT's output)
GroupScope          (``server.sql.binder.groups``) group keys and aggregates
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from server.errors import MldbError
from server.sql.binder.rowfunctions import row_function
from server.sql.bound import Atom, Open, Row, Value, is_null, timestamp_of
from server.sql.coerce import to_cells
from server.sql.positions import did_you_mean
from server.sql.relations import Relation, lookup
from server.values.kinds import Kind
from server.values.paths import Path, format_path

if TYPE_CHECKING:
    from server.declarations import BoundFunction, Function
    from server.sql.tree import Call, Expression
    from server.sql.views import Layout
    from server.storage.layouts import Cells, Wide
    from server.values.batches import RowType

LONG = 2000  # characters of SQL that are computed in a step of their own
MAX_DEPTH = 50  # nested function bindings, as upstream


class Catalog(Protocol):
    """What the engine may look up. ``version`` changes with every change of datasets or functions."""

    @property
    def version(self) -> int: ...
    def layout(self, dataset: str) -> Layout: ...
    def function(self, name: str) -> Function | None: ...
    def deterministic(self, name: str) -> bool:
        """Whether a function with constant arguments gives a constant."""


class DefinedFunction:
    """A DuckDB function that applies a bound one. It is removed once nobody keeps this."""

    def __init__(self, name: str) -> None:
        self.name = name


@dataclass(frozen=True)
class Application:
    """A call of a function on batches: ``result`` is SQL of the struct that it gives, which ``argument`` goes into.

    ``type`` is that of the argument as it is passed; a ``timed`` function gives times to what it gives.
    """

    result: str
    bound: BoundFunction
    argument: Row
    type: RowType
    timed: bool

    def time(self, column: str) -> str:
        """SQL of the timestamp of a column of the result."""
        return f"{self.result}.t{column}" if self.timed else self._time

    @cached_property
    def _time(self) -> str:
        return timestamp_of(self.argument)


@dataclass
class Context:
    """One binding: the catalogue, running numbers, parameters."""

    catalog: Catalog
    register: Callable[[Any, Any], DefinedFunction]  # bound function, input shape → its DuckDB function
    execute: Callable[[str], list[tuple[Any, ...]]]  # run SQL while binding (small look-ups only)
    has_nan: Callable[[Wide, str], bool]  # does a column of a wide table hold NaN
    has_null: Callable[[Wide, str], bool]  # and NULL
    parameters: Row | None = None
    every_parameter: bool = False  # a parameter that was not passed is an error; in a function it reads as null
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    depth: int = 0
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    marks: set[str] = field(default_factory=set)  # shared by all depths: "volatile" forbids keeping the plan
    functions: list[DefinedFunction] = field(default_factory=list)  # shared by all depths: what the plan is to keep
    applications: list[Application] = field(default_factory=list)  # shared by all depths
    cells: list[Cells] = field(default_factory=list)  # shared by all depths: what the plan is made from
    fetcher: Function | None = None  # what the builtin fetcher(url) calls
    operations: Callable[[str, Any], Function] | None = None  # TensorFlow's, by name and attributes: tf_<name>
    lasting: bool = False  # only what no later commit can change: kinds of sparse columns are unknown
    views: itertools.count[int] = field(default_factory=itertools.count)  # that have been read, at all depths

    def number(self) -> int:
        return next(self.numbers)

    def define(self, bound: BoundFunction, shape: tuple[RowType, bool]) -> str:
        """The name of a DuckDB function that applies a bound one, for as long as the plan is there."""
        self.functions.append(self.register(bound, shape))
        return self.functions[-1].name

    def deeper(self) -> Context:
        """For the body of a function that is called here."""
        if self.depth >= MAX_DEPTH:
            raise MldbError(
                f"Reached a stack depth of over {MAX_DEPTH} functions while analysing query, "
                "possible infinite recursion"
            )
        return replace(self, parameters=None, every_parameter=False, depth=self.depth + 1)


class Scope:
    """What a name means. Subclasses answer for columns; the rest has defaults."""

    def __init__(self, context: Context) -> None:
        self.context = context

    @property
    def source(self) -> Relation | None:
        """The relation whose rows the expressions are computed over; None where they stand deeper inside of a row."""
        return None

    def known(self, expression: Expression) -> Value | None:
        """The value of an expression that is known as a whole, such as a key of GROUP BY; None for others."""
        return None

    def column(self, path: Path) -> Value:
        raise MldbError(f'Cannot read column "{format_path(path)}" with no FROM clause.')

    def everything(self) -> Row:
        """What ``*`` means."""
        raise MldbError("Wildcard usage requires a FROM statement")

    def beginning(self, prefix: Path) -> Row:
        """As ``everything``; columns that do not begin with the prefix may be left out."""
        return self.everything()

    def qualified(self, prefix: Path) -> Row | None:
        """The columns that ``prefix.*`` means when ``prefix`` begins with a table alias, names kept."""
        return None

    def call(self, call: Call) -> Value | None:
        """A function that only this scope has (rowName, aggregates, …); None if there is no such."""
        return None

    def atoms_only(self) -> bool:
        """Whether ``column[…]`` takes a column for an atom."""
        return False

    def parameter(self, name: str) -> Value:
        if self.context.parameters is None:
            raise MldbError("Bound parameters requested but none passed", code=500)
        found = lookup(self.context.parameters, (name,))
        if found is None and self.context.every_parameter:
            raise MldbError(f"No query parameter {name}", code=500)
        return found or Atom("NULL", Kind.NULL)

    def stage(self, sql: str) -> str:
        """As ``Relation.stage`` where the rows are those of a relation; elsewhere the SQL itself."""
        return sql

    def reference(self, sql: str) -> str:
        """SQL that is a mere reference as it is, else as ``stage``: for what is spelled several times."""
        return self.stage(sql) if "(" in sql else sql

    def brief(self, sql: str) -> str:
        """SQL, or a reference to it when it is long: operators spell what they are given several times."""
        return self.stage(sql) if len(sql) > LONG else sql

    def folded(self, cells: str, aggregate: str, number: str = "") -> str | None:
        """As ``Relation.folded``, where the rows are those of a relation."""
        return None

    def in_cells(self) -> bool:
        """Whether expressions stand in a lambda over the cells of a row, where DuckDB takes no sub-queries."""
        return False

    def once(self, sql: str) -> str:
        """As ``stage``, for SQL that reads nothing of the cell at hand: outside of all lambdas."""
        return self.stage(sql)


class RelationScope(Scope):
    """A scope whose expressions are computed over the rows of a relation."""

    def __init__(self, context: Context, relation: Relation) -> None:
        super().__init__(context)
        self.relation = relation

    @property
    def source(self) -> Relation:
        return self.relation

    def stage(self, sql: str) -> str:
        return self.relation.stage(sql)


class NoScope(RelationScope):
    """No FROM: constants only."""

    def call(self, call: Call) -> Value | None:
        if call.name == "columnCount":
            raise MldbError("Wildcard usage requires a FROM statement")
        return None


class NestedScope(Scope):
    """A scope within another one, which has the parameters and says where things are computed."""

    def __init__(self, outer: Scope) -> None:
        super().__init__(outer.context)
        self.outer = outer

    def parameter(self, name: str) -> Value:
        return self.outer.parameter(name)

    def stage(self, sql: str) -> str:
        return self.outer.stage(sql)

    def in_cells(self) -> bool:
        return self.outer.in_cells()

    def once(self, sql: str) -> str:
        return self.outer.once(sql)


class RowScope(NestedScope):
    """The columns of a row value. With ``closed`` a column that the row cannot have is an error, as in ``e[x]``."""

    def __init__(self, outer: Scope, row: Row, *, closed: bool) -> None:
        super().__init__(outer)
        self.row = row
        self.closed = closed

    def column(self, path: Path) -> Value:
        found = lookup(self.row, path)
        if found is None:
            if self.closed and len(path) == 1:
                known = (format_path(column) for column in self.row.columns)
                name = format_path(path)
                raise MldbError(
                    f"Couldn't find column '{name}' in extract.{did_you_mean(name, known)}".removesuffix(".")
                )
            return Atom("NULL", Kind.NULL)
        return found

    def everything(self) -> Row:
        return self.row


class TableScope(RelationScope):
    """The columns of a relation, with or without its alias."""

    def column(self, path: Path) -> Value:
        found = self._lookup(path)
        return Atom("NULL", Kind.NULL) if found is None else found

    def _lookup(self, path: Path) -> Value | None:
        alias = self.relation.alias
        if alias is not None and len(path) > 1 and path[0] == alias:
            return self.relation.lookup(path[1:])
        return self.relation.lookup(path)

    def everything(self) -> Row:
        return self.relation.row()

    def beginning(self, prefix: Path) -> Row:
        return self.relation.beginning(prefix)

    def atoms_only(self) -> bool:
        return self.relation.atoms_only

    def qualified(self, prefix: Path) -> Row | None:
        if self.relation.alias is not None and prefix[:1] == (self.relation.alias,):
            return self.relation.row()
        return None

    def folded(self, cells: str, aggregate: str, number: str = "") -> str | None:
        return self.relation.folded(cells, aggregate, number)

    def call(self, call: Call) -> Value | None:
        return row_function(self.relation, call)


class OverlayScope(NestedScope):
    """A row's columns first; what it lacks (or has as NULL, for dotted names) comes from the scope behind."""

    def __init__(self, row: Row, outer: Scope) -> None:
        super().__init__(outer)
        self.row = row

    @property
    def source(self) -> Relation | None:
        return self.outer.source

    def known(self, expression: Expression) -> Value | None:
        return self.outer.known(expression)

    def column(self, path: Path) -> Value:
        found = lookup(self.row, path)
        if found is None or is_null(found):
            return self.outer.column(path)
        return self._or_behind(path, found.sql) if isinstance(found, Open) else found

    def _or_behind(self, path: Path, cells: str) -> Value:
        """Only the data tell whether an open row has the column."""
        try:
            behind = self.outer.column(path)
        except MldbError:
            return Open(cells)  # a group has no such column
        if is_null(behind):
            return Open(cells)
        own = self.reference(cells)
        return Open(f"CASE WHEN coalesce(len({own}), 0) = 0 THEN {to_cells(behind)} ELSE {own} END")

    def everything(self) -> Row:
        return self.outer.everything()

    def beginning(self, prefix: Path) -> Row:
        return self.outer.beginning(prefix)

    def qualified(self, prefix: Path) -> Row | None:
        return self.outer.qualified(prefix)

    def call(self, call: Call) -> Value | None:
        return self.outer.call(call)

    def folded(self, cells: str, aggregate: str, number: str = "") -> str | None:
        return self.outer.folded(cells, aggregate, number)
