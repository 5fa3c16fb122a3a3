"""Distribution tables: statistics of numeric outcomes by value of a column (entity-types.md §3.21, §4.3)."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
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
    StatelessProcedure,
)
from server.errors import MldbError, NotFound
from server.learning.archive import Archive, ModelFile, pack
from server.learning.cell_functions import RowFunction
from server.learning.model_params import save_model
from server.learning.origin import Origin, open_model
from server.learning.outcome_rows import OutcomeRow, Outcomes, outcome_rows
from server.learning.saved import Count, member, require
from server.learning.stats_tables import check_training, key_of, outcome_query, record_rows
from server.learning.value_cells import spread_cells, value_cells_below
from server.messages import Request, Response
from server.procedures.validators import required
from server.sql.tree import Select
from server.values.atoms import Atom, atom_from_json
from server.values.batches import Cell, Row, RowBatch, RowType
from server.values.paths import format_path

NAME = "experimental.distTable.train"
_KIND = "distTable"
_DEFAULT = ["count", "avg", "std", "min", "max"]

Mode = Literal["fixedColumns", "bagOfWords"]

_Numbers = tuple[Count, float, float, float, float, float, float]  # of a distribution, as a file has them


@dataclass
class Distribution:
    """Running statistics of numbers; the squares are summed around the mean (Welford), so nothing cancels."""

    count: int = 0
    mean: float = math.nan
    squares: float = 0.0
    low: float = math.nan
    high: float = math.nan
    last: float = math.nan
    total: float = 0.0

    def add(self, number: float) -> None:
        first = self.count == 0
        self.count += 1
        before = number if first else self.mean
        self.mean = before + (number - before) / self.count
        self.squares += (number - before) * (number - self.mean)
        self.low = number if first else min(self.low, number)
        self.high = number if first else max(self.high, number)
        self.last = number
        self.total += number

    def statistic(self, name: str) -> int | float:
        match name:
            case "count":
                return self.count
            case "avg":
                return self.mean
            case "std":
                return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else math.nan
            case "min":
                return self.low
            case "max":
                return self.high
            case "last":
                return self.last
            case "sum":
                return self.total
        raise MldbError(f"Unknown distribution table statistic: {name}")


def check_statistics(names: list[str]) -> None:
    for name in names:
        Distribution().statistic(name)


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

    def statistics(self, row: Row, names: list[str]) -> Row:
        """``<outcome>.<column>.<statistic>`` for the columns of a row that are known."""
        found = [(cell, at) for cell in row if (at := self.place(cell)) is not None and at[0] in self.columns]
        cells = []
        for number, outcome in enumerate(self.outcomes):
            for cell, (column, key) in found:
                distributions = self.columns[column].get(key)
                known = _UNSEEN if distributions is None else distributions[number]
                cells += [Cell((outcome, *cell.path, name), known.statistic(name), cell.timestamp) for name in names]
        return cells

    def statistics_of(self, batch: RowBatch, names: list[str]) -> pa.Array:
        """``stats.<outcome>.<column>.<statistic>`` for the columns of the row ``features`` that are known."""
        cells = value_cells_below(batch, "features")
        pairs, which = cells.pairs()
        places = [self._place(name, atom) for name, atom in pairs]
        known = np.array([at is not None and at[0] in self.columns for at in places], np.bool_)
        numbers = np.zeros((len(self.outcomes), len(pairs), len(names)))
        for pair, at in enumerate(places):
            if at is not None and known[pair]:
                found = self.columns[at[0]].get(at[1], [_UNSEEN] * len(self.outcomes))
                numbers[:, pair] = [[one.statistic(name) for name in names] for one in found]
        prefixes = [f"{format_path(('stats', outcome))}." for outcome in self.outcomes]
        inside = known[which]
        return spread_cells(
            batch.length, cells.take(inside), prefixes, [f".{name}" for name in names], numbers[:, which[inside]]
        )

    def add(self, row: Row, outcomes: list[float | None]) -> None:
        """Count the outcomes of a row in; one that is null does not count."""
        for at in filter(None, map(self.place, row)):
            self.add_at(*at, outcomes)

    def add_at(self, column: str, key: str, outcomes: list[float | None]) -> None:
        keys = self.columns.setdefault(column, {})
        if key not in keys:
            keys[key] = [Distribution() for _ in self.outcomes]
        for distribution, outcome in zip(keys[key], outcomes, strict=True):
            if outcome is not None:
                distribution.add(outcome)

    def to_bytes(self, origin: Origin) -> bytes:
        numbers = {
            column: {key: [_finite(astuple(one)) for one in all] for key, all in keys.items()}
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


class DistTrain(StatelessProcedure):
    """One pass; each row is recorded with the statistics of the rows before it."""

    def check(self, params: TrainParams) -> Select | None:
        check_statistics(params.statistics)
        return check_training(self.services, NAME, params, params.distTableFileUrl, "distTableFileUrl")

    def run(self, params: TrainParams, progress: Progress) -> RunResult:
        select = required(self.check(params), NAME)
        progress.step("iterating", "counter")
        table = DistTable([name for name, _ in params.outcomes], params.mode)
        result, origin = outcome_query(self.services, NAME, params, select)
        rows = outcome_rows(result, params.outcomes, progress)
        counted = _running(table, params.statistics, rows)
        record_rows(self.services, params.outputDataset, "tabular", counted, progress)
        save_model(self.services, params.distTableFileUrl, table.to_bytes(origin), "dist table")
        if params.functionName:
            of = {"distTableFileUrl": params.distTableFileUrl, "statistics": params.statistics}
            config = {"id": params.functionName, "type": "experimental.distTable.getStats", "params": of}
            self.services.create("function", config)
        return RunResult()


def _running(table: DistTable, statistics: list[str], rows: Iterator[OutcomeRow]) -> Iterator[tuple[str, Row]]:
    for row in rows:
        places = [at for cell in row.cells if (at := table.place(cell)) is not None]
        for column, _ in places:
            table.columns.setdefault(column, {})
        yield row.name, table.statistics(row.cells, statistics)
        table.add(row.cells, [_number(outcome) for outcome in row.outcomes])


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
        self._function = RowFunction("features", self._cells)

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
        """As loaded; ``updates`` counts the rows that were counted in since."""
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
        save_model(self._services, url, data, "dist table")


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
    return DistFunction(creation.services, table, file, params.statistics)


TYPES = [
    EntityType(
        "procedure",
        NAME,
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
