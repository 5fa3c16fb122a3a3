"""How good a classifier is, as a table: what ``classifier.test`` and ``classifier.experiment`` measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a report shows of each mode's statistics, in the words of the console, with the path of the number.
_MEASURES = {
    "area under the ROC curve": ("auc",),
    "best F1 score": ("bestF1Score", "pr", "f1Score"),
    "… its precision": ("bestF1Score", "pr", "precision"),
    "… its recall": ("bestF1Score", "pr", "recall"),
    "… its accuracy": ("bestF1Score", "pr", "accuracy"),
    "… from this score on": ("bestF1Score", "threshold"),
    "best Matthews correlation": ("bestMcc", "mcc"),
    "accuracy, weighted": ("weightedStatistics", "accuracy"),
    "precision, weighted": ("weightedStatistics", "precision"),
    "recall, weighted": ("weightedStatistics", "recall"),
    "F1 score, weighted": ("weightedStatistics", "f1Score"),
    "R²": ("r2",),
    "mean squared error": ("mse",),
}
_SPREAD = ("mean", "std", "min", "max")


def measures(status: Any) -> list[dict[str, Any]]:
    """Rows of ``measure`` and ``value``, or over several folds its ``_SPREAD``; [] of other runs."""
    if not isinstance(status, Mapping):
        return []
    folds = status.get("folds")
    if not isinstance(folds, list) or not folds:
        return _values(status)
    if len(folds) == 1:
        return _values(folds[0].get("resultsTest"))
    found = ((name, _at(status.get("aggregatedTest"), path)) for name, path in _MEASURES.items())
    return [
        {"measure": name, **{each: _rounded(spread.get(each)) for each in _SPREAD}}
        for name, spread in found
        if isinstance(spread, Mapping)
    ]


def functions(status: Any) -> list[str]:
    """The functions that an experiment left behind, one for each fold."""
    folds = status.get("folds") if isinstance(status, Mapping) else None
    return [fold["functionName"] for fold in folds or () if fold.get("functionName")]


def _values(statistics: Any) -> list[dict[str, Any]]:
    found = ((name, _at(statistics, path)) for name, path in _MEASURES.items())
    return [{"measure": name, "value": _rounded(value)} for name, value in found if isinstance(value, int | float)]


def _at(statistics: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        statistics = statistics.get(part) if isinstance(statistics, Mapping) else None
    return statistics


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
