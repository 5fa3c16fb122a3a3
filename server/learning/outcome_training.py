"""What the trainings of statistics, word and distribution tables have in common: one pass over rows with outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from server.declarations import Progress, RunResult, StatelessProcedure
from server.errors import MldbError
from server.learning.model_params import no_model_url, write_model
from server.learning.origin import Origin, training_rows
from server.learning.outcome_rows import OutcomeBatch, check_outcomes, outcome_batches, with_outcomes
from server.learning.running_counts import RunningResult
from server.procedures.validators import checked_query, required
from server.sql.tree import Select
from server.transfer.outputs import recording_dataset


class OutcomeTraining(StatelessProcedure):
    """Base of these procedures. ``url_name``: the parameter that says where the table is saved."""

    type_name: ClassVar[str]
    url_name: ClassVar[str]

    def check(self, params: Any) -> Select | None:
        """The query, None when there is none yet; ``MldbError`` for what could not be saved or run."""
        url = getattr(params, self.url_name)
        if params.functionName:
            self.services.check_id("function", params.functionName)
        if url:
            self.services.urls.check_writable(url, self.url_name)
        elif params.functionName:
            raise MldbError(f"{no_model_url(self.type_name)} It is the parameter {self.url_name}")
        if params.trainingData is None:
            return None
        check_outcomes(params.outcomes, self.type_name)
        return checked_query(self.services, params.trainingData, self.type_name)

    def training(self, params: Any, progress: Progress) -> tuple[Iterator[OutcomeBatch], Origin]:
        """The rows with their outcomes, and where the table comes from."""
        select = required(self.check(params), self.type_name)
        progress.step("iterating", "counter")
        read = with_outcomes(select, params.outcomes)
        result, origin = training_rows(self.services, self.type_name, params, select, read=read, timestamps=True)
        return outcome_batches(result, params.outcomes, progress), origin

    def count_all(self, params: Any, rows: RunningResult, progress: Progress, default_type: str) -> None:
        """Go through the rows; what went before each is recorded where an output dataset is asked for."""
        if params.outputDataset is None:
            for batch in rows.training:
                rows.count(batch)
        else:
            recording_dataset(self.services, params.outputDataset, default_type).write(rows, progress)

    def finish(self, params: Any, data: bytes, what: str, function: str, told: Mapping[str, Any]) -> RunResult:
        """Save the table, and create the function that is asked for: its type, and its parameters beside the URL."""
        url = getattr(params, self.url_name)
        write_model(self.services, url, data, what)
        if params.functionName:
            config = {"id": params.functionName, "type": function, "params": {self.url_name: url, **told}}
            self.services.create("function", config)
        return RunResult()
