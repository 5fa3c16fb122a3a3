"""Builtin functions: one module per family, each with ``BUILTINS``, and where needed ``ROUTINES`` and ``MACROS``.

What a family computes in plain Python stands beside it, in a module that knows no SQL, where it is more than a few
lines: ``strings`` and ``patterns``, ``tokens`` and ``tokenizer``, ``jsonvalues`` and ``jsontext``, ``scripts`` and
``jseval``, ``moments`` and ``dates``, ``places`` and ``geo``, ``vectorarithmetic`` and ``vectors``, ``media`` and
``filetypes``, ``numeric`` and ``numbers``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from types import ModuleType

import duckdb

from server.sql.functions import (
    across,
    arithmetic,
    attempts,
    complexnumbers,
    conversions,
    core,
    jsonvalues,
    markup,
    media,
    moments,
    numeric,
    pathnames,
    places,
    scripts,
    shapes,
    strings,
    temporal,
    tensors,
    tokens,
    valuetypes,
    vectorarithmetic,
)
from server.sql.functions.registry import Builtin
from server.sql.routines import Routine, install

# Titles of the reference, each with the modules of its functions.
_FAMILIES: dict[str, tuple[ModuleType, ...]] = {
    "Numbers": (numeric,),
    "Values and types": (valuetypes,),
    "Errors as values": (attempts,),
    "JavaScript": (scripts,),
    "Strings": (strings,),
    "Tokens": (tokens,),
    "HTML": (markup,),
    "JSON": (jsonvalues,),
    "Paths": (pathnames,),
    "Time": (moments,),
    "Vectors and embeddings": (vectorarithmetic, shapes, complexnumbers),
    "Over the columns of a row": (across,),
    "Over the values of a cell": (temporal,),
    "Places": (places,),
    "Files and pictures": (media,),
    "TensorFlow": (tensors,),
}
_MODULES = (conversions, arithmetic, core, *chain(*_FAMILIES.values()))

BUILTINS: dict[str, Builtin] = {one.name: one for module in _MODULES for one in getattr(module, "BUILTINS", ())}
ROUTINES: list[Routine] = [one for module in _MODULES for one in getattr(module, "ROUTINES", ())]
MACROS: list[str] = [getattr(module, "MACROS", "") for module in _MODULES]


def families() -> Iterator[tuple[str, list[Builtin]]]:
    """The families with functions to document: a title, and the functions."""
    for title, modules in _FAMILIES.items():
        yield title, [one for module in modules for one in module.BUILTINS]


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Define everything that compiled queries call."""
    install(connection, ROUTINES, MACROS)
    attempts.define(connection)
