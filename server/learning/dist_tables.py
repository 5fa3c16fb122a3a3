"""Distribution tables: statistics of numeric outcomes by value of a column (entity-types.md §3.21, §4.3)."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import (
    BoundFunction,
    Creation,
    EntityType,
    InputQuery,
    OutputDataset,
    Params,
    ProcedureParams,
    Progress,
    RunResult,
    Services,
)
from server.errors import MldbError, NotFound
from server.learning.archive import Archive, ModelFile, pack
from server.learning.cell_functions import RowFunction
from server.learning.distributions import SIZE, Distribution, check_statistics, numbers_of, statistics
from server.learning.model_params import write_model
from server.learning.origin import Origin, open_model
from server.learning.outcome_rows import OutcomeBatch, Outcomes
from server.learning.outcome_training import OutcomeTraining
from server.learning.running_counts import RunningResult, key_of, run_starts
from server.learning.saved import Count, member, require
from server.learning.value_cells import ValueCells, spread_cells, value_cells_below
from server.messages import Request, Response
from server.sql.tree import Select
from server.values.atoms import Atom, atom_from_json
from server.values.batches import Cell, RowBatch, RowType
from server.values.paths import format_path

_TRAIN = "experimental.distTable.train"
_KIND = "distTable"
_DEFAULT = ["count", "avg", "std", "min", "max"]

Mode = Literal["fixedColumns", "bagOfWords"]

_Numbers = tuple[Count, float, float, float, float, float, float]  # of a distribution, as a file has them


_UNSEEN = Distribution()


@dataclass
class DistTable:
    """Distributions of each outcome by column and key; in a bag of words columns are keys of the one column ''."""

    outcomes: list[str]
    mode: Mode
    columns: dict[str, dict[str, list[Distribution]]] = field(default_factory=dict)

    def place(self, cell: Cell) -> tuple[str, str] | None:
        """Column and key of a cell, None for one that does not count."""
        return self._place(format_path(cell.path), cell.value)

    def _place(self, name: str, value: Atom) -> tuple[str, str] | None:
        if self.mode == "fixedColumns":
            return name, key_of(value)
        return None if value is None else ("", name)

    def statistics_of(self, batch: RowBatch, names: list[str]) -> pa.Array:
        """``stats.<outcome>.<column>.<statistic>`` for the columns of the row ``features`` that are known."""
        cells = value_cells_below(batch, "features")
        pairs, which = cells.pairs()
        places = [self._place(name, atom) for name, atom in pairs]
        known = np.array([at is not None and at[0] in self.columns for at in places], np.bool_)
        found = np.zeros((len(self.outcomes), len(pairs), SIZE))
        for pair, at in enumerate(places):
            if at is not None and known[pair]:
                found[:, pair] = [*map(numbers_of, self.columns[at[0]].get(at[1], [_UNSEEN] * len(self.outcomes)))]
        numbers = statistics(found, names)
        prefixes = [f"{format_path(('stats', outcome))}." for outcome in self.outcomes]
        inside = known[which]
        return spread_cells(
            batch.length, cells.take(inside), prefixes, [f".{name}" for name in names], numbers[:, which[inside]]
        )

    def add(self, cells: ValueCells, outcomes: list[list[float | None]]) -> tuple[ValueCells, NDArray[np.float64]]:
        """Count the outcomes of rows in, by outcome; one that is null does not count.

        The cells that count, and the numbers [outcome, cell] of their distributions before each cell's row.
        """
        pairs, which = cells.pairs()
        places = [self._place(name, atom) for name, atom in pairs]
        counted = np.array([at is not None for at in places], np.bool_)[which]
        cells, which = cells.take(counted), which[counted]
        numbered: dict[tuple[str, str] | None, int] = {}
        at = np.array([numbered.setdefault(place, len(numbered)) for place in places], np.int64)[which]
        found = [self._at(*place) if place is not None else [_UNSEEN] * len(outcomes) for place in numbered]
        before = [
            _gone_through(values, cells, at, [each[number] for each in found]) for number, values in enumerate(outcomes)
        ]
        return cells, np.array(before).reshape(len(outcomes), len(at), SIZE)[:, _first_of_row(cells.rows, at)]

    def _at(self, column: str, key: str) -> list[Distribution]:
        """The distributions of the outcomes; made where there are none."""
        keys = self.columns.setdefault(column, {})
        if key not in keys:
            keys[key] = [Distribution() for _ in self.outcomes]
        return keys[key]

    def add_at(self, column: str, key: str, outcomes: list[float | None]) -> None:
        for distribution, outcome in zip(self._at(column, key), outcomes, strict=True):
            if outcome is not None:
                distribution.add(outcome)

    def to_bytes(self, origin: Origin) -> bytes:
        numbers = {
            column: {key: [_finite(numbers_of(one)) for one in all] for key, all in keys.items()}
            for column, keys in self.columns.items()
        }
        return pack(_KIND, {"outcomes": self.outcomes, "mode": self.mode, "columns": numbers}, Archive(), origin)

    @classmethod
    def of(cls, file: ModelFile) -> DistTable:
        outcomes = member(file.body, "outcomes", list[str])
        saved = member(file.body, "columns", dict[str, dict[str, list[_Numbers]]])
        columns = {
            column: {key: [Distribution(*one) for one in all] for key, all in keys.items()}
            for column, keys in saved.items()
        }
        every = [each for keys in columns.values() for each in keys.values()]
        require(all(len(each) == len(outcomes) for each in every), "a value has distributions of other outcomes")
        require(not any(one.squares < 0 for each in every for one in each), "a sum of squares is negative")
        return cls(outcomes, member(file.body, "mode", Mode), columns)


def _gone_through(
    values: list[float | None], cells: ValueCells, at: NDArray[np.int64], found: list[Distribution]
) -> list[tuple[float, ...]]:
    """The numbers of each cell's distribution before the outcome of its row, which is then added."""
    before = []
    for place, row in zip(at.tolist(), cells.rows.tolist(), strict=True):
        one, value = found[place], values[row]
        before.append(numbers_of(one))
        if value is not None:
            one.add(value)
    return before


def _first_of_row(rows: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of the first cell of the same row and distribution, for each cell."""
    order = np.lexsort((at, rows))
    first = np.empty_like(order)
    first[order] = order[run_starts(rows[order], at[order])]
    return first


def _finite(numbers: tuple[Any, ...]) -> list[Any]:
    """JSON knows only finite numbers: the others as text."""
    return [number if math.isfinite(number) else str(number) for number in numbers]


# ── the procedure ────────────────────────────────────────────────────────────────────────────────────────────────


class TrainParams(ProcedureParams):
    trainingData: InputQuery = Field(
        default=None, description="Query giving the columns, in the order to go through them"
    )
    outcomes: Outcomes = Field(default=[], description="Outcomes: [name, SQL number over the rows of the FROM]")
    statistics: list[str] = Field(
        default=_DEFAULT, description="Statistics to tell: count, avg, std, min, max, last, sum"
    )
    mode: Mode = Field(default="fixedColumns", description="Whether values of columns are keys, or names of columns")
    distTableFileUrl: str | None = Field(default=None, description="Where to save the table (.dt)")
    functionName: str | None = Field(default=None, description="Name of a function to create from the table")
    outputDataset: OutputDataset = Field(default=None, description="Dataset for the statistics before each row")


class DistTrain(OutcomeTraining):
    """One pass; each row is recorded with the statistics of the rows before it."""

    type_name, url_name = _TRAIN, "distTableFileUrl"

    def check(self, params: TrainParams) -> Select | None:
        check_statistics(params.statistics)
        return super().check(params)

    def run(self, params: TrainParams, progress: Progress) -> RunResult:
        names, told = [name for name, _ in params.outcomes], params.statistics or _DEFAULT
        table = DistTable(names, params.mode)

        def count(batch: OutcomeBatch) -> tuple[ValueCells, NDArray[np.float64]]:
            outcomes = [[_number(value) for value in values] for values in batch.outcomes]
            cells, before = table.add(batch.value_cells(), outcomes)
            return cells, statistics(before, told)

        batches, origin = self.training(params, progress)
        rows = RunningResult(batches, names, [f".{name}" for name in told], count)
        self.count_all(params, rows, progress, "tabular")
        of = {"statistics": params.statistics}
        return self.finish(params, table.to_bytes(origin), "dist table", "experimental.distTable.getStats", of)


def _number(outcome: Atom) -> float | None:
    if outcome is None:
        return None
    if isinstance(outcome, int | float):
        return float(outcome)
    raise MldbError(f"an outcome of a distribution table is a number, not '{outcome!s}'")


# ── the function ─────────────────────────────────────────────────────────────────────────────────────────────────


class StatsParams(Params):
    distTableFileUrl: str = Field(description="URL of the table, as experimental.distTable.train saved it")
    statistics: list[str] = Field(
        default=_DEFAULT, description="Statistics to tell: count, avg, std, min, max, last, sum"
    )


class DistFunction:
    """Tells statistics by key; they can be updated, and saved."""

    def __init__(self, services: Services, table: DistTable, file: ModelFile, statistics: list[str]) -> None:
        self._services = services
        self._file = file
        self._table = table
        self._updates = 0
        self._statistics = statistics
        self._lock = threading.Lock()
        self._function = RowFunction("features", "stats", self._cells)

    @property
    def input(self) -> RowType:
        return self._function.input

    @property
    def output(self) -> RowType:
        return self._function.output

    def bind(self, given: RowType) -> BoundFunction:
        return self._function.bind(given)

    def _cells(self, batch: RowBatch) -> pa.Array:
        with self._lock:
            return self._table.statistics_of(batch, self._statistics)

    def details(self) -> dict[str, Any]:
        """The model as it was loaded; ``updates`` is the number of rows that were counted in since."""
        table = self._table
        model = {"type": _KIND, "mode": table.mode, "outcomes": table.outcomes, "columns": list(table.columns)}
        return self._file.details(model | {"updates": self._updates})

    def route(self, request: Request) -> Response:
        """``POST /increment {keys, outcomes}`` counts one more row in; ``POST /persist {modelFileUrl}`` saves."""
        name = request.remaining.strip("/")
        if request.verb != "POST" or name not in ("increment", "persist"):
            raise NotFound(
                f"Unknown route '{request.verb} {request.remaining}': there are POST /increment and /persist"
            )
        body = _json_object(request)
        if name == "increment":
            self._increment(body.get("keys"), body.get("outcomes"))
        else:
            self._persist(body.get("modelFileUrl"))
        return Response(200, b'"OK"')

    def _increment(self, keys: Any, outcomes: Any) -> None:
        numbers = _numbers(outcomes, len(self._table.outcomes))
        if not isinstance(keys, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in keys):
            raise MldbError("'keys' is an array of [column, value]")
        cells = [Cell((str(column),), atom_from_json(value)) for column, value in keys]
        with self._lock:
            places = [(cell, self._table.place(cell)) for cell in cells]
            for cell, at in places:
                if at is not None and at[0] not in self._table.columns:
                    raise MldbError(f"Unknown dist table '{format_path(cell.path)}'")
            for _, at in places:
                if at is not None:
                    self._table.add_at(*at, numbers)
            self._updates += 1

    def _persist(self, url: Any) -> None:
        if not isinstance(url, str) or not url:
            raise MldbError("persist needs a modelFileUrl")
        self._services.urls.check_writable(url, "modelFileUrl")
        with self._lock:
            before = self._file.origin.get("updates", 0)
            data = self._table.to_bytes({**self._file.origin, "updates": before + self._updates})
        write_model(self._services, url, data, "dist table")


def _json_object(request: Request) -> dict[str, Any]:
    try:
        body = orjson.loads(request.body or b"{}")
    except orjson.JSONDecodeError as error:
        raise MldbError(f"the body of {request.remaining} is a JSON object: {error}") from None
    if not isinstance(body, dict):
        raise MldbError(f"the body of {request.remaining} is a JSON object")
    return body


def _numbers(outcomes: Any, count: int) -> list[float | None]:
    """The outcomes of an update, one for each that the table has."""
    if not isinstance(outcomes, list) or len(outcomes) != count:
        raise MldbError(f"'outcomes' is an array of {count} number(s), one for each outcome of the table")
    return [_number(atom_from_json(outcome)) for outcome in outcomes]


def _create_function(creation: Creation) -> DistFunction:
    params: StatsParams = creation.params
    check_statistics(params.statistics)
    table, file = open_model(creation.services, params.distTableFileUrl, _KIND, DistTable.of)
    return DistFunction(creation.services, table, file, params.statistics or _DEFAULT)


TYPES = [
    EntityType(
        "procedure",
        _TRAIN,
        TrainParams,
        "Gathers statistics of numeric outcomes by value of each column",
        DistTrain.create,
        "The dataset gets, for each row, `<outcome>.<column>.<statistic>` of the rows before it.",
    ),
    EntityType(
        "function",
        "experimental.distTable.getStats",
        StatsParams,
        "Tells statistics of numeric outcomes by value of each column",
        _create_function,
        "`features` is a row of values; gives `stats`. `POST …/routes/increment {keys, outcomes}` counts a row in, "
        "`POST …/routes/persist {modelFileUrl}` saves the table.",
    ),
]
