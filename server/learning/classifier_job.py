"""The job of training a classifier: from a file of rows to a file of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from server.learning import boosting
from server.learning.classifier import train_classifier
from server.learning.config import resolve
from server.learning.row_files import read_rows
from server.learning.training_job import Report, TrainingFiles, throttled
from server.learning.training_set import TrainingSet, read_training_set


def train(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Train a classifier.

    ``arguments``: ``folder`` (see ``TrainingFiles``), ``texts`` (features that are texts in rows not trained on),
    ``mode``, ``strategy``, ``equalization``, ``configuration``, ``algorithm``, ``origin``, ``weights`` (that boosting
    may have). The result tells how large the training was, and how many labels there were to tell apart.
    """
    boosting.MOST_WEIGHTS = arguments["weights"]
    learner = resolve(arguments["configuration"], arguments["algorithm"])
    files = TrainingFiles(Path(arguments["folder"]))
    batches = read_rows(files.rows, throttled("reading", report))
    table = read_training_set(batches, arguments["mode"], arguments["texts"])
    classifier = train_classifier(
        table,
        learner,
        equalization=arguments["equalization"],
        strategy=arguments["strategy"],
        tick=throttled("training", report),
        origin=arguments["origin"],
    )
    files.model.write_bytes(classifier.to_bytes())
    return {"rows": len(table.weights), "features": len(table.space), "labels": labels_present(table)}


def labels_present(table: TrainingSet) -> int | None:
    """How many labels some row has that weighs something; None in regression."""
    if table.mode == "regression":
        return None
    counted = table.targets[table.weights > 0]
    return int(counted.any(axis=0).sum()) if counted.ndim > 1 else len(np.unique(counted))
