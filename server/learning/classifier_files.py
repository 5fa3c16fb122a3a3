"""Classifier files of either format: our own, and MLDB's binary ``.cls``."""

from __future__ import annotations

from server.declarations import Services
from server.errors import MldbError
from server.learning.archive import is_archive
from server.learning.classifier import Classifier
from server.learning.cls_file import read_cls
from server.learning.saved import model_content


def read_classifier(data: bytes, limit: int | None = None) -> Classifier:
    """``MldbError`` for what is neither format, or unpacks to more than ``limit`` bytes."""
    return Classifier.from_bytes(data, limit) if is_archive(data) else read_cls(data)


def load_classifier(services: Services, url: str) -> Classifier:
    """The classifier that a URL holds, decompressed by its extension; errors name the URL."""
    limit = services.settings.model_size << 20
    data = services.urls.read(url, limit=limit, setting="model_size").content
    try:
        with model_content():
            return read_classifier(data, limit)
    except MldbError as error:
        raise MldbError(f"The model '{url}' cannot be read. {error.message}") from None
