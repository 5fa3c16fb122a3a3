"""Builtin functions: one module per family, each with ``BUILTINS``, and where needed ``ROUTINES`` and ``MACROS``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    tensors,
    tokens,
    valuetypes,
)
from server.sql.functions.registry import Builtin
from server.sql.routines import Routine, install

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
    tensors,
)

TITLES = {
    "numeric": "Numbers",
    "valuetypes": "Values and types",
    "attempts": "Errors as values",
    "scripts": "JavaScript",
    "strings": "Strings",
    "tokens": "Tokens",
    "markup": "HTML",
    "jsonvalues": "JSON",
    "pathnames": "Paths",
    "moments": "Time",
    "embeddings": "Vectors and embeddings",
    "across": "Over the columns of a row",
    "temporal": "Over the values of a cell",
    "places": "Places",
    "media": "Files and pictures",
    "tensors": "TensorFlow",
}

BUILTINS: dict[str, Builtin] = {one.name: one for family in _FAMILIES for one in family.BUILTINS}
ROUTINES: list[Routine] = [one for family in _FAMILIES for one in getattr(family, "ROUTINES", ())]
MACROS: list[str] = [getattr(family, "MACROS", "") for family in _FAMILIES]


def families() -> Iterator[tuple[str, list[Builtin]]]:
    """The families with functions to document: a title, and the functions."""
    for family in _FAMILIES:
        if family is not core:
            yield TITLES[family.__name__.rpartition(".")[2]], family.BUILTINS


DEFINITIONS: list[Callable[[duckdb.DuckDBPyConnection], None]] = [attempts.define]


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Define everything that compiled queries call."""
    install(connection, ROUTINES, MACROS)
    for definition in DEFINITIONS:
        definition(connection)
