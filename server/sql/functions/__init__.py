"""Builtin functions: one module per family, each with ``BUILTINS``, and where needed ``ROUTINES`` and ``MACROS``."""

from __future__ import annotations

from types import ModuleType

from server.sql.functions import core, numeric
from server.sql.functions.registry import Builtin
from server.sql.runtime import Routine

_FAMILIES: tuple[ModuleType, ...] = (core, numeric)

BUILTINS: dict[str, Builtin] = {one.name: one for family in _FAMILIES for one in family.BUILTINS}
ROUTINES: list[Routine] = [one for family in _FAMILIES for one in getattr(family, "ROUTINES", ())]
MACROS: list[str] = [getattr(family, "MACROS", "") for family in _FAMILIES]
