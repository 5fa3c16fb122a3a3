"""``dataset.stats``: how large the result of a query is (entity-types.md §3.10)."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import (
    EntityType,
    InputQuery,
    NamedBatch,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    StatelessProcedure,
)
from server.procedures.validators import input_query
from server.sql.tree import Select
from server.transfer.results import is_null
from server.values import compute as pc
from server.values.atoms import NEVER, Atom, Timestamp
from server.values.batches import Column, RowBatch, iterate_paths
from server.values.distinct import distinct
from server.values.paths import Path, format_path


class DatasetStatsParams(ProcedureParams):
    """Parameters of dataset.stats."""

    inputData: InputQuery = Field(description="The query whose rows are counted")
    outputDataset: OutputDataset = Field(default={}, description="Dataset to create; tabular unless it says otherwise")


class Counts:
    """What was counted so far. A value that is null is no data point; a cell may have several values over time."""

    def __init__(self) -> None:
        self.rows = 0
        self.cells = 0
        self.points = 0
        self._columns: set[str] = set()
        self._times: set[float] = set()

    def add(self, batch: RowBatch) -> None:
        self.rows += batch.length
        for index, column in enumerate(batch.type.columns):
            self._add_column(column, batch.values[index], batch.timestamp(index))
        if batch.rest is not None:
            self._add_rest(batch.rest)

    def _add_column(self, column: Column, values: pa.Array, times: pa.Array | float) -> None:
        present = ~is_null(values)
        self._columns.update(format_path(path) for path in iterate_paths(column))
        found = int(present.sum()) if column.shape is None else len(values.drop_null().flatten())
        self.cells += found
        self.points += found
        if present.any():
            self._add_times(np.atleast_1d(np.asarray(times, float)), present)

    def _add_rest(self, rest: pa.Array) -> None:
        flat = rest.flatten()
        present = ~is_null(flat.field("v"))
        paths = flat.field("p").dictionary_encode()
        codes = np.asarray(paths.indices)[present].astype(np.int64)
        rows = np.asarray(pc.list_parent_indices(rest))[present].astype(np.int64)
        self._columns.update(paths.dictionary.to_pylist())
        self.points += len(codes)
        self.cells += len(distinct(rows * max(len(paths.dictionary), 1) + codes))
        self._add_times(np.asarray(flat.field("t"), float), present)

    def _add_times(self, times: NDArray[np.float64], present: NDArray[np.bool_]) -> None:
        chosen = times[present] if len(times) == len(present) else times
        self._times.update(distinct(chosen[~np.isnan(chosen)]).tolist())

    def row(self) -> dict[str, Atom]:
        moments = [time for time in self._times if math.isfinite(time)]
        return {
            "rowsCount": self.rows,
            "columnsCount": len(self._columns),
            "distinctTimestampsCount": len(self._times),
            "cellsCount": self.cells,
            "dataPointsCount": self.points,
            "earliestTimestamp": Timestamp(min(moments)) if moments else None,
            "latestTimestamp": Timestamp(max(moments)) if moments else None,
        }


class DatasetStats(StatelessProcedure):
    def check(self, params: DatasetStatsParams) -> Select:
        return input_query(self.services, params.inputData)

    def run(self, params: DatasetStatsParams, progress: Progress) -> RunResult:
        progress.step("counting", "counter")
        counts = Counts()
        batch: NamedBatch
        result = self.services.query(self.check(params), timestamps=True)
        for batch in result.batches(progress):
            counts.add(batch.rows)
            progress.update(counts.rows)
        _, dataset = self.services.output_dataset(params.outputDataset, "tabular")
        cells: list[tuple[Path, Atom, float]] = [((name,), value, NEVER) for name, value in counts.row().items()]
        dataset.record_rows([(("result",), cells)])
        dataset.commit()
        return RunResult(dataset.status())


TYPES = [
    EntityType(
        kind="procedure",
        name="dataset.stats",
        params=DatasetStatsParams,
        summary="Count rows, columns, cells and timestamps of a query",
        create=DatasetStats.create,
        doc=(
            "Gives one row `result` with `rowsCount`, `columnsCount`, `distinctTimestampsCount`, `cellsCount`, "
            "`dataPointsCount` (a cell may have several values over time), `earliestTimestamp` and `latestTimestamp`. "
            "Values that are null are not counted."
        ),
    )
]
