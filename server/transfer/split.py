"""``split``: rows into datasets so that every label is spread as the splits ask (entity-types.md §3.9)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from server.declarations import (
    Creation,
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    Services,
)
from server.errors import MldbError
from server.procedures.validators import input_query
from server.transfer.outputs import record_all, recording_dataset
from server.transfer.results import named_rows
from server.values.cells import Row
from server.values.paths import Path, format_path, natural_key, parse_path

_CHECKED_ROWS = 1000  # placed before a cancel is looked for
TOLERANCE = 0.01  # of the sum of the splits


class SplitParams(ProcedureParams):
    """Parameters of split."""

    labels: InputQuery = Field(
        description="A query with a row per example; each column that is not null is a label of it"
    )
    splits: list[float] = Field(description="Share of the examples that each dataset gets; together about 1")
    outputDatasets: list[OutputDataset] = Field(description="The datasets, as many as splits")
    foldImportance: float = Field(1.0, description="Weight of the datasets' sizes against the spread of labels")
    reproducible: bool = Field(True, description="Split the same data the same way each time")
    randomSeed: int = Field(0, description="Seed for the order of examples; 0 for none")


class Split:
    """The procedure entity."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run(self, params: SplitParams, progress: Progress) -> RunResult:
        check(params)
        progress.step("reading")
        result = self._services.query(input_query(self._services, params.labels), timestamps=True)
        examples = dict(named_rows(result, progress))
        labels = {
            name: frozenset(cell.path for cell in row if cell.value is not None) for name, row in examples.items()
        }
        progress.step("splitting")
        placed = place(labels, params, progress.check)
        progress.step("recording", "counter")
        for number, spec in enumerate(params.outputDatasets):
            self._record(spec, {name: examples[name] for name in examples if placed[name] == number}, progress)
        return RunResult({"incompleteLabels": incomplete(labels, placed, len(params.splits))})

    def _record(self, spec: Any, rows: Mapping[str, Row], progress: Progress) -> None:
        dataset = recording_dataset(self._services, spec, "sparse.mutable")
        recorded = (
            (parse_path(name), [(cell.path, cell.value, cell.timestamp) for cell in row]) for name, row in rows.items()
        )
        record_all(dataset, recorded, progress)


def check(params: SplitParams) -> None:
    if len(params.splits) != len(params.outputDatasets):
        raise MldbError("Number of splits requested is different than the number of datasets provided")
    if abs(sum(params.splits) - 1) > TOLERANCE or min(params.splits, default=0) < 0:
        raise MldbError(f"Sum of split factors does not approximate to 1.0: it is {sum(params.splits):g}")


def place(
    labels: Mapping[str, frozenset[Path]], params: SplitParams, check: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """The split of each example, rarest labels first, each to where it is wanted most (iterative stratification)."""
    seed = params.randomSeed or (0 if params.reproducible else None)
    names = sorted(labels)
    random.Random(seed).shuffle(names)  # noqa: S311 - a spread, not a secret
    holders: dict[Path, list[str]] = {}
    for name in names:
        for label in labels[name]:
            holders.setdefault(label, []).append(name)
    wanted = {label: [share * len(found) for share in params.splits] for label, found in holders.items()}
    room = [share * len(names) for share in params.splits]
    placed: dict[str, int] = {}

    def put(name: str, chosen: int) -> None:
        if not len(placed) % _CHECKED_ROWS:
            check()
        placed[name] = chosen
        room[chosen] -= 1
        for label in labels[name]:
            wanted[label][chosen] -= 1

    for label in sorted(holders, key=lambda label: (len(holders[label]), natural_key(label))):
        for name in holders[label]:
            if name not in placed:
                lag = [left - share * sum(room) for left, share in zip(room, params.splits, strict=True)]
                put(name, _neediest(wanted[label], lag, len(holders[label]), len(names), params.foldImportance))
    for name in names:
        if name not in placed:
            put(name, max(range(len(room)), key=room.__getitem__))
    return placed


def _neediest(wanted: Sequence[float], lag: Sequence[float], of_label: int, of_all: int, importance: float) -> int:
    """The split that lacks most: of the label, and (weighted) of examples at all, both as shares of their totals.

    ``lag`` is how many examples a split lacks beyond its share of those still to be placed.
    """

    def need(split: int) -> float:
        return wanted[split] / of_label + importance * lag[split] / of_all

    return max(range(len(wanted)), key=need)


def incomplete(labels: Mapping[str, frozenset[Path]], placed: Mapping[str, int], splits: int) -> list[str]:
    """Labels that some split has no example of."""
    seen: dict[Path, set[int]] = {}
    for name, found in labels.items():
        for label in found:
            seen.setdefault(label, set()).add(placed[name])
    return [format_path(label) for label in sorted(seen, key=natural_key) if len(seen[label]) < splits]


def create(creation: Creation) -> Split:
    check(creation.params)
    return Split(creation.services)


TYPES = [
    EntityType(
        kind="procedure",
        name="split",
        params=SplitParams,
        summary="Split rows into datasets with the labels spread evenly",
        create=create,
        doc=(
            "Every column of `labels` that is not null is a label of its row. Rows go to the output datasets in the "
            "given shares, and so do, as far as can be, the rows of each label."
        ),
    )
]
