"""The types of model that files may hold, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from server.errors import MldbError
from server.learning.archive import Archive
from server.learning.examples import Model
from server.learning.saved import REMEDY

_TYPES: dict[str, type[Model]] = {}
Kind = TypeVar("Kind", bound=type[Any])


def model_type(kind: Kind) -> Kind:
    """Decorates a class of models: files name it by its ``type``."""
    _TYPES[kind.type] = kind
    return kind


def save_model(model: Model, archive: Archive) -> dict[str, Any]:
    """The JSON part of a model, its type included; arrays go into the archive."""
    return {"type": model.type} | model.save(archive)


def load_model(state: Mapping[str, Any], archive: Archive) -> Model:
    """A model from its saved form; ``MldbError`` when it is damaged or of an unknown type."""
    kind = _TYPES.get(str(state.get("type")))
    if kind is None:
        raise MldbError(f"The model file holds a classifier of unknown type '{state.get('type')}'. {REMEDY}")
    return kind.load(state, archive)
