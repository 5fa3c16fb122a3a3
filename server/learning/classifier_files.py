"""Classifier files of either format: our own, and MLDB's binary ``.cls``."""

from __future__ import annotations

from server.learning.archive import is_archive
from server.learning.classifier import Classifier
from server.learning.cls_file import read_cls


def read_classifier(data: bytes, limit: int) -> Classifier:
    """``MldbError`` for what is neither format, or unpacks to more than ``limit`` bytes."""
    return Classifier.from_bytes(data, limit) if is_archive(data) else read_cls(data)
