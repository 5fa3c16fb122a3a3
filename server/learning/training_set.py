"""From the rows of a training query to what learners take: features, labels, weights (entity-types.md §3.11, §6.5)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from server.declarations import NamedBatch
from server.errors import MldbError
from server.learning.columns import Piece, pieces_of
from server.learning.examples import Examples, normalized
from server.learning.feature_space import FeatureSpace
from server.learning.matrix import Floats, Matrix, take_rows
from server.learning.table import build, row_order
from server.transfer.results import column_atoms
from server.values import compute as pc
from server.values.atoms import Atom, atom_to_json
from server.values.batches import RowBatch, one_array
from server.values.cells import atoms_of, cells_of
from server.values.kinds import Kind
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
    """What has been read of the batches so far. ``labels`` are the different ones of each batch, ``codes`` places of
    rows in them (-1: no label)."""

    names: list[pa.Array] = field(default_factory=list)
    parts: list[tuple[int, list[Piece]]] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    codes: list[NDArray[np.int64]] = field(default_factory=list)
    weights: list[NDArray[np.float64]] = field(default_factory=list)

    def add_labels(self, labels: Sequence[Any], codes: NDArray[np.int64]) -> None:
        self.codes.append(np.where(codes >= 0, codes + len(self.labels), -1))
        self.labels += labels


def read_training_set(batches: Iterable[NamedBatch], mode: Mode, texts: Collection[str] = ()) -> TrainingSet:
    """Read the batches of a training query; ``MldbError`` with MLDB's texts for what cannot be trained on.

    ``texts`` names features that other rows of the dataset have as texts.
    """
    rows = _Rows()
    for batch in batches:
        rows.names += batch.names.chunks if isinstance(batch.names, pa.ChunkedArray) else [batch.names]
        rows.parts.append((batch.rows.length, list(pieces_of(batch.rows.under(("features",))))))
        rows.add_labels(*coded_labels(batch.rows, mode))
        rows.weights.append(weights_of(batch.rows))
    names = pa.chunked_array(rows.names, pa.string())
    space, matrix = build(rows.parts, lambda at: str(names[at]), texts)
    weights = np.concatenate(rows.weights) if rows.weights else np.zeros(0)
    return _assemble(mode, space, matrix, rows, row_order(names), weights)


def _assemble(
    mode: Mode,
    space: FeatureSpace,
    matrix: Matrix,
    rows: _Rows,
    order: NDArray[np.int64] | None,
    weights: NDArray[np.float64],
) -> TrainingSet:
    codes = np.concatenate(rows.codes) if rows.codes else np.zeros(0, np.int64)
    labelled = codes >= 0
    keep = np.flatnonzero(labelled) if order is None else order[labelled[order]]
    if not len(keep):
        raise MldbError(ALL_FILTERED)
    check_weights(weights[keep])
    targets, labels = _targets(mode, rows.labels, codes[keep])
    whole = order is None and len(keep) == len(codes)
    return TrainingSet(mode, space, matrix if whole else take_rows(matrix, keep), targets, labels, weights[keep])


def check_weights(weights: NDArray[np.float64]) -> None:
    if not np.isfinite(weights).all():
        raise MldbError("classifier example weights must be finite")
    if (weights < 0).any():
        raise MldbError("classifier example weight cannot be negative")


def coded_labels(rows: RowBatch, mode: Mode) -> tuple[Sequence[Any], NDArray[np.int64]]:
    """The labels that occur (lists of them in multilabel mode), and which of these each row has; -1: none."""
    return _multilabels(rows) if mode == "multilabel" else _labels(rows)


def _labels(rows: RowBatch) -> tuple[list[Atom], NDArray[np.int64]]:
    for number, column in enumerate(rows.type.columns):
        if column.path == ("label",) and column.shape is None and (column.kind.numeric or column.kind is Kind.STRING):
            encoded = one_array(rows.values[number]).dictionary_encode()
            codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
            return atoms_of(encoded.dictionary, column.kind), codes.astype(np.int64)
    atoms = column_atoms(rows, "label")
    return atoms, _places(np.array([atom is not None for atom in atoms], np.bool_))


def _multilabels(rows: RowBatch) -> tuple[list[list[str]], NDArray[np.int64]]:
    lists = multilabels_of(rows)
    return lists, _places(np.array([bool(names) for names in lists], np.bool_))


def _places(there: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(there, np.arange(len(there)), -1)


def weights_of(rows: RowBatch) -> NDArray[np.float64]:
    """Weights of the rows: 1 where no column ``weight`` is given, NaN where it is null."""
    column = rows.type.column(("weight",))
    if column is None and rows.rest is None:
        return np.ones(rows.length)
    if column is not None and column.shape is None and column.kind.numeric:
        array = one_array(rows.values[rows.type.columns.index(column)])
        return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    given = column_atoms(rows, "weight")
    if column is None and all(weight is None for weight in given):
        return np.ones(rows.length)
    return np.array([_number(weight) for weight in given], np.float64)


def _number(atom: Atom) -> float:
    return float(atom) if isinstance(atom, int | float) else np.nan


def multilabels_of(rows: RowBatch) -> list[list[str]]:
    """The names of the columns under ``label`` that are not null, row by row; ``MldbError`` for a plain label."""
    if rows.type.column(("label",)) is not None:
        raise MldbError("Multilabel classification labels requires a row")
    return names_present(rows.under(("label",)))


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


def truths(labels: Sequence[Atom]) -> NDArray[np.bool_]:
    """The truth of each label; ``MldbError`` for different texts that are all true, which tell nothing apart."""
    found = np.array([is_true(label) for label in labels], np.bool_)
    some = sorted(set(map(str, labels))) if any(isinstance(label, str) for label in labels) else []
    if found.all() and len(some) > 1:
        shown = some[0].replace("'", "''")
        raise MldbError(
            f"Labels such as '{some[0]}' and '{some[1]}' are all true in mode 'boolean', as every text but '' is: "
            f"set mode to 'categorical', or make the label a condition, such as label = '{shown}' AS label"
        )
    return found


def _targets(mode: Mode, labels: Sequence[Any], codes: NDArray[np.int64]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """``codes`` are places in ``labels``."""
    if mode == "boolean":
        return truths(labels).astype(np.int64)[codes], ("0", "1")
    if mode == "regression":
        return _regression_targets(labels, codes), ()
    used = np.flatnonzero(np.bincount(codes, minlength=len(labels))).tolist()
    if mode == "categorical":
        texts = {at: label_text(labels[at]) for at in used}
        known = sorted(set(texts.values()))
        place = {text: number for number, text in enumerate(known)}
        numbers = np.zeros(len(labels), np.int64)
        numbers[used] = [place[texts[at]] for at in used]
        return numbers[codes], tuple(known)
    lists = [[label_text(name) for name in labels[at]] for at in codes.tolist()]
    known = sorted({text for row in lists for text in row})
    place = {text: number for number, text in enumerate(known)}
    truth = np.zeros((len(lists), len(known)), np.bool_)
    for at, row in enumerate(lists):
        truth[at, [place[text] for text in row]] = True
    return truth, tuple(known)


def _regression_targets(labels: Sequence[Any], codes: NDArray[np.int64]) -> Floats:
    numbers = np.array([_number(label) for label in labels], np.float64)[codes]
    if not np.isfinite(numbers).all():
        at = int(codes[np.flatnonzero(~np.isfinite(numbers))[0]])
        raise MldbError(f"Regression labels must not be infinite or NaN, or anything but numbers: got {labels[at]!r}")
    return numbers.astype(np.float32)


def examples_of(table: TrainingSet, equalization: float, strategy: Strategy) -> Examples:
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
