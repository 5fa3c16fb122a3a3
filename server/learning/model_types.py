"""The types of model that files may hold, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from server.errors import MldbError
from server.learning.archive import REMEDY, Archive
from server.learning.examples import Model

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
        raise MldbError(f"The model file holds a classifier of unknown type '{state.get('type')}'")
    try:
        return kind.load(state, archive)
    except (KeyError, TypeError, ValueError) as error:
        raise MldbError(f"The model file is damaged: {error!r}. {REMEDY}") from None
