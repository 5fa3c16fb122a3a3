"""Reading scores, labels and weights of tested rows, and writing the scored rows (entity-types.md §3.12)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from server.declarations import NamedBatch, Recorded
from server.learning.columns import AtomPiece, BlockPiece, CellsPiece, pieces_of
from server.learning.metrics import Doubles, LabelledScores, Thresholds
from server.learning.training_set import Mode, label_atom, label_text, labels_of, multilabels_of, weights_of
from server.values.atoms import NEVER, Atom
from server.values.batches import RowBatch
from server.values.paths import Path, parse_path

_SCORE = ("score",)


@dataclass
class ScoredRows:
    """Rows of a testing query. ``scores`` is one column, or one per label (their JSON texts in ``names``)."""

    rows: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    scores: Doubles = field(default_factory=lambda: np.zeros((0, 1)))
    names: tuple[str, ...] = ()
    weights: Doubles = field(default_factory=lambda: np.zeros(0))

    @property
    def labelled(self) -> LabelledScores:
        return LabelledScores(self.names, self.scores)


def read_scored(batches: Iterable[NamedBatch], mode: Mode) -> ScoredRows:
    """All rows that have a label."""
    found = ScoredRows()
    parts: list[tuple[int, dict[str, Doubles]]] = []
    weights: list[Doubles] = []
    for batch in batches:
        labels = multilabels_of(batch.rows) if mode == "multilabel" else labels_of(batch.rows)
        keep = np.array([bool(label) if mode == "multilabel" else label is not None for label in labels], np.bool_)
        kept = np.flatnonzero(keep)
        found.rows += (
            batch.names.take(pa.array(kept)).to_pylist() if len(kept) < len(labels) else batch.names.to_pylist()
        )
        found.labels += [labels[at] for at in kept.tolist()]
        weights.append(weights_of(batch.rows)[kept])
        scores = _label_scores(batch.rows) if mode in ("categorical", "multilabel") else _one_score(batch.rows)
        parts.append((len(kept), {name: column[kept] for name, column in scores.items()}))
    if mode in ("categorical", "multilabel"):
        found.labels = [_texts(label) for label in found.labels]
    found.names, found.scores = _join(parts)
    found.weights = np.concatenate(weights) if weights else np.zeros(0)
    return found


def _texts(label: Any) -> Any:
    return [label_text(name) for name in label] if isinstance(label, list) else label_text(label)


def _one_score(rows: RowBatch) -> dict[str, Doubles]:
    """The number ``score`` of each row, or the one number below it (the whole result of a function)."""
    given = labels_of(rows, "score")
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


def boolean_rows(
    found: ScoredRows, thresholds: Thresholds, labels: NDArray[np.bool_], unique: bool
) -> Iterator[Recorded]:
    """A row for each tested row, by falling score; ``unique``: one for each distinct score."""
    columns = {name: values.tolist() for name, values in thresholds.columns().items()}
    group = thresholds.group.tolist()
    for place, row in enumerate(thresholds.order.tolist()):
        if unique and place + 1 < len(group) and group[place + 1] == group[place]:
            continue
        cells: list[tuple[str, Atom]] = [
            ("index", group[place] + 1),
            ("label", int(labels[row])),
            ("score", float(found.scores[row, 0])),
            ("weight", float(found.weights[row])),
        ]
        cells += [(name, values[group[place]]) for name, values in columns.items()]
        yield _recorded(found.rows[row], ((name,) for name, _ in cells), (value for _, value in cells))


def regression_rows(found: ScoredRows) -> Iterator[Recorded]:
    for at, row in enumerate(found.rows):
        values = (float(found.scores[at, 0]), found.labels[at], float(found.weights[at]))
        yield _recorded(row, (("score",), ("label",), ("weight",)), values)


def labelled_rows(found: ScoredRows, best: NDArray[np.int64] | None) -> Iterator[Recorded]:
    """Scores of each label, the right label (or labels), and in categorical mode the predicted one."""
    scores = [(("score", _element(name)), found.scores[:, at].tolist()) for at, name in enumerate(found.names)]
    for at, row in enumerate(found.rows):
        cells: list[tuple[Path, Atom]] = [(path, column[at]) for path, column in scores if not np.isnan(column[at])]
        if best is not None:
            cells += [(("maxLabel",), label_atom(found.names[best[at]])), (("label",), label_atom(found.labels[at]))]
        else:
            cells += [(("label", str(n)), label_atom(label)) for n, label in enumerate(found.labels[at])]
        cells.append((("weight",), float(found.weights[at])))
        yield _recorded(row, (path for path, _ in cells), (value for _, value in cells))


def _element(name: str) -> str:
    """The column name of a label's score: the label itself, texts without their quotes."""
    label = label_atom(name)
    return label if isinstance(label, str) else name


def _recorded(row: str, paths: Iterable[Path], values: Iterable[Atom]) -> Recorded:
    return parse_path(row), [(path, value, NEVER) for path, value in zip(paths, values, strict=True)]
