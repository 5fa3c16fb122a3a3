"""Expressions that apply functions and pass on what these give, applied to a batch without SQL in between.

``score({features: {embed({content}) AS *}})[score] AS score`` is a pipeline: what one function gives goes to the next
as the Arrow arrays that it is. What else stands in it, such as the decoding of a text, is SQL over the input alone
and is computed first. Anything beyond that (a number that is made from a score, a condition) is SQL as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.declarations import BoundFunction, Progress
from server.errors import MldbError
from server.sql.batch_functions import apply_bound, as_declared
from server.sql.bound import Atom, Embedding, Leaf, MultiValue, Row, is_null
from server.sql.relations import Relation
from server.sql.scope import Application
from server.values.batches import RowBatch, RowType, newest

_MOST_FIRST = 64  # values that SQL computes before: beyond, rows that pass through Python cost more than they save


@dataclass(frozen=True)
class Place:
    """Where a value is: column ``column`` of the input (step 0), of what is computed first (1), of a function's."""

    step: int
    column: int


@dataclass(frozen=True)
class Step:
    """A function and where the columns of its argument are."""

    bound: BoundFunction
    type: RowType
    places: tuple[Place, ...]
    timed: bool


@dataclass(frozen=True)
class Composition:
    """Functions one after the other. ``first`` is SQL over the input, None when nothing needs it."""

    first: BoundFunction | None
    steps: tuple[Step, ...]
    output: RowType
    places: tuple[Place, ...]

    def apply(self, batch: RowBatch, task: Progress | None) -> RowBatch:
        """As the SQL of the same expression. ``Cancelled`` as soon as the task is to stop."""
        made = [batch, self.first.apply(batch) if self.first else batch]
        for step in self.steps:
            made.append(_applied(step, _gathered(made, step.type, step.places), task))
        return _gathered(made, self.output, self.places)


def _gathered(made: Sequence[RowBatch], type_: RowType, places: Sequence[Place]) -> RowBatch:
    values = [
        as_declared(made[place.step].values[place.column], column)
        for place, column in zip(places, type_.columns, strict=True)
    ]
    return RowBatch(type_, made[0].length, values, [made[place.step].timestamp(place.column) for place in places])


def _applied(step: Step, given: RowBatch, task: Progress | None) -> RowBatch:
    rows = given if step.timed else RowBatch(given.type, given.length, given.values)
    try:
        result = apply_bound(step.bound, rows, task)
    except ValueError as error:  # which an engine error would carry
        raise MldbError(str(error)) from error
    if step.timed:
        return result
    time = newest(given.timestamps)
    return RowBatch(result.type, result.length, result.values, [time] * len(result.values))


def compose(
    relation: Relation,
    given: RowType,
    row: Row,
    output: RowType,
    applications: Sequence[Application],
    expression: Callable[[Row], BoundFunction],
) -> Composition | None:
    """The row of an expression over ``relation``, the rows of a batch, as functions; None when it takes SQL.

    ``output`` is the type of ``row``, ``expression`` makes the SQL that gives another row over the relation.
    """
    if row.rests or output.open:
        return None
    composer = _Composer(relation, given, applications)
    try:
        places = tuple(map(composer.place, row.columns.values()))
    except _Unfit:
        return None
    first = composer.first
    if len(first) > _MOST_FIRST or (first and not composer.steps):
        return None
    before = expression(Row({(str(number),): leaf for number, leaf in enumerate(first)})) if first else None
    return Composition(before, tuple(composer.steps), output, places)


class _Unfit(Exception):
    """Raised for a value that is made by SQL from what a function gives."""


class _Composer:
    """Finds where values are. ``steps`` and ``first`` are what has to be made for that, in this order."""

    def __init__(self, relation: Relation, given: RowType, applications: Sequence[Application]) -> None:
        self._relation = relation
        self._given = {
            (relation.ref(f"c{index}"), relation.ref(f"t{index}")): Place(0, index)
            for index in range(len(given.columns))
        }
        self._applications = {one.result: one for one in applications}
        self._numbers: dict[str, int] = {}
        self._places: dict[tuple[str, str], Place] = {}
        self.steps: list[Step] = []
        self.first: list[Leaf] = []

    def place(self, leaf: Leaf) -> Place:
        if isinstance(leaf, MultiValue) or is_null(leaf) or (isinstance(leaf, Atom) and leaf.there):
            raise _Unfit
        value = leaf.sql, leaf.ts()
        found = self._given.get(value) or self._places.get(value)
        if found is None:
            found = self._places[value] = self._of_function(*value) or self._before(leaf)
        return found

    def _of_function(self, sql: str, time: str) -> Place | None:
        result, _, column = sql.rpartition(".c")
        application = self._applications.get(result)
        if application is None or time != application.time(column):
            return None
        if result not in self._numbers:
            places = tuple(map(self.place, application.argument.columns.values()))
            if application.type.open:
                raise _Unfit
            self.steps.append(Step(application.bound, application.type, places, application.timed))
            self._numbers[result] = len(self.steps) + 1
        return Place(self._numbers[result], int(column))

    def _before(self, leaf: Atom | Embedding) -> Place:
        made = {self._relation.ref(f"x{number}") for number in self._relation.used(f"{leaf.sql} {leaf.ts()}")[1]}
        if made & self._applications.keys():
            raise _Unfit
        self.first.append(leaf)
        return Place(1, len(self.first) - 1)
