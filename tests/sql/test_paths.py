"""The queries of the fixtures give the same on every way through the engine.

Constants are computed while binding or per row, rows come one by one or thousands at a time, functions are bound into
the query or called, and datasets are of many types. Each query is changed as a tree so that it takes another way, and
its answer is compared with that of the query as it is written.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest

from server.declarations import NamedBatch
from server.errors import MldbError
from server.sql.formats import render
from server.sql.parser import parse_statement
from server.sql.tree import (
    Call,
    ColumnExpr,
    ColumnRef,
    Constant,
    DatasetRef,
    Extract,
    InQuery,
    Item,
    RowLiteral,
    Select,
    SubSelect,
    Table,
    TableCall,
    Wildcard,
)
from server.values.arrow import pa
from server.values.batches import RowBatch, RowType
from tests.effort import EFFORT
from tests.inprocess import InProcess, in_process
from tests.sql.test_queries import blocks, load

SHARE = 0.1 * EFFORT  # of the pairs of query and way that are tried
MANY = 3000  # rows, more than DuckDB computes at once
ROWS = "many rows"

Answer = list[tuple[str, list[list[Any]]]]  # row name, [column, value, timestamp] in the order of the columns


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with in_process(tmp_path_factory.mktemp("server") / "data") as server:
        load(server)
        server.must("PUT", f"/v1/datasets/{quote(ROWS)}", {"type": "tabular"})
        rows = [[f"row{number}", [["number", number, 0]]] for number in range(MANY)]
        server.must("POST", f"/v1/datasets/{quote(ROWS)}/multirows", rows)
        server.must("POST", f"/v1/datasets/{quote(ROWS)}/commit")
        for block in blocks():
            if not block.values[1].startswith("=>error"):
                lifted.change(parse_statement(block.values[0]))
        cells = [[name, kept_number(value), 0] for (_, value), name in lifted.columns.items()]
        server.must("PUT", f"/v1/datasets/{LITERALS}", {"type": "tabular"})
        server.must("POST", f"/v1/datasets/{LITERALS}/multirows", [["result", cells]])
        server.must("POST", f"/v1/datasets/{LITERALS}/commit")
        yield server


def kept_number(value: Any) -> Any:
    return {"num": "Inf" if value > 0 else "-Inf"} if isinstance(value, float) and math.isinf(value) else value


# ── trees ────────────────────────────────────────────────────────────────────────────────────────────────────


def changed(node: Any, change: Callable[[Any], Any]) -> Any:
    """A tree whose nodes, from the top, are what ``change`` makes of them; None leaves a node to its parts."""
    if isinstance(node, tuple):
        return tuple(changed(part, change) for part in node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    made = change(node)
    if made is not None:
        return made
    parts = {
        field.name: changed(getattr(node, field.name), change)
        for field in fields(node)
        if field.name != "span" and isinstance(getattr(node, field.name), tuple | object)
    }
    return replace(node, **parts)


def nodes(node: Any) -> Iterator[Any]:
    if isinstance(node, tuple):
        for part in node:
            yield from nodes(part)
    elif is_dataclass(node) and not isinstance(node, type):
        yield node
        for field in fields(node):
            yield from nodes(getattr(node, field.name))


def calls(select: Select) -> set[str]:
    return {node.name for node in nodes(select) if isinstance(node, Call)}


# ── ways ─────────────────────────────────────────────────────────────────────────────────────────────────────

NEED_CONSTANTS = re.compile(r"constant|known before|requires an array|statically|must be a row|needs a shape")
# What gives another value each time, or speaks of how the query is bound: no other way gives the same.
OF_THE_MOMENT = {"now", "read_sensor", "fetcher", "jaccard_index"}
OF_BINDING = {"__isconst", "static_type", "static_known_columns", "static_expression_info"}


@dataclass(frozen=True)
class Way:
    """``change`` gives the query that takes the way, or None where the way does not apply.

    ``timed``: timestamps stay; ``named``: row names stay; ``ordered``: so does the order of rows.
    """

    name: str
    change: Callable[[Select], Select | None]
    timed: bool = True
    named: bool = True
    ordered: bool = True

    def applies(self, query: str, select: Select) -> bool:
        differs = "datasets" in self.name and query.startswith(DIFFERENT)
        return not differs and not calls(select) & OF_THE_MOMENT and self.change(select) is not None


def as_sub_select(select: Select) -> Select | None:
    return Select((Wildcard(),), source=SubSelect(select))


def over_many(select: Select) -> Select | None:
    """A query without FROM over many rows: each gives the same."""
    if select.source is not None or select.named is not None or select.limit is not None or select.offset:
        return None
    return replace(select, source=DatasetRef(ROWS))


def in_tables(wrap: Callable[[DatasetRef], Table]) -> Callable[[Select], Select | None]:
    """Every dataset in FROM as a table expression with the same content."""

    def change(select: Select) -> Select | None:
        if not any(isinstance(node, DatasetRef) for node in nodes(select)):
            return None
        if any(isinstance(node, TableCall) for node in nodes(select)):
            return None
        cut = select.limit is not None or select.offset
        if cut and not select.order_by:
            return None
        found: Select = changed(select, lambda node: wrap(node) if isinstance(node, DatasetRef) else None)
        return found

    return change


def _plain(ref: DatasetRef) -> DatasetRef:
    return DatasetRef(ref.name)


def _everything(ref: DatasetRef) -> Table:
    return SubSelect(Select((Wildcard(),), source=_plain(ref)), ref.alias or ref.name)


def _merged(ref: DatasetRef) -> Table:
    nothing = SubSelect(Select((Wildcard(),), source=_plain(ref), where=Constant(0)))
    return TableCall("merge", (_plain(ref), nothing), alias=ref.alias or ref.name)


def _twice_transposed(ref: DatasetRef) -> Table:
    return TableCall("transpose", (TableCall("transpose", (_plain(ref),)),), alias=ref.alias or ref.name)


def _sampled(ref: DatasetRef) -> Table:
    options = RowLiteral((Item(Constant(1), ("fraction",)), Item(Constant(1), ("seed",))))
    return TableCall("sample", (_plain(ref),), options, ref.alias or ref.name)


def known_columns(change: Callable[[Select], Select | None]) -> Callable[[Select], Select | None]:
    """Only for queries that do not need to know the columns before they run, as those of these tables are not."""

    def checked(select: Select) -> Select | None:
        for node in nodes(select):
            chooses = isinstance(node, ColumnExpr) and (node.order_by or node.limit is not None or node.offset)
            if chooses or (isinstance(node, ColumnExpr) and node.structured):
                return None
        return None if "likelihood_ratio" in calls(select) else change(select)

    return checked


class Lifted:
    """The literals of a query without FROM as columns of the one row of a table, so that nothing is constant."""

    def __init__(self) -> None:
        self.columns: dict[Any, str] = {}

    def change(self, select: Select) -> Select | None:
        if select.source is not None or select != Select(select.clauses) or calls(select) & OF_BINDING:
            return None
        if calls(select) & {"try", "extract_column", "earliest_timestamp", "latest_timestamp", "distinct_timestamps"}:
            return None  # constants of their own are dated otherwise, or absent
        named_by_literal = any(isinstance(one, Item) and one.name is None for one in select.clauses)
        if named_by_literal or any(isinstance(node, Extract | InQuery) for node in nodes(select)):
            return None
        return replace(changed(select, self._lift), source=DatasetRef(LITERALS))

    def _lift(self, node: Any) -> Any:
        if not isinstance(node, Constant) or not isinstance(node.value, int | float | str) or node.value != node.value:
            return None
        key = (type(node.value), node.value)
        return ColumnRef((self.columns.setdefault(key, f"k{len(self.columns)}"),))


# What stays different over rows whose columns show only at run time: a column may be an atom, a row or nothing.
OPEN_DIFFERS = {
    "a null in a row has its own timestamp": ("SELECT temporal_count(missing) AS a, temporal_sum",),
    "DuckDB takes no sub-query in a lambda, nor a constant that fails": (
        "SELECT try(of_x(", "SELECT try(CASE WHEN x = 1",
    ),
    "a null of a table is a cell there": (
        "SELECT COLUMN EXPR (WHERE rowCount() > 2) FROM", "SELECT COLUMN EXPR (WHERE rowCount() IN (KEYS OF",
        "SELECT y % 0 AS a FROM t_d", "SELECT COLUMN EXPR (SELECT value() IS NULL) FROM t_d",
        "SELECT COLUMN EXPR (SELECT rowCount() WHERE rowCount() > 1) FROM (SELECT x, s, [x, 1]",
    ),
    "a join in a sub-select is bracketed in names": (
        "SELECT p.rowName() AS a, c.rowName() AS b FROM v_joined", "SELECT p.d.y AS a, c.y AS b FROM v_joined",
    ),
    "the row that fails first is another": ("SELECT try(1 IN (SELECT s - 1 FROM d)) AS a",),
}  # fmt: skip
DIFFERENT = tuple(text for texts in OPEN_DIFFERS.values() for text in texts)
LITERALS = "literals"
lifted = Lifted()
WAYS = (
    Way("literals read from a row", lifted.change, timed=False, named=False),
    Way("sub-select", as_sub_select),
    Way("many rows", over_many, named=False),
    Way("datasets as sub-selects", in_tables(_everything), ordered=False),
    Way("merged datasets", in_tables(_merged), ordered=False),
    Way("datasets transposed twice", known_columns(in_tables(_twice_transposed)), ordered=False),
    Way("sampled datasets", in_tables(_sampled), ordered=False),
)


# ── comparing ────────────────────────────────────────────────────────────────────────────────────────────────


def answer(result: Any) -> Answer:
    rows = json.loads(render(result, "full"))
    return [(row["rowName"], row.get("columns", [])) for row in rows]


def comparable(rows: Answer, way: Way) -> list[str]:
    found = []
    for name, columns in rows:
        cells = columns if way.timed else [[column, value] for column, value, _ in columns]
        found.append(json.dumps([name if way.named else "", cells], sort_keys=True))
    return found if way.ordered else sorted(found)


def cases() -> list[Any]:
    """Pairs of a query that has an answer and a way, a share of them."""
    found = []
    for block in blocks():
        query, marker, _ = block.values
        if marker.startswith("=>error"):
            continue
        select = parse_statement(query)
        for way in (*WAYS, *FUNCTION_WAYS):
            if chosen(query, way.name) < SHARE and way.applies(query, select):
                found.append(pytest.param(query, way, id=f"{way.name}: {block.id}"))
    return found


def chosen(query: str, way: str) -> float:
    """A number from 0 to 1 that is the pair's own: what is tried does not change with the other queries."""
    return zlib.crc32(f"{way} {query}".encode()) / 2**32


class Batches:
    """Rows that a function gave, as a query result."""

    def __init__(self, rows: RowBatch) -> None:
        self.type = rows.type
        self._rows = rows

    def batches(self, progress: Any = None) -> Iterator[NamedBatch]:
        yield NamedBatch(pa.array(["result"] * self._rows.length), self._rows)


@dataclass(frozen=True)
class FunctionWay:
    """The SELECT list of a query without FROM as the body of a function: ``call`` gives its result from its id."""

    name: str
    params: dict[str, Any]
    call: Callable[[InProcess, str], Any]

    def applies(self, query: str, select: Select) -> bool:
        return select == Select(select.clauses) and not calls(select) & (OF_THE_MOMENT | OF_BINDING)


def _in_query(server: InProcess, id: str) -> Any:
    return server.engine.query(f"SELECT {id}({{}}) AS *", timestamps=True)


def _applied(rows: int) -> Callable[[InProcess, str], Any]:
    def apply(server: InProcess, id: str) -> Any:
        function: Any = server.engine.catalog.function(id)
        given = RowType((), open=False)
        return Batches(function.bind(given).apply(RowBatch(given, rows, [], [])))

    return apply


FUNCTION_WAYS = (
    FunctionWay("inlined function", {}, _in_query),
    FunctionWay("prepared function", {"prepared": True}, _in_query),
    FunctionWay("function applied to a row", {}, _applied(1)),
    FunctionWay("function applied to a batch", {}, _applied(600)),
)


def of_function(server: InProcess, query: str, select: Select, way: FunctionWay) -> list[tuple[Answer, Answer]]:
    """The answer wanted and the one got, for a query that can be a function."""
    wanted = answer(server.engine.query(select, timestamps=True))
    params = {"expression": query.strip()[len("SELECT") :], **way.params}
    server.must("PUT", "/v1/functions/body", {"type": "sql.expression", "params": params})
    got = answer(way.call(server, "body"))
    server.must("DELETE", "/v1/functions/body")
    return [(wanted, [row]) for row in got]


@pytest.mark.parametrize(("query", "way"), cases())
def test_way(server: InProcess, query: str, way: Way | FunctionWay) -> None:
    select = parse_statement(query)
    if isinstance(way, FunctionWay):
        for wanted, got in of_function(server, query, select, way):
            assert got == wanted
        return
    other = way.change(select)
    assert other is not None
    wanted = answer(server.engine.query(select, timestamps=True))
    try:
        got = answer(server.engine.query(other, timestamps=True))
    except MldbError as error:
        if way.name != "literals read from a row" or not NEED_CONSTANTS.search(error.message):
            raise
        pytest.skip("takes only constants")
    if way.name == "many rows":
        assert len(got) == MANY * len(wanted)
        got = got[: len(wanted)] if len({json.dumps(columns) for _, columns in got}) <= 1 else got
    assert comparable(got, way) == comparable(wanted, way)
