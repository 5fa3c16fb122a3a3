"""Parameters that training procedures share, and what is checked and done about them (entity-types.md §1.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from server.declarations import Services
from server.errors import MldbError
from server.learning.config import builtin_configurations
from server.procedures.validators import ClauseName, checked_query
from server.sql.tree import Select
from server.transfer.schemes import split_scheme


def no_model_url(type_name: str) -> str:
    """The error of a training that is to make a function of a model that it does not save."""
    return f"{type_name} requires a valid modelFileUrl when specifying a functionName. modelFileUrl '' is invalid."


def check_model_url(services: Services, type_name: str, url: str | None, function: str | None) -> None:
    """``MldbError`` when the model could not be saved, or the function not be made of it."""
    if function:
        services.check_id("function", function)
    if not url:
        if function:
            raise MldbError(no_model_url(type_name))
        return
    try:
        split_scheme(url)
    except MldbError as error:
        raise MldbError(f"The 'modelFileUrl' parameter '{url}' is not valid. {error.message}") from None
    services.urls.check_writable(url, "modelFileUrl")


def checked_training(services: Services, type_name: str, params: Any, *refused: ClauseName) -> Select | None:
    """What can be told of a training before any row is read; the tree of its query, None when there is none yet.

    ``refused``: clauses that the query may not have.
    """
    check_model_url(services, type_name, params.modelFileUrl, params.functionName)
    if params.trainingData is None:
        return None
    return checked_query(services, params.trainingData, type_name, *refused)


def write_model(services: Services, url: str | None, data: bytes, what: str) -> None:
    """Write a model file; ``MldbError`` saying what could not be saved where."""
    if not url:
        return
    try:
        with services.urls.open_write(url) as stream:
            stream.write(data)
    except (MldbError, OSError) as error:
        raise MldbError(f"Error saving {what} to '{url}': {error}") from None


def create_function(services: Services, name: str | None, type_name: str, url: str | None) -> None:
    """Create (overwrite) the function that applies a model."""
    if name:
        services.create("function", {"id": name, "type": type_name, "params": {"modelFileUrl": url}})


def configuration_of(
    services: Services, configuration: Mapping[str, Any] | None, file: str | None
) -> Mapping[str, Any]:
    """The inline configuration, else the file's, else the built-in ones."""
    if configuration is not None:
        return configuration
    if not file:
        return builtin_configurations()
    try:
        loaded = orjson.loads(services.urls.read(file).content)
    except orjson.JSONDecodeError as error:
        raise MldbError(f"The configuration file '{file}' is not JSON: {error}") from None
    if not isinstance(loaded, dict):
        raise MldbError(f"The configuration file '{file}' must hold a JSON object")
    return loaded
