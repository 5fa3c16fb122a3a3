"""``melt``: columns into rows (entity-types.md §3.7)."""

from __future__ import annotations

from pydantic import Field

from server.declarations import (
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    StatelessProcedure,
)
from server.errors import MldbError
from server.procedures.validators import has_part, input_query, refuse, require_from
from server.sql.tree import Select
from server.transfer.melted import MeltedRows
from server.transfer.outputs import recording_dataset
from server.values.paths import parse_path

NAME = "melt"


class MeltParams(ProcedureParams):
    """Parameters of melt."""

    inputData: InputQuery = Field(description="A query that selects rows `to_fix` and `to_melt`")
    outputDataset: OutputDataset = Field(default={}, description="Dataset to create; tabular unless it says otherwise")
    keyColumnName: str = Field("key", description="Column for the names of the melted columns")
    valueColumnName: str = Field("value", description="Column for their values")


class Melt(StatelessProcedure):
    def check(self, params: MeltParams) -> Select:
        tree = input_query(self.services, params.inputData)
        refuse(tree, NAME, "groupBy", "having")
        if not (has_part(tree, "to_melt") and has_part(tree, "to_fix")):
            raise MldbError("melt procedure expect a rows named 'to_melt' and 'to_fix'")
        require_from(tree, NAME)
        return tree

    def run(self, params: MeltParams, progress: Progress) -> RunResult:
        tree = self.check(params)
        progress.step("melting", "counter")
        result = self.services.query(tree, timestamps=True)
        dataset = recording_dataset(self.services, params.outputDataset, "tabular")
        key, value = parse_path(params.keyColumnName), parse_path(params.valueColumnName)
        dataset.write(MeltedRows(result, key, value), progress)
        return RunResult()


TYPES = [
    EntityType(
        kind="procedure",
        name=NAME,
        params=MeltParams,
        summary="Turn columns into rows",
        create=Melt.create,
        doc=(
            "The query selects two rows: `{…} AS to_fix`, the columns to keep, and `{…} AS to_melt`. Each cell of the "
            "second becomes a row with the kept columns, the cell's column name and its value."
        ),
    )
]
