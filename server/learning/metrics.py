"""How good scores are: the statistics of ``classifier.test`` (entity-types.md §3.12). Nothing here knows the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError

Doubles = NDArray[np.float64]


def ratio(above: Any, below: Any) -> Any:
    """Division in which x / 0 is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    return np.divide(above, below, out=np.zeros(above.shape), where=below != 0)


# ── boolean ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Thresholds:
    """Counts (weighted) at each distinct score taken as threshold, from high to low.

    ``group`` is the number of the threshold of each row, in the order of ``order`` (rows by falling score).
    """

    order: NDArray[np.int64]
    group: NDArray[np.int64]
    scores: Doubles
    true_positives: Doubles
    false_positives: Doubles
    positives: float
    negatives: float
    included: Doubles

    @staticmethod
    def scan(scores: Doubles, labels: NDArray[np.bool_], weights: Doubles) -> Thresholds:
        """``MldbError`` for a NaN score."""
        if np.isnan(scores).any():
            raise MldbError("Classifier returned a NaN score")
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        first = np.concatenate([[True], ranked[1:] != ranked[:-1]])
        last = np.flatnonzero(np.concatenate([first[1:], [True]]))
        positive = np.cumsum(np.where(labels, weights, 0)[order])
        negative = np.cumsum(np.where(labels, 0, weights)[order])
        return Thresholds(
            order, np.cumsum(first) - 1, ranked[last], positive[last], negative[last],
            float(positive[-1]), float(negative[-1]), positive[last] + negative[last],
        )  # fmt: skip

    def columns(self) -> dict[str, Doubles]:
        """The counts and rates of each threshold, as output rows name them."""
        tp, fp = self.true_positives, self.false_positives
        fn, tn = self.positives - tp, self.negatives - fp
        return {
            "truePositives": tp,
            "falsePositives": fp,
            "trueNegatives": tn,
            "falseNegatives": fn,
            "accuracy": ratio(tp + tn, tp + tn + fp + fn),
            "precision": ratio(tp, tp + fp),
            "recall": ratio(tp, tp + fn),
            "truePositiveRate": ratio(tp, tp + fn),
            "falsePositiveRate": ratio(fp, fp + tn),
        }


def boolean_statistics(found: Thresholds) -> dict[str, Any]:
    """Area under the ROC curve, and the thresholds of best F1 score and of best Matthews correlation."""
    columns = found.columns()
    true_rate = np.concatenate([[0.0], columns["truePositiveRate"]])
    false_rate = np.concatenate([[0.0], columns["falsePositiveRate"]])
    auc = float((np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2).sum())
    precision, recall = columns["precision"], columns["recall"]
    f1 = ratio(2 * precision * recall, precision + recall)
    tp, fp, tn, fn = (columns[f"{sign}{kind}"] for sign, kind in _COUNTS)
    mcc = ratio(tp * tn - fp * fn, np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
    points = {"f1Score": f1, "mcc": mcc} | columns
    return {
        "auc": auc,
        "bestF1Score": _point(found, points, int(f1.argmax())),
        "bestMcc": _point(found, points, int(mcc.argmax())),
    }


_COUNTS = (("true", "Positives"), ("false", "Positives"), ("true", "Negatives"), ("false", "Negatives"))


def _point(found: Thresholds, columns: dict[str, Doubles], at: int) -> dict[str, Any]:
    """All that is known at one threshold."""
    included = float(found.included[at])
    population = found.positives + found.negatives
    share = float(ratio(columns["truePositives"][at], found.positives))
    rates = ("accuracy", "precision", "recall", "f1Score")
    counts = ("truePositives", "falsePositives", "trueNegatives", "falseNegatives")
    return {
        "population": {"included": included, "excluded": population - included},
        "pr": {name: float(columns[name][at]) for name in rates},
        "mcc": float(columns["mcc"][at]),
        "gain": float(ratio(share, ratio(included, population))),
        "counts": {name: float(columns[name][at]) for name in counts},
        "threshold": float(found.scores[at]),
    }


# ── regression ───────────────────────────────────────────────────────────────────────────────────────────────────


def regression_statistics(scores: Doubles, labels: Doubles, weights: Doubles) -> dict[str, Any]:
    """Mean squared error, r2 and quantiles of the relative error; sums in row order, scores not finite left out."""
    kept = np.isfinite(scores)
    score, label, weight = scores[kept], labels[kept], weights[kept]
    squares = _sum(weight * (score - label) ** 2)
    total = _sum(weight)
    mean = float(ratio(_sum(weight * label), total))
    spread = _sum(weight * (label - mean) ** 2)
    r2 = 1.0 if squares == 0 else 0.0 if spread == 0 else 1 - squares / spread
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.sort(np.abs((score - label) / label))
    quantiles = {
        text: float(errors[int((len(errors) - 1) * float(text))]) if len(errors) else 0.0
        for text in ("0.25", "0.5", "0.75", "0.9")
    }
    return {"mse": float(ratio(squares, total)), "r2": r2, "quantileErrors": quantiles}


def _sum(values: Doubles) -> float:
    """The sum from the first to the last: clients compare the digits of such plain sums."""
    return float(np.cumsum(values)[-1]) if len(values) else 0.0


# ── categorical and multilabel ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class LabelledScores:
    """Scores [row, label] of named labels (their JSON texts, sorted); NaN where a row has no score for a label."""

    labels: tuple[str, ...]
    scores: Doubles


def tied_shares(scores: Doubles, of: NDArray[np.int64], top: int) -> Doubles:
    """How far a label of each row is among the ``top`` highest scores: 1, 0, or a share where a tie straddles."""
    own = scores[np.arange(len(scores)), of][:, None]
    above = (scores > own).sum(axis=1)
    tied = (scores == own).sum(axis=1)
    return np.where(np.isnan(own[:, 0]), 0.0, np.clip(ratio(top - above, tied), 0, 1))


def categorical_statistics(
    found: LabelledScores, actual: Sequence[str], weights: Doubles, decode: Any, recall_over: Sequence[int] = ()
) -> dict[str, Any]:
    """Per label, over all (weighted by support), and the confusion matrix.

    ``actual`` are the right labels' JSON texts, ``decode`` gives the JSON value of one. ``MldbError`` when no
    predicted label is among the right ones.
    """
    names = sorted(set(actual) | set(found.labels))
    place = {name: number for number, name in enumerate(names)}
    right = np.array([place[name] for name in actual], np.int64)
    predicted = np.array([place[name] for name in found.labels], np.int64)[best_labels(found.scores)]
    confusion = np.zeros((len(names), len(names)))
    np.add.at(confusion, (right, predicted), weights)
    shown = sorted(set(right.tolist()))
    recalls = [_top_shares(found, actual, top) for top in recall_over]
    per_label = {names[at]: _label_statistics(confusion, at) for at in shown}
    for at in shown if recall_over else ():
        mine = right == at
        per_label[names[at]]["recallOverTopN"] = [
            float(ratio(_sum((s * weights)[mine]), _sum(weights[mine]))) for s in recalls
        ]
    weighted = _weighted(list(per_label.values()), len(recall_over))
    _refuse_unknown_predictions(weighted, names, right, predicted)
    statistics: dict[str, Any] = {
        "labelStatistics": {_shown_label(decode(name)): values for name, values in per_label.items()},
        "weightedStatistics": weighted,
        "confusionMatrix": [
            {"predicted": decode(names[b]), "actual": decode(names[a]), "count": float(confusion[a, b])}
            for a, b in np.argwhere(confusion > 0).tolist()
        ],
    }
    return statistics | ({"recallOverN": list(recall_over)} if recall_over else {})


def best_labels(scores: Doubles) -> NDArray[np.int64]:
    """The label of the highest score in each row; of equal ones the first."""
    if not scores.shape[1]:
        raise MldbError("The scores hold no label")
    return np.asarray(np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1))


def _shown_label(value: Any) -> str:
    return value if isinstance(value, str) else _json_text(value)


def _json_text(value: Any) -> str:
    import orjson

    return orjson.dumps(value).decode()


def _label_statistics(confusion: Doubles, at: int) -> dict[str, Any]:
    total = confusion.sum()
    hits, support, claimed = confusion[at, at], confusion[at].sum(), confusion[:, at].sum()
    precision, recall = float(ratio(hits, claimed)), float(ratio(hits, support))
    return {
        "accuracy": float(ratio(total - support - claimed + 2 * hits, total)),
        "precision": precision,
        "recall": recall,
        "f1Score": float(ratio(2 * precision * recall, precision + recall)),
        "support": float(support),
    }


def _weighted(parts: list[dict[str, Any]], tops: int) -> dict[str, Any]:
    """Means of the labels' statistics, weighted by support."""
    support = sum(part["support"] for part in parts)
    weighted: dict[str, Any] = {
        name: float(ratio(sum(part[name] * part["support"] for part in parts), support))
        for name in ("accuracy", "precision", "recall", "f1Score")
    }
    weighted["support"] = support
    if tops:
        weighted["recallOverTopN"] = [
            float(ratio(sum(part["recallOverTopN"][at] * part["support"] for part in parts), support))
            for at in range(tops)
        ]
    return weighted


def _refuse_unknown_predictions(
    weighted: dict[str, Any], names: Sequence[str], right: NDArray[Any], predicted: NDArray[Any]
) -> None:
    unknown = sorted(set(predicted.tolist()) - set(right.tolist()))
    if weighted["precision"] == 0 and unknown:
        listed = ", ".join(names[at] for at in unknown[:10])
        raise MldbError(
            f"Weighted precision is 0 and {len(unknown)} labels were predicted but not in true labels! "
            f"Are the labels of the same type in training and testing? Predicted: {listed}"
        )


def _top_shares(found: LabelledScores, actual: Sequence[str], top: int) -> Doubles:
    place = {name: number for number, name in enumerate(found.labels)}
    of = np.array([place.get(name, -1) for name in actual], np.int64)
    return np.where(of >= 0, tied_shares(found.scores, np.maximum(of, 0), top), 0.0)


def multilabel_statistics(
    found: LabelledScores, actual: Sequence[Sequence[str]], weights: Doubles, decode: Any, recall_over: Sequence[int]
) -> dict[str, Any]:
    """Recall among the top scores per label and over all, and coverage error; ``actual`` lists each row's labels."""
    rows = np.repeat(np.arange(len(actual)), [len(row) for row in actual])
    names = [name for row in actual for name in row]
    pairs = LabelledScores(found.labels, found.scores[rows])
    weight = weights[rows]
    shares = [_top_shares(pairs, names, top) for top in recall_over]
    per_label = {}
    for name in sorted(set(names)):
        mine = np.array([each == name for each in names], np.bool_)
        tops = [float(ratio(_sum((share * weight)[mine]), _sum(weight[mine]))) for share in shares]
        per_label[_shown_label(decode(name))] = {"recallOverTopN": tops}
    overall = [float(ratio(_sum(share * weight), _sum(weight))) for share in shares]
    return {
        "labelStatistics": per_label,
        "weightedStatistics": {"recallOverTopN": overall, "coverageError": _coverage(pairs, names, rows, weights)},
        "recallOverN": list(recall_over),
    }


def _coverage(pairs: LabelledScores, names: Sequence[str], rows: NDArray[np.int64], weights: Doubles) -> float:
    """How far down the ranking one must go to meet all labels of a row, on average over pairs of row and label."""
    place = {name: number for number, name in enumerate(pairs.labels)}
    of = np.array([place.get(name, -1) for name in names], np.int64)
    own = pairs.scores[np.arange(len(of)), np.maximum(of, 0)][:, None]
    above, tied = (pairs.scores > own).sum(axis=1), (pairs.scores == own).sum(axis=1)
    # A tie is met at its middle; a label that was not scored at all comes last.
    rank = np.where((of >= 0) & (tied > 0), above + (tied - 1) / 2, pairs.scores.shape[1])
    furthest = np.zeros(len(weights))
    np.maximum.at(furthest, rows, 1 + rank)
    counts = np.bincount(rows, minlength=len(weights))
    return float(ratio(_sum(furthest * weights * counts), _sum(weights[rows])))
