"""From the rows of a training query to what learners take: features, labels, weights (entity-types.md §3.11, §6.5)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from server.declarations import NamedBatch
from server.errors import MldbError
from server.learning.columns import Piece, pieces_of
from server.learning.examples import Examples, normalized
from server.learning.feature_space import FeatureSpace
from server.learning.matrix import Floats, Matrix, take_rows
from server.learning.table import build, natural_order
from server.values.atoms import Atom, atom_to_json
from server.values.batches import RowBatch
from server.values.cells import atoms_of, cells_of
from server.values.paths import format_path

Mode = Literal["boolean", "regression", "categorical", "multilabel"]
Strategy = Literal["random", "decompose", "one-vs-all"]

NO_ROWS = "Error training classifier: No feature vectors were produced as "
EMPTY_DATASET = NO_ROWS + "dataset was empty"
ALL_FILTERED = NO_ROWS + (
    "all rows were filtered by WHEN, WHERE, OFFSET or LIMIT, or all labels were NULL (or label column doesn't exist)"
)
_SEED = 1


@dataclass(frozen=True)
class TrainingSet:
    """Rows in the natural order of their names, those without a label left out.

    ``targets``: label numbers, numbers to predict, or (multilabel) a matrix of truth values [row, label].
    ``labels`` are the labels' JSON texts, sorted; ``"0"`` and ``"1"`` in boolean mode, none in regression.
    """

    mode: Mode
    space: FeatureSpace
    matrix: Matrix
    targets: NDArray[Any]
    labels: tuple[str, ...]
    weights: NDArray[np.float64]


@dataclass
class _Rows:
    """What has been read of the batches so far."""

    names: list[str] = field(default_factory=list)
    parts: list[tuple[int, list[Piece]]] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    weights: list[NDArray[np.float64]] = field(default_factory=list)


def read_training_set(batches: Iterable[NamedBatch], mode: Mode, texts: Collection[str] = ()) -> TrainingSet:
    """Read the batches of a training query; ``MldbError`` with MLDB's texts for what cannot be trained on.

    ``texts`` names features that other rows of the dataset have as texts.
    """
    rows = _Rows()
    for batch in batches:
        rows.names += batch.names.to_pylist()
        rows.parts.append((batch.rows.length, list(pieces_of(batch.rows.under(("features",))))))
        rows.labels += multilabels_of(batch.rows) if mode == "multilabel" else labels_of(batch.rows)
        rows.weights.append(weights_of(batch.rows))
    space, matrix = build(rows.parts, rows.names.__getitem__, texts)
    weights = np.concatenate(rows.weights) if rows.weights else np.zeros(0)
    return _assemble(mode, space, matrix, rows, weights)


def _assemble(
    mode: Mode, space: FeatureSpace, matrix: Matrix, rows: _Rows, weights: NDArray[np.float64]
) -> TrainingSet:
    order = natural_order(rows.names)
    order = np.arange(len(rows.names)) if order is None else order
    labelled = np.array([bool(label) if mode == "multilabel" else label is not None for label in rows.labels], np.bool_)
    keep = order[labelled[order]]
    if not len(keep):
        raise MldbError(ALL_FILTERED)
    _check_weights(weights[keep])
    targets, labels = _targets(mode, [rows.labels[at] for at in keep.tolist()])
    whole = len(keep) == len(rows.names) and bool((keep == np.arange(len(keep))).all())
    return TrainingSet(mode, space, matrix if whole else take_rows(matrix, keep), targets, labels, weights[keep])


def _check_weights(weights: NDArray[np.float64]) -> None:
    if not np.isfinite(weights).all():
        raise MldbError("classifier example weights must be finite")
    if (weights < 0).any():
        raise MldbError("classifier example weight cannot be negative")


def labels_of(rows: RowBatch, name: str = "label") -> list[Atom]:
    """The atom of a column in each row, None where it is missing."""
    for number, column in enumerate(rows.type.columns):
        if column.path == (name,) and column.shape is None:
            return atoms_of(rows.values[number], column.kind)
    if rows.rest is None:
        return [None] * rows.length
    return [next((cell.value for cell in row if cell.path == (name,)), None) for row in cells_of(rows.rest)]


def weights_of(rows: RowBatch) -> NDArray[np.float64]:
    """Weights of the rows: 1 where no column ``weight`` is given, NaN where it is null."""
    given = labels_of(rows, "weight")
    if rows.type.column(("weight",)) is None and all(weight is None for weight in given):
        return np.ones(rows.length)
    return np.array([_number(weight) for weight in given], np.float64)


def _number(atom: Atom) -> float:
    return float(atom) if isinstance(atom, int | float) else np.nan


def multilabels_of(rows: RowBatch, name: str = "label") -> list[list[str]]:
    """The names of the columns under ``label`` that are not null, row by row; ``MldbError`` for a plain label."""
    if rows.type.column((name,)) is not None:
        raise MldbError("Multilabel classification labels requires a row")
    return names_present(rows.under((name,)))


def names_present(rows: RowBatch) -> list[list[str]]:
    """Names of the columns that are not null, row by row."""
    found: list[list[str]] = [[] for _ in range(rows.length)]
    for number, column in enumerate(rows.type.columns):
        if column.shape is None:
            text = format_path(column.path)
            for at, value in enumerate(atoms_of(rows.values[number], column.kind)):
                if value is not None:
                    found[at].append(text)
    pieces = [] if rows.rest is None else cells_of(rows.rest)
    for at, row in enumerate(pieces):
        found[at] += [format_path(cell.path) for cell in row if cell.value is not None]
    return found


def label_text(atom: Atom) -> str:
    """The JSON text of a label, which is its name in ``scores``."""
    return orjson.dumps(atom_to_json(atom)).decode()


def label_atom(text: str) -> Any:
    """The JSON value that a label's name stands for; the name itself where it is no JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def is_true(atom: Atom) -> bool:
    """Truth of an atom: a number that is not 0, a text that is not empty."""
    return bool(atom) if isinstance(atom, int | float | str | bytes) else atom is not None


def _targets(mode: Mode, labels: Sequence[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    if mode == "boolean":
        return np.array([is_true(label) for label in labels], np.int64), ("0", "1")
    if mode == "regression":
        return _regression_targets(labels), ()
    if mode == "categorical":
        texts = [label_text(label) for label in labels]
        known = sorted(set(texts))
        place = {text: number for number, text in enumerate(known)}
        return np.array([place[text] for text in texts], np.int64), tuple(known)
    lists = [[label_text(name) for name in row] for row in labels]
    known = sorted({text for row in lists for text in row})
    place = {text: number for number, text in enumerate(known)}
    truth = np.zeros((len(lists), len(known)), np.bool_)
    for at, row in enumerate(lists):
        truth[at, [place[text] for text in row]] = True
    return truth, tuple(known)


def _regression_targets(labels: Sequence[Any]) -> Floats:
    numbers = np.array([_number(label) for label in labels], np.float64)
    if not np.isfinite(numbers).all():
        at = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise MldbError(f"Regression labels must not be infinite or NaN, or anything but numbers: got {labels[at]!r}")
    return numbers.astype(np.float32)


def examples_of(table: TrainingSet, equalization: float, strategy: Strategy = "one-vs-all") -> Examples:
    """Examples with balanced weights. Multilabel rows are made rows of one label each (random, decompose)."""
    if table.mode == "regression":
        return Examples(table.space, table.matrix, table.targets, 1, normalized(table.weights))
    if table.mode != "multilabel":
        truth = _one_hot(table.targets, len(table.labels))
        return Examples(
            table.space, table.matrix, table.targets, len(table.labels), balanced(truth, table.weights, equalization)
        )
    rows, targets = _single_labels(table.targets, strategy)
    weights = balanced(_one_hot(targets, len(table.labels)), table.weights[rows], equalization)
    return Examples(table.space, take_rows(table.matrix, rows), targets, len(table.labels), weights)


def _one_hot(targets: NDArray[Any], count: int) -> NDArray[np.bool_]:
    return np.asarray(targets[:, None] == np.arange(count))


def _single_labels(truth: NDArray[np.bool_], strategy: Strategy) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and the one label of each."""
    if strategy == "decompose":
        rows, labels = np.nonzero(truth)
        return rows, labels
    draws = np.random.default_rng(_SEED).random(truth.shape)
    return np.arange(len(truth)), np.where(truth, draws, -1.0).argmax(axis=1)


def balanced(truth: NDArray[np.bool_], weights: NDArray[np.float64], equalization: float) -> Floats:
    """Weights of rows from their own and the balancing of labels, of sum 1 (§6.5).

    A row's own weight takes part twice: in the label's total factor and by itself.
    """
    totals = weights @ truth
    with np.errstate(divide="ignore"):
        factors = np.where(totals > 0, totals**-equalization, 0.0)
    return normalized(weights * ((truth * factors).sum(axis=1) * weights))
