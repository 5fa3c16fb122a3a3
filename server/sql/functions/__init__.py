"""Builtin functions: one module per family, each with ``BUILTINS``, and where needed ``ROUTINES`` and ``MACROS``."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import duckdb

from server.sql.functions import (
    across,
    attempts,
    core,
    embeddings,
    jsonvalues,
    markup,
    media,
    moments,
    numeric,
    pathnames,
    places,
    scripts,
    strings,
    temporal,
    tokens,
    valuetypes,
)
from server.sql.functions.registry import Builtin
from server.sql.runtime import Routine, install

_FAMILIES: tuple[ModuleType, ...] = (
    core,
    numeric,
    valuetypes,
    attempts,
    scripts,
    strings,
    tokens,
    markup,
    jsonvalues,
    pathnames,
    moments,
    embeddings,
    across,
    temporal,
    places,
    media,
)

BUILTINS: dict[str, Builtin] = {one.name: one for family in _FAMILIES for one in family.BUILTINS}
ROUTINES: list[Routine] = [one for family in _FAMILIES for one in getattr(family, "ROUTINES", ())]
MACROS: list[str] = [getattr(family, "MACROS", "") for family in _FAMILIES]
DEFINITIONS: list[Callable[[duckdb.DuckDBPyConnection], None]] = [attempts.define]


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Define everything that compiled queries call."""
    install(connection, ROUTINES, MACROS)
    for definition in DEFINITIONS:
        definition(connection)
