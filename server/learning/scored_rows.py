"""Reading scores, labels and weights of tested rows, and writing the scored rows (entity-types.md §3.12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from server.declarations import NamedBatch, Recorded
from server.learning.array_results import ColumnsResult
from server.learning.columns import AtomPiece, BlockPiece, CellsPiece, pieces_of, values_of
from server.learning.metrics import Doubles, LabelledScores, Thresholds
from server.learning.training_set import Mode, coded_labels, label_atom, label_text, truths, weights_of
from server.transfer.results import column_atoms
from server.values.atoms import NEVER, Atom
from server.values.batches import RowBatch, one_array
from server.values.cells import any_array
from server.values.paths import Path, parse_path

_SCORE = ("score",)


@dataclass(frozen=True)
class ScoredRows:
    """Rows of a testing query, by name.

    ``labels`` are those that occur (JSON texts in categorical mode, lists of them in multilabel mode); ``codes`` tells
    which one each row has. ``scores`` is one column, or one per label (their JSON texts in ``names``).
    """

    rows: pa.Array
    labels: list[Any]
    codes: NDArray[np.int64]
    scores: Doubles
    names: tuple[str, ...]
    weights: Doubles

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labelled(self) -> LabelledScores:
        return LabelledScores(self.names, self.scores)

    @property
    def truth(self) -> NDArray[np.bool_]:
        """``MldbError`` for labels of which ``truths`` can say nothing."""
        return truths(self.labels)[self.codes]

    @property
    def numbers(self) -> Doubles:
        """The labels, NaN for those that are no numbers."""
        found = [float(label) if isinstance(label, int | float) else np.nan for label in self.labels]
        return np.array(found, np.float64)[self.codes]

    def label_list(self) -> list[Any]:
        """The label of each row."""
        return [self.labels[code] for code in self.codes.tolist()]


def read_scored(batches: Iterable[NamedBatch], mode: Mode) -> ScoredRows:
    """All rows that have a label."""
    rows: list[pa.Array] = []
    labels: list[Any] = []
    codes: list[NDArray[np.int64]] = []
    parts: list[tuple[int, dict[str, Doubles]]] = []
    weights: list[Doubles] = []
    for batch in batches:
        known, own = coded_labels(batch.rows, mode)
        kept = np.flatnonzero(own >= 0)
        names = one_array(batch.names)
        rows.append(names if len(kept) == len(names) else names.take(pa.array(kept)))
        codes.append(own[kept] + len(labels))
        labels += [_texts(label) for label in known] if mode in ("categorical", "multilabel") else known
        weights.append(weights_of(batch.rows)[kept])
        scores = _label_scores(batch.rows) if mode in ("categorical", "multilabel") else _one_score(batch.rows)
        parts.append((len(kept), {name: column[kept] for name, column in scores.items()}))
    names, joined = _join(parts)
    return ScoredRows(
        pa.concat_arrays(rows) if rows else pa.array([], pa.string()), labels,
        np.concatenate(codes) if codes else np.zeros(0, np.int64), joined, names,
        np.concatenate(weights) if weights else np.zeros(0),
    )  # fmt: skip


def _texts(label: Any) -> Any:
    return [label_text(name) for name in label] if isinstance(label, list) else label_text(label)


def _one_score(rows: RowBatch) -> dict[str, Doubles]:
    """The number ``score`` of each row, or the one number below it (the whole result of a function)."""
    for number, column in enumerate(rows.type.columns):
        if column.path == _SCORE and column.shape is None and column.kind.numeric:
            numbers = values_of(rows.values[number], column.kind, "score").numbers
            if not np.isnan(numbers).all():
                return {"": numbers}
    given = column_atoms(rows, "score")
    if all(score is None for score in given):
        below = _columns_below(rows)
        if len(below) == 1:
            return {"": next(iter(below.values()))}
    return {"": np.array([float(score) if isinstance(score, int | float) else np.nan for score in given])}


def _label_scores(rows: RowBatch) -> dict[str, Doubles]:
    """Numbers below ``score`` by label: the last element of each column's path."""
    return {_canonical(parse_path(name)[-1]): column for name, column in _columns_below(rows).items()}


def _canonical(element: str) -> str:
    """A column's last element as a label's JSON text: JSON as it is, anything else is a plain text label."""
    try:
        return orjson.dumps(orjson.loads(element)).decode()
    except orjson.JSONDecodeError:
        return orjson.dumps(element).decode()


def _columns_below(rows: RowBatch) -> dict[str, Doubles]:
    """Numeric columns below ``score`` by name; NaN where a row lacks one."""
    out: dict[str, Doubles] = {}
    for piece in pieces_of(rows.under(_SCORE)):
        if isinstance(piece, AtomPiece):
            if piece.name:
                out[piece.name] = piece.values.numbers
        elif isinstance(piece, BlockPiece):
            out |= {name: np.asarray(piece.numbers[:, at], np.float64) for at, name in enumerate(piece.names)}
        else:
            _add_cells(out, piece, rows.length)
    return out


def _add_cells(out: dict[str, Doubles], piece: CellsPiece, length: int) -> None:
    for column, name in enumerate(piece.names):
        mine = piece.columns == column
        numbers = out.setdefault(name, np.full(length, np.nan)) if name else np.zeros(length)
        numbers[piece.rows[mine]] = piece.values.numbers[mine]


def _join(parts: Sequence[tuple[int, dict[str, Doubles]]]) -> tuple[tuple[str, ...], Doubles]:
    """The columns of all batches side by side, labels sorted."""
    names = sorted({name for _, columns in parts for name in columns})
    blocks = [
        np.stack([columns.get(name, np.full(length, np.nan)) for name in names], axis=1)
        for length, columns in parts
        if names
    ]
    return tuple(names), np.concatenate(blocks) if blocks else np.zeros((0, len(names)))


# ── output ───────────────────────────────────────────────────────────────────────────────────────────────────────


def boolean_rows(found: ScoredRows, thresholds: Thresholds, labels: NDArray[np.bool_], unique: bool) -> ColumnsResult:
    """A row for each tested row, by falling score; ``unique``: one for each distinct score, the last."""
    group, order = thresholds.group, thresholds.order
    if unique:
        last = np.flatnonzero(np.append(group[1:] != group[:-1], True))
        group, order = group[last], order[last]
    columns: dict[Path, Any] = {
        ("index",): group + 1,
        ("label",): labels[order].astype(np.int64),
        ("score",): found.scores[order, 0],
        ("weight",): found.weights[order],
    }
    columns |= {(name,): values[group] for name, values in thresholds.columns().items()}
    return ColumnsResult(found.rows.take(pa.array(order)), columns)


def regression_rows(found: ScoredRows) -> ColumnsResult:
    label = _column_of(found.labels, found.codes)
    return ColumnsResult(found.rows, {_SCORE: found.scores[:, 0], ("label",): label, ("weight",): found.weights})


def categorical_rows(found: ScoredRows, best: NDArray[np.int64]) -> ColumnsResult:
    """Scores of each label, the predicted label and the right one."""
    columns: dict[Path, Any] = {
        ("score", _element(name)): pa.array(found.scores[:, at], from_pandas=True)
        for at, name in enumerate(found.names)
    }
    columns[("maxLabel",)] = _column_of([label_atom(name) for name in found.names], best)
    columns[("label",)] = _column_of([label_atom(text) for text in found.labels], found.codes)
    columns[("weight",)] = found.weights
    return ColumnsResult(found.rows, columns)


def multilabel_rows(found: ScoredRows) -> Iterator[Recorded]:
    """Scores of each label, and the right labels."""
    scores = [(("score", _element(name)), found.scores[:, at].tolist()) for at, name in enumerate(found.names)]
    labels = found.label_list()
    for at, row in enumerate(found.rows.to_pylist()):
        cells: list[tuple[Path, Atom]] = [(path, column[at]) for path, column in scores if not np.isnan(column[at])]
        cells += [(("label", str(number)), label_atom(label)) for number, label in enumerate(labels[at])]
        cells.append((("weight",), float(found.weights[at])))
        yield parse_path(row), [(path, value, NEVER) for path, value in cells]


def _column_of(atoms: Sequence[Atom], codes: NDArray[np.int64]) -> NDArray[Any] | pa.Array:
    """A column that has one of some atoms in each row."""
    if all(isinstance(atom, str) for atom in atoms):
        return pa.array(atoms, pa.string()).take(pa.array(codes))
    whole = all(isinstance(atom, int) and abs(atom) < 1 << 63 for atom in atoms)
    if whole or all(isinstance(atom, float) for atom in atoms):
        return np.array(atoms, np.int64 if whole else np.float64)[codes]
    return any_array([atoms[code] for code in codes.tolist()])


def _element(name: str) -> str:
    """The column name of a label's score: the label itself, texts without their quotes."""
    label = label_atom(name)
    return label if isinstance(label, str) else name
