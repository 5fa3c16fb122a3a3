"""The way of a query: text → tree → bound → DuckDB SQL → Arrow batches. Each step is one call, none goes back."""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from server.declarations import BoundFunction, Function
from server.errors import MldbError
from server.sql import functions, tasks
from server.sql.batch_functions import define
from server.sql.batches import BoundExpression, row_of, table_of
from server.sql.binder.nodes import check_complete
from server.sql.binder.query import Query
from server.sql.binder.rows import bind_clauses
from server.sql.binder.select import bind_select
from server.sql.bound import Atom, Row
from server.sql.composed import compose
from server.sql.engine_errors import reading
from server.sql.inputs import batch_from_json
from server.sql.parser import parse_clauses, parse_query
from server.sql.plan import Plan, Result, compile_query, output_columns
from server.sql.positions import located
from server.sql.relations import BatchRelation
from server.sql.scope import Catalog, Context, DefinedFunction, TableScope
from server.sql.tree import Clause, Select
from server.sql.views import Layout
from server.storage.database import Database, identifier, written_to_be_read
from server.storage.layouts import Wide, WideColumn
from server.values.batches import RowType
from server.values.kinds import Kind

CACHED_PLANS = 512
KNOWN_COLUMNS = 100_000  # of which it is remembered whether they hold NaN or NULL
_ASKED_AT_ONCE = 500  # columns

QueryText = str | Mapping[str, Any] | Select


class Engine:
    """Compiles and runs queries against a database and a catalogue. Safe to use from several threads."""

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        fetcher: Function | None = None,
        operations: Callable[[str, Any], Function] | None = None,
    ) -> None:
        check_complete()
        self._operations = operations
        self.database = database
        self.fetcher = fetcher
        self.catalog = catalog
        self._plans: OrderedDict[tuple[str, bool], Plan] = OrderedDict()  # of one version of the catalogue
        self._version = -1
        self._unused: deque[str] = deque()  # functions that no plan has kept
        self._nan: dict[tuple[str, str], bool] = {}
        self._null: dict[tuple[str, str], bool] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        with written_to_be_read("the functions of SQL go into the database before the first query"):
            database.define(functions.define)

    # ── queries ──

    def query(
        self,
        query: QueryText,
        *,
        parameters: Mapping[str, Any] | None = None,
        timestamps: bool = False,
        layouts: Mapping[str, Layout] | None = None,
        whole: bool = False,
    ) -> Result:
        """A query ready to run.

        ``parameters`` are the values of ``$name`` (JSON). ``layouts`` are tables by name that stand before the
        catalogue's datasets. ``whole``: an embedding whose elements all leave as columns leaves as it lies, as one
        column, whatever they are called.
        """
        plain = not (parameters or layouts or whole)
        cached = self._cached(query, timestamps) if plain else None
        row, inputs = self._parameters(parameters)

        def compiled() -> Plan:
            version = self.catalog.version
            context = self.context(parameters=row, layouts=layouts)
            plan = self._compiled(query, context, timestamps=timestamps, whole=whole)
            if isinstance(query, str) and plain and "volatile" not in context.marks:
                self._remember((query, timestamps), version, plan)
            return plan

        return Result(self.database, cached or compiled(), inputs, cached is not None, compiled)

    def _compiled(self, query: QueryText, context: Context, *, timestamps: bool, whole: bool) -> Plan:
        try:
            bound = bind_select(self.parse(query), context)
            text = query if isinstance(query, str) else ""
            plan = compile_query(bound, timestamps=timestamps, text=text, whole=whole)
        except MldbError as error:
            raise located(error, query) if isinstance(query, str) else error from None
        plan.functions = tuple(context.functions)
        plan.cells = tuple(context.cells)
        return plan

    def parse(self, query: QueryText) -> Select:
        return query if isinstance(query, Select) else parse_query(query)

    def context(self, *, parameters: Row | None = None, layouts: Mapping[str, Layout] | None = None) -> Context:
        return Context(
            self.catalog,
            self.register,
            self._execute,
            self._has_nan,
            self._has_null,
            parameters=parameters,
            every_parameter=parameters is not None,
            layouts=layouts or {},
            fetcher=self.fetcher,
            operations=self._operations,
        )

    def _cached(self, query: QueryText, timestamps: bool) -> Plan | None:
        if not isinstance(query, str):
            return None
        version = self.catalog.version
        with self._lock:
            plan = self._plans.get((query, timestamps)) if version == self._version else None
            if plan is not None:
                self._plans.move_to_end((query, timestamps))
            return plan

    def _remember(self, key: tuple[str, bool], version: int, plan: Plan) -> None:
        with self._lock:
            if version != self._version:
                self._plans.clear()
                self._version = version
            self._plans[key] = plan
            while len(self._plans) > CACHED_PLANS:
                self._plans.popitem(last=False)

    def _execute(self, sql: str) -> list[tuple[Any, ...]]:
        task = tasks.current()
        with reading(self.database, sql, task) as reader:
            found = reader.fetch(sql)
            tasks.check()
            return found

    def _has_nan(self, layout: Wide, column: str) -> bool:
        """Whether a stored column holds NaN; remembered, for wide tables never change."""
        key = (layout.table, column)
        if key not in self._nan:
            if len(self._nan) >= KNOWN_COLUMNS:
                self._nan.clear()
            sql = f"SELECT coalesce(bool_or(isnan({identifier(column)})), FALSE) FROM {identifier(layout.table)}"
            self._nan[key] = bool(self._execute(sql)[0][0])
        return self._nan[key]

    def _has_null(self, layout: Wide, column: str) -> bool:
        """As ``_has_nan`` of NULL; all columns of a table are asked at once."""
        known = self._null.get((layout.table, column))
        if known is not None:
            return known
        if len(self._null) >= KNOWN_COLUMNS:
            self._null.clear()
        found: dict[tuple[str, str], bool] = {}
        for start in range(0, len(layout.columns), _ASKED_AT_ONCE):
            some = layout.columns[start : start + _ASKED_AT_ONCE]
            items = ", ".join(map(_count_of_full, some))
            counts = self._execute(f"SELECT {items} FROM {identifier(layout.table)}")[0]
            found |= {(layout.table, one.name): n < layout.rows for one, n in zip(some, counts, strict=True)}
        self._null |= found
        return found[layout.table, column]

    def _parameters(self, parameters: Mapping[str, Any] | None) -> tuple[Row | None, dict[str, pa.Table]]:
        """Bound parameters as a one-row table that the query reads by scalar sub-queries."""
        if parameters is None:
            return None, {}
        batch = batch_from_json(parameters)
        name = f"parameters_{next(self._numbers)}"
        # A list, as DuckDB's scalar sub-queries give -0.0 inside of structs as 0.0: the sign of an interval.
        row = row_of(batch.type, lambda column: f"(SELECT list({column}) FROM {name})[1]")
        return row, {name: table_of(batch)}

    # ── functions ──

    def register(self, bound: BoundFunction, shape: tuple[RowType, bool]) -> DefinedFunction:
        """Define a DuckDB function that applies a bound function to the structs of ``batch_functions.pack``."""
        type_, timed = shape
        defined = DefinedFunction(f"f_{next(self._numbers)}")

        def create(connection: duckdb.DuckDBPyConnection) -> None:
            define(connection, defined.name, bound, type_, timed)
            while self._unused:
                connection.remove_function(self._unused.popleft())

        self.database.define(create)
        # It may be collected in any thread, in the middle of a query: only the name is noted there.
        weakref.finalize(defined, self._unused.append, defined.name).atexit = False
        return defined

    def expression(self, text: str | tuple[Clause, ...], given: RowType) -> BoundExpression:
        """A SELECT list as a function over rows of a shape: the form in which sql.expression is applied in batches."""
        clauses = parse_clauses(text) if isinstance(text, str) else text
        return self.over_batch(given, lambda scope: bind_clauses(clauses, scope))

    def lasting_type(self, given: RowType, bind: Callable[[TableScope], Row]) -> RowType:
        """The shape of something over rows of a shape, as far as no later commit to a dataset can change it."""
        return self.over_batch(given, bind, lasting=True).output

    def over_batch(
        self, given: RowType, bind: Callable[[TableScope], Row], *, lasting: bool = False
    ) -> BoundExpression:
        """Bind something over rows of a shape that arrive in batches."""
        name = f"batch_{next(self._numbers)}"
        context = self.context()
        context.lasting = lasting
        number = context.number()
        relation = BatchRelation(number, name, row_of(given, lambda column: f"r{number}.{column}"))
        row = bind(TableScope(context, relation))

        def expression(row: Row) -> BoundExpression:
            query = Query(relation, row, Atom("''", Kind.PATH), "NULL")
            type_, fields = output_columns(row, timestamps=True)
            sql = query.render(fields or {"one": "1"}, ordered=False)
            plan = Plan(sql, type_, True, functions=tuple(context.functions), cells=tuple(context.cells))
            return BoundExpression(self.database, plan, name, given)

        whole = expression(row)
        composition = compose(relation, given, row, whole.output, context.applications, expression)
        return replace(whole, composition=composition)


def _count_of_full(column: WideColumn) -> str:
    """SQL of how many rows have a column without NULL in it."""
    name = identifier(column.name)
    if column.shape is None:
        return f"count({name})"
    return f"count(*) FILTER (WHERE list_count({name}) = {math.prod(column.shape)})"
