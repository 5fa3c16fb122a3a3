"""The way of a query: text → tree → bound → DuckDB SQL → Arrow batches. Each step is one call, none goes back."""

from __future__ import annotations

import functools
import itertools
import math
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from server.declarations import BoundFunction, Function
from server.errors import Cancelled, MldbError
from server.sql import functions, tasks
from server.sql.binder.nodes import check_complete
from server.sql.binder.query import Query
from server.sql.binder.rows import bind_clauses
from server.sql.binder.select import bind_select
from server.sql.bound import Atom, Embedding, Leaf, Rest, Row
from server.sql.engine_errors import engine_errors, reading
from server.sql.inputs import batch_from_json
from server.sql.parser import parse_clauses, parse_query
from server.sql.plan import Plan, Result, compile_query, output_columns, read_rows, to_rows
from server.sql.positions import located
from server.sql.prepared import Prepared
from server.sql.relations import BatchRelation
from server.sql.routines import duck_type
from server.sql.scope import Catalog, Context, DefinedFunction, TableScope
from server.sql.tree import Clause, Select
from server.sql.views import Layout
from server.storage.database import Database, identifier, written_to_be_read
from server.storage.layouts import Wide, WideColumn
from server.values.arrow_types import ARROW_TYPES
from server.values.atoms import NEVER
from server.values.batches import Column, RowBatch, RowType, one_array
from server.values.cells import any_array, cells_array
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import Path

CACHED_PLANS = 512
KNOWN_COLUMNS = 100_000  # of which it is remembered whether they hold NaN or NULL
_ASKED_AT_ONCE = 500  # columns
SMALL_BATCH = 256  # rows: beyond, planning costs less than rows that pass through Python

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
        version = self.catalog.version
        plain = not (parameters or layouts or whole)
        cached = self._cached(query, timestamps, version) if plain else None
        if cached is not None:
            return Result(self.database, cached, again=True)
        row, inputs = self._parameters(parameters)
        context = self.context(parameters=row, layouts=layouts)
        try:
            bound = bind_select(self.parse(query), context)
            text = query if isinstance(query, str) else ""
            plan = compile_query(bound, timestamps=timestamps, text=text, whole=whole)
        except MldbError as error:
            raise located(error, query) if isinstance(query, str) else error from None
        plan.functions = tuple(context.functions)
        if isinstance(query, str) and plain and "volatile" not in context.marks:
            self._remember((query, timestamps), version, plan)
        return Result(self.database, plan, inputs)

    def parse(self, query: QueryText) -> Select:
        return query if isinstance(query, Select) else parse_query(query)

    def context(self, *, parameters: Row | None = None, layouts: Mapping[str, Layout] | None = None) -> Context:
        return Context(
            self.catalog,
            self.register,
            self._execute,
            self._has_nan,
            self._has_null,
            parameters,
            parameters is not None,
            layouts or {},
            fetcher=self.fetcher,
            operations=self._operations,
        )

    def _cached(self, query: QueryText, timestamps: bool, version: int) -> Plan | None:
        if not isinstance(query, str):
            return None
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

    def _has_nan(self, table: str, column: str) -> bool:
        """Whether a stored column holds NaN; remembered, for wide tables never change."""
        key = (table, column)
        if key not in self._nan:
            if len(self._nan) >= KNOWN_COLUMNS:
                self._nan.clear()
            sql = f"SELECT coalesce(bool_or(isnan({identifier(column)})), FALSE) FROM {identifier(table)}"
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
        """Define a DuckDB function that applies a bound function to the structs of ``binder.application.pack``."""
        type_, timed = shape
        defined = DefinedFunction(f"f_{next(self._numbers)}")

        def define(connection: duckdb.DuckDBPyConnection) -> None:
            _define(connection, defined.name, bound, type_, timed)
            while self._unused:
                connection.remove_function(self._unused.popleft())

        self.database.define(define)
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
        query = Query(relation, row, Atom("''", Kind.PATH), "NULL")
        type_, fields = output_columns(row, timestamps=True)
        sql = query.render(fields or {"one": "1"}, ordered=False)
        plan = Plan(sql, type_, True, functions=tuple(context.functions))
        return BoundExpression(self.database, plan, name, given)


def _count_of_full(column: WideColumn) -> str:
    """SQL of how many rows have a column without NULL in it."""
    name = identifier(column.name)
    if column.shape is None:
        return f"count({name})"
    return f"count(*) FILTER (WHERE list_count({name}) = {math.prod(column.shape)})"


@dataclass(frozen=True)
class BoundExpression:
    """SQL applied to batches of rows; a ``BoundFunction`` that gives timestamps.

    Small batches (function application over REST) go through statements that are planned once.
    """

    database: Database
    plan: Plan
    table: str
    given: RowType
    timestamps: bool = True

    @property
    def output(self) -> RowType:
        return self.plan.type

    @cached_property
    def _prepared(self) -> Prepared:
        return Prepared(self.database, self.plan.sql, self.table)

    def apply(self, batch: RowBatch) -> RowBatch:
        task = tasks.current()
        if self.plan.plain and batch.length <= SMALL_BATCH:
            with engine_errors(task):
                rows = self._prepared.run(table_of(batch), task)
            tasks.check()  # functions that saw the cancel gave NULL
            return read_rows(rows, self.plan)
        with reading(self.database, self.plan.sql, task) as reader:
            reader.cursor.register(self.table, table_of(batch))
            table = reader.cursor.sql(self.plan.sql).to_arrow_table().combine_chunks()
            reader.cursor.unregister(self.table)
        tasks.check()
        batches = table.to_batches()
        if not batches:
            return RowBatch(
                self.plan.type, 0, [pa.array([], field.type) for field in table.schema][: len(self.plan.type.columns)]
            )
        return to_rows(batches[0], self.plan)


def row_of(type_: RowType, reference: Callable[[str], str]) -> Row:
    """Rows of a shape as a bound row: column i is read as ``reference("c<i>")``."""
    columns: dict[Path, Leaf] = {}
    for index, column in enumerate(type_.columns):
        sql = reference(f"c{index}")
        ts = functools.partial(reference, f"t{index}")
        if column.shape is None:
            columns[column.path] = Atom(sql, column.kind, ts, sparse=column.sparse)
        else:
            shape = None if -1 in column.shape else column.shape
            columns[column.path] = Embedding(sql, column.kind, shape, ts, column.names)
    return Row(columns, (Rest((), reference("rest"), disjoint=True),) if type_.open else ())


def table_of(batch: RowBatch) -> pa.Table:
    """A batch as the Arrow table that ``row_of`` reads."""
    names: list[str] = ["one"]
    arrays: list[Any] = [pa.nulls(batch.length, pa.int8())]
    for index, value in enumerate(batch.values):
        names += [f"c{index}", f"t{index}"]
        arrays += [value, _seconds(batch.timestamp(index), batch.length)]
    if batch.rest is not None:
        names.append("rest")
        arrays.append(batch.rest)
    return pa.Table.from_arrays(arrays, names)


def _seconds(times: pa.Array | float, length: int) -> pa.Array:
    if isinstance(times, float | int):
        return pa.array([float(times)] * length, pa.float64())
    return times


# ── batch functions as DuckDB functions ──────────────────────────────────────────────────────────────────────


def _define(connection: Any, name: str, bound: BoundFunction, type_: RowType, timed: bool) -> None:
    given = f"STRUCT(task BIGINT, {_struct(type_, timed)})"
    given_columns = len(type_.columns)
    output = bound.output
    returned = f"STRUCT({_struct(output, timed)})"

    def call(column: pa.Array | pa.ChunkedArray) -> pa.Array:
        structs = one_array(column)
        task = tasks.find(structs.field("task")[0].as_py()) if len(structs) else None
        values = [structs.field(f"c{index}") for index in range(given_columns)]
        times = [structs.field(f"t{index}") if timed else NEVER for index in range(given_columns)]
        rest = structs.field("rest") if type_.open else None
        rows = RowBatch(type_, len(structs), values, times, rest)
        try:
            result = tasks.stoppable(task, lambda: bound.apply(rows))
        except Cancelled:
            result = _nothing(output, len(structs))  # an error could be caught by try(), row by row
        return _to_struct(result, output, timed)

    connection.create_function(
        name,
        call,
        [connection.type(given)],
        connection.type(returned),
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )


def _nothing(output: RowType, length: int) -> RowBatch:
    """Rows for a query that has been interrupted and will not look at them."""
    values = [
        any_array([None] * length)
        if column.kind is Kind.ANY and column.shape is None
        else pa.nulls(length, ARROW_TYPES[column.kind] if column.shape is None else pa.list_(ARROW_TYPES[column.kind]))
        for column in output.columns
    ]
    return RowBatch(output, length, values, rest=cells_array([[]] * length) if output.open else None)


def _struct(type_: RowType, timed: bool) -> str:
    """The fields of the struct that carries a row."""
    fields: list[str] = []
    for index, column in enumerate(type_.columns):
        fields.append(f"c{index} {_duck_column(column)}")
        if timed:
            fields.append(f"t{index} DOUBLE")
    if type_.open:
        fields.append(f"rest {CELL_TYPE}[]")
    return ", ".join(fields) or "one INTEGER"


def _duck_column(column: Column) -> str:
    base = duck_type(column.kind)
    return base if column.shape is None else f"{base}[]"


def _to_struct(batch: RowBatch, output: RowType, timed: bool) -> pa.Array:
    names: list[str] = []
    arrays: list[pa.Array] = []
    for index, column in enumerate(output.columns):
        names.append(f"c{index}")
        arrays.append(_as_declared(batch.values[index], column))
        if timed:
            names.append(f"t{index}")
            arrays.append(_seconds(batch.timestamp(index), batch.length))
    if output.open:
        names.append("rest")
        arrays.append(batch.rest)
    if not arrays:
        return pa.StructArray.from_arrays([pa.nulls(batch.length, pa.int32())], names=["one"])
    return pa.StructArray.from_arrays(arrays, names=names)


def _as_declared(array: pa.Array, column: Column) -> pa.Array:
    """A result column in the Arrow type that DuckDB expects (float32 results as DOUBLE, lists as lists)."""
    array = one_array(array)
    if pa.types.is_union(array.type):
        return array
    wanted = ARROW_TYPES[column.kind]
    if column.shape is not None:
        wanted = pa.list_(wanted)
    return array if array.type == wanted else array.cast(wanted)
