"""``split``: rows into datasets so that every label is spread as the splits ask (entity-types.md §3.9)."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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
from server.procedures.validators import input_query
from server.transfer.outputs import record_all, recording_dataset
from server.transfer.results import named_rows
from server.values.cells import Row
from server.values.paths import Path, format_path, natural_key, parse_path

_CHECKED_ROWS = 1000  # placed before a cancel is looked for
TOLERANCE = 0.01  # of the sum of the splits
_SINGLE = struct.Struct("f")
_FACTOR, _MODULUS = 48271, 2**31 - 1  # of the random numbers


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


class Split(StatelessProcedure):
    def check(self, params: SplitParams) -> None:
        if len(params.splits) != len(params.outputDatasets):
            raise MldbError("Number of splits requested is different than the number of datasets provided")
        if len(params.splits) < 2:
            raise MldbError("Insufficient number of splits")
        if abs(sum(params.splits) - 1) > TOLERANCE:
            raise MldbError(f"Sum of split factors does not approximate to 1.0, actual sum is: {sum(params.splits):f}")
        if min(params.splits) < 0:
            raise MldbError("Split factors must not be below zero")

    def run(self, params: SplitParams, progress: Progress) -> RunResult:
        self.check(params)
        progress.step("reading")
        result = self.services.query(input_query(self.services, params.labels), timestamps=True)
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
        dataset = recording_dataset(self.services, spec, "sparse.mutable")
        recorded = (
            (parse_path(name), [(cell.path, cell.value, cell.timestamp) for cell in row]) for name, row in rows.items()
        )
        record_all(dataset, recorded, progress)


def place(
    labels: Mapping[str, frozenset[Path]], params: SplitParams, check: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """The split of each example, as MLDB places them: one after the other, in an order that is shuffled.

    A label that no example had before goes to the first split, then to each split that has none of it; else the
    example goes to where the sizes of the splits, or the spread of one of its labels, are furthest behind. Shares are
    in single precision, which decides between splits that are equally far behind.
    """
    shares = [_single(share) for share in params.splits]
    importance = _single(params.foldImportance)
    spread: dict[str, list[int]] = {}
    sizes = [0] * len(shares)
    placed: dict[str, int] = {}
    for name in shuffled(list(labels), params):
        if not len(placed) % _CHECKED_ROWS:
            check()
        names = label_names(labels[name])
        chosen = _chosen([spread.get(label) for label in names], sizes, shares, importance)
        for label in names:
            spread.setdefault(label, [0] * len(shares))[chosen] += 1
        sizes[chosen] += 1
        placed[name] = chosen
    return placed


def label_names(paths: frozenset[Path]) -> list[str]:
    """What stands first in the paths of an example's cells, in the order of columns."""
    return list(dict.fromkeys(path[0] for path in sorted(paths, key=natural_key)))


def _chosen(spreads: Sequence[list[int] | None], sizes: list[int], shares: list[float], importance: float) -> int:
    """The split for an example with labels that are spread so; None for a label that is new."""
    known = [spread for spread in spreads if spread is not None]
    if len(known) < len(spreads):
        return 0
    for spread in known:
        if 0 in spread:
            return spread.index(0)
    lags = [_single(importance * lag) for lag in _lags(sizes, shares)] if any(sizes) else []
    chosen, worst = 0, 0.0
    for behind in ([lags] if lags else []) + [_lags(spread, shares) for spread in known]:
        most = max(behind)
        if most > worst:
            chosen, worst = behind.index(most), most
    return chosen


def _lags(counts: list[int], shares: list[float]) -> list[float]:
    """How far each split is behind its share."""
    total = sum(counts)
    return [_single(share - _single(count / total)) for share, count in zip(shares, counts, strict=True)]


def _single(number: float) -> float:
    return float(_SINGLE.unpack(_SINGLE.pack(number))[0])


def shuffled(names: list[str], params: SplitParams) -> list[str]:
    """The examples in the order in which they are placed."""
    if not params.reproducible:
        random.Random(params.randomSeed or None).shuffle(names)  # noqa: S311 - a spread, not a secret
        return names
    # As the C++ library draws from its minstd_rand, so that the same rows go to the same splits as in MLDB.
    state = params.randomSeed % _MODULUS or 1
    for at in range(1, len(names)):
        scale = (_MODULUS - 2) // (at + 1)
        drawn = scale * (at + 1)
        while drawn >= scale * (at + 1):
            state = state * _FACTOR % _MODULUS
            drawn = state - 1
        other = drawn // scale
        names[at], names[other] = names[other], names[at]
    return names


def incomplete(labels: Mapping[str, frozenset[Path]], placed: Mapping[str, int], splits: int) -> list[str]:
    """Labels that some split has no example of."""
    seen: dict[Path, set[int]] = {}
    for name, found in labels.items():
        for label in found:
            seen.setdefault(label, set()).add(placed[name])
    return [format_path(label) for label in sorted(seen, key=natural_key) if len(seen[label]) < splits]


TYPES = [
    EntityType(
        kind="procedure",
        name="split",
        params=SplitParams,
        summary="Split rows into datasets with the labels spread evenly",
        create=Split.create,
        doc=(
            "Every column of `labels` that is not null is a label of its row. Rows go to the output datasets in the "
            "given shares, and so do, as far as can be, the rows of each label."
        ),
    )
]
