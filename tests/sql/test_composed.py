"""Functions one after the other without SQL in between: they give what the SQL of the same expression gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from server import tasks
from server.entities.progress import TaskProgress
from server.entities.rows import leaves
from server.errors import Cancelled, MldbError
from server.sql.batches import SMALL_BATCH, BoundExpression
from server.sql.engine import Engine
from server.storage.database import Database
from server.values.batches import ANY_ROW, Column, RowBatch, RowType
from server.values.cells import Cell, cells_array
from server.values.kinds import Kind
from tests.sql.catalogs import EmptyCatalog

Apply = Callable[[RowBatch], RowBatch]


@dataclass
class Bound:
    type: RowType
    output: RowType
    work: Apply
    timestamps: bool
    brief: bool = False

    def apply(self, batch: RowBatch) -> RowBatch:
        assert batch.type == self.type
        return self.work(batch)


@dataclass
class Defined:
    """A function of Python; ``seen`` are the batches that it was given."""

    output: RowType
    work: Apply
    timed: bool = False
    brief: bool = False
    input: RowType = ANY_ROW
    seen: list[RowBatch] = field(default_factory=list)

    def bind(self, given: RowType) -> Bound:
        return Bound(given, self.output, self._apply, self.timed, self.brief)

    def _apply(self, batch: RowBatch) -> RowBatch:
        self.seen.append(batch)
        return self.work(batch)


def numbers(batch: RowBatch) -> np.ndarray:
    """All numbers of each row, those of embeddings too, as rows of an array."""
    parts = []
    for column, values in zip(batch.type.columns, batch.values, strict=True):
        flat = values if column.shape is None else values.flatten()
        parts.append(np.asarray(flat.to_numpy(zero_copy_only=False), float).reshape(batch.length, -1))
    return np.concatenate(parts, axis=1)


SUM = RowType((Column(("sum",), Kind.NUMBER), Column(("deep", "most"), Kind.NUMBER)))
GRID = RowType((Column(("grid",), Kind.NUMBER, (2, 2)),))


def added(batch: RowBatch) -> RowBatch:
    found = numbers(batch)
    return RowBatch(SUM, batch.length, [pa.array(found.sum(axis=1)), pa.array(found.max(axis=1))])


def dated(batch: RowBatch) -> RowBatch:
    made = added(batch)
    times = pa.array([None if row % 2 else row for row in range(batch.length)], pa.float64())
    return RowBatch(SUM, batch.length, made.values, [7.0, times])


def grid(batch: RowBatch) -> RowBatch:
    """Lengths of texts, in single precision and of a fixed size."""
    lengths = [len(text or "") for text in batch.values[0].to_pylist()]
    flat = np.repeat(np.array(lengths, np.float32), 4) + np.tile(np.arange(4, dtype=np.float32), batch.length)
    return RowBatch(GRID, batch.length, [pa.FixedSizeListArray.from_arrays(pa.array(flat), 4)])


def refuse(batch: RowBatch) -> RowBatch:
    raise MldbError("no such luck", code=409, details={"rows": batch.length})


def mistake(batch: RowBatch) -> RowBatch:
    raise ValueError(f"{batch.length} rows are bad luck")


def opened(batch: RowBatch) -> RowBatch:
    made = added(batch)
    rest = cells_array([[Cell(("more",), 1, 5.0)]] * batch.length)
    return RowBatch(replace(SUM, open=True), batch.length, made.values, rest=rest)


class Functions(EmptyCatalog):
    def __init__(self) -> None:
        self.known = {
            "added": Defined(SUM, added),
            "brief": Defined(SUM, added, brief=True),
            "dated": Defined(SUM, dated, timed=True),
            "grid": Defined(GRID, grid),
            "refuse": Defined(SUM, refuse),
            "mistake": Defined(SUM, mistake),
            "opened": Defined(replace(SUM, open=True), opened),
        }

    def function(self, name: str) -> Any:
        return self.known.get(name)

    def calls(self) -> int:
        return sum(len(function.seen) for function in self.known.values())


@pytest.fixture(scope="module")
def catalog() -> Functions:
    return Functions()


@pytest.fixture(scope="module")
def engine(catalog: Functions) -> Iterator[Engine]:
    database = Database()
    yield Engine(database, catalog)
    database.close()


GIVEN = RowType(
    (
        Column(("x",), Kind.INTEGER),
        Column(("y",), Kind.NUMBER),
        Column(("text",), Kind.STRING),
        Column(("v",), Kind.NUMBER, (3,)),
        Column(("deep", "z"), Kind.NUMBER),
    )
)


def batch(length: int) -> RowBatch:
    random = np.random.default_rng(length)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(random.normal(size=3 * length)), 3)
    texts = pa.array([None if row % 5 == 4 else "é" * row for row in range(length)], pa.string())
    values = [
        pa.array(range(length), pa.int64()),
        pa.array(random.normal(size=length)),
        texts,
        vectors,
        pa.array(np.linspace(-1, 1, length)),
    ]
    return RowBatch(GIVEN, length, values, [float("nan"), 3.0, pa.array(np.arange(length, dtype=float)), -1.0, 4.0])


COMPOSED = [
    "*",
    "x, y",
    "y AS a, y AS b",
    "deep AS shallow",
    "v",
    "deep.*",
    "added({x, y})",
    "added({x, y}) AS *",
    "added({x, y})[sum] AS total",
    "added({v}) AS *, x",
    "added({x})[deep] AS *",
    "brief({x, deep}) AS *",
    "dated({x, y}) AS *",
    "dated({text: length(text)}) AS *",
    "grid({text}) AS *",
    "added({features: {grid({text}) AS *, y}}) AS *",
    "added({features: {grid({text}) AS *}})[deep.most] AS best, grid({text}) AS again",
    "brief({dated({y}) AS *}) AS *",
    "dated({brief({x}) AS *}) AS *, brief({x}) AS plain",
    "added({x + 1 AS up, y * 2 AS twice}) AS *",
    "added({x}) AS *, x + 1 AS up",
    "added({1 AS one, y}) AS *",
]
BY_SQL = [
    "x + 1 AS up",
    "added({x})[sum] + 1 AS more",
    "CASE WHEN x > 1 THEN added({x})[sum] END AS perhaps",
    "added({v.*}) AS *, added({x})[sum] * 2 AS twice",
    "added({x})[sum] @ TIMESTAMP '2015-01-01' AS then",
    "opened({x})[sum] AS sum",
    "added({added({x})[sum] + 1 AS more}) AS *",
    "opened({x}) AS *",
    "null AS nothing, added({x}) AS *",
]


def both(bound: BoundExpression, rows: RowBatch) -> tuple[RowBatch, RowBatch]:
    return bound.apply(rows), replace(bound, composition=None).apply(rows)


def told(rows: RowBatch) -> str:
    return repr(leaves(rows))  # NaN times are alike as texts


@pytest.mark.parametrize("length", [1, 2, 33])
@pytest.mark.parametrize("expression", COMPOSED)
def test_as_sql(engine: Engine, expression: str, length: int) -> None:
    bound = engine.expression(expression, GIVEN)
    assert bound.composition is not None
    composed, sql = both(bound, batch(length))
    assert (composed.type, composed.length, told(composed)) == (sql.type, length, told(sql))


@pytest.mark.parametrize("expression", BY_SQL)
def test_what_takes_sql(engine: Engine, expression: str) -> None:
    assert engine.expression(expression, GIVEN).composition is None


def test_each_function_is_asked_once(engine: Engine, catalog: Functions) -> None:
    bound = engine.expression("added({g: {grid({text}) AS *}})[sum] AS a, grid({text}) AS *, added({x}) AS b", GIVEN)
    assert bound.composition is not None
    before = catalog.calls()
    bound.apply(batch(3))
    composed = catalog.calls() - before
    replace(bound, composition=None).apply(batch(3))
    assert composed == catalog.calls() - before - composed


def test_what_nobody_reads_is_not_computed(engine: Engine, catalog: Functions) -> None:
    bound = engine.expression("{x, added({y}) AS unread}[x] AS x", GIVEN)
    before = catalog.calls()
    assert told(bound.apply(batch(2))) == told(engine.expression("x", GIVEN).apply(batch(2)))
    assert catalog.calls() == before


def test_large_batches_take_sql(engine: Engine, catalog: Functions) -> None:
    bound = engine.expression("added({x}) AS *", GIVEN)
    seen = catalog.known["added"].seen
    for length in (0, SMALL_BATCH, SMALL_BATCH + 1):
        del seen[:]
        composed, sql = both(bound, batch(length))
        assert told(composed) == told(sql)


@pytest.mark.parametrize("name", ["refuse", "mistake"])
def test_errors_are_those_of_sql(engine: Engine, name: str) -> None:
    bound = engine.expression(f"{name}({{x}}) AS *", GIVEN)
    assert bound.composition is not None
    errors = []
    for one in (bound, replace(bound, composition=None)):
        with pytest.raises(MldbError) as raised:
            one.apply(batch(2))
        errors.append((raised.value.message, raised.value.code, raised.value.details))
    assert errors[0] == errors[1]


def test_errors_of_what_is_computed_first(engine: Engine) -> None:
    bound = engine.expression("grid({base64_decode(text) AS bytes}) AS *", GIVEN)
    assert bound.composition is not None
    for one in (bound, replace(bound, composition=None)):
        with pytest.raises(MldbError, match="base64"):
            one.apply(batch(3))


def test_a_cancel_ends_a_function_that_waits(engine: Engine, catalog: Functions) -> None:
    started, over = threading.Event(), threading.Event()

    def wait(rows: RowBatch) -> RowBatch:
        started.set()
        over.wait(30)
        return added(rows)

    catalog.known["waits"] = Defined(SUM, wait)
    bound = engine.expression("waits({x}) AS *", GIVEN)
    assert bound.composition is not None
    progress = TaskProgress()
    outcome: list[BaseException] = []

    def apply() -> None:
        try:
            with tasks.acting_for(progress):
                bound.apply(batch(1))
        except Cancelled as cancelled:
            outcome.append(cancelled)

    thread = threading.Thread(target=apply)
    thread.start()
    assert started.wait(30)
    progress.cancel()
    thread.join(10)
    over.set()
    assert outcome
