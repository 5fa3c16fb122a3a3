"""Classifier files of either format: our own, and MLDB's binary ``.cls``."""

from __future__ import annotations

from server.errors import MldbError
from server.learning.archive import is_archive
from server.learning.classifier import Classifier
from server.learning.cls_file import read_cls
from server.learning.saved import model_content
from server.transfer.urls import Urls

_MAX_BYTES = 4 << 30  # a larger file is no classifier


def read_classifier(data: bytes) -> Classifier:
    """``MldbError`` for what is neither format."""
    return Classifier.from_bytes(data) if is_archive(data) else read_cls(data)


def load_classifier(urls: Urls, url: str) -> Classifier:
    """The classifier that a URL holds, decompressed by its extension; errors name the URL."""
    data = urls.read(url, limit=_MAX_BYTES).content
    try:
        with model_content():
            return read_classifier(data)
    except MldbError as error:
        raise MldbError(f"The model '{url}' cannot be read. {error.message}") from None
