"""``transform``: a query's rows as a new dataset (entity-types.md §3.6)."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from server.declarations import (
    EntityType,
    InputQuery,
    NamedBatch,
    OutputDataset,
    ProcedureParams,
    Progress,
    QueryResult,
    RunResult,
    StatelessProcedure,
)
from server.errors import MldbError
from server.procedures.validators import input_query
from server.transfer.results import chosen, without_values


class TransformParams(ProcedureParams):
    """Parameters of transform."""

    inputData: InputQuery = Field(None, description="The query whose rows are recorded")
    outputDataset: OutputDataset = Field(
        default={}, description="Dataset to create; sparse.mutable unless it says otherwise"
    )
    skipEmptyRows: bool = Field(False, description="Leave out rows that hold no value")


class Transform(StatelessProcedure):
    def run(self, params: TransformParams, progress: Progress) -> RunResult:
        if params.inputData is None:
            raise MldbError("You need to define inputData")
        progress.step("binding")
        tree = input_query(self.services, params.inputData)
        result = self.services.query(tree, timestamps=True)
        progress.check()
        progress.step("transforming")
        _, dataset = self.services.output_dataset(params.outputDataset, "sparse.mutable")
        dataset.write(FilledRows(result) if params.skipEmptyRows else result, progress)
        return RunResult(dataset.status())


class FilledRows:
    """A query result without its empty rows."""

    def __init__(self, inner: QueryResult) -> None:
        self._inner = inner
        self.type = inner.type

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        for batch in self._inner.batches(progress):
            empty = without_values(batch.rows)
            yield chosen(batch, ~empty) if empty.any() else batch


TYPES = [
    EntityType(
        kind="procedure",
        name="transform",
        params=TransformParams,
        summary="Record the rows of a query as a dataset",
        create=Transform.create,
        doc="Runs `inputData`, any query, and records its rows under the names that the query gives them.",
    )
]
