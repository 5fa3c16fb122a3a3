"""Types are found where the list says, and are loaded when they are wanted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module

import pytest

from server.builtin_types import BUILTIN_TYPES
from server.declarations import EntityKind
from server.entities.types import TypeRegistry
from tests.project.sources import ROOT, modules

STANDALONE = {"server.entities.plugins"}  # its types need the plugin host


def declaring_modules() -> set[str]:
    """Modules of the server that have a list ``TYPES`` of declarations."""
    found = set()
    for name in modules():
        if name.startswith("server.") and not name.endswith("__main__") and name not in STANDALONE:
            types = getattr(import_module(name), "TYPES", None)
            if isinstance(types, list):
                found.add(name)
    return found


def test_list_of_types_is_what_modules_declare():
    """A new type is added to ``server/builtin_types.py``."""
    declared: dict[str, dict[str, str]] = {}
    for name in declaring_modules():
        for item in import_module(name).TYPES:
            declared.setdefault(item.kind, {})[item.name] = name
    assert declared == BUILTIN_TYPES


def test_all_types_load():
    registry = TypeRegistry()
    registry.announce(BUILTIN_TYPES)
    for kind, names in BUILTIN_TYPES.items():
        assert registry.names(kind) == sorted(names)
        for name in names:
            assert registry.get(kind, name).name == name
        assert registry.names(kind) == sorted(names)


def test_wrong_list_is_an_error():
    wrong: Mapping[EntityKind, Mapping[str, str]] = {"dataset": {"tabula": "server.datasets.tabular"}}
    registry = TypeRegistry()
    registry.announce(wrong)
    with pytest.raises(ValueError, match=r"server\.datasets\.tabular does not declare dataset type tabula"):
        registry.get("dataset", "tabula")


def test_start_loads_neither_types_nor_engine():
    """What a fresh server imports: code of types, learning and SQL comes with its first use."""
    code = "import sys, server.app; print(*[name for name in sys.modules if name.startswith('server.')])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    names = set(loaded.stdout.split())
    listed = {module for of_kind in BUILTIN_TYPES.values() for module in of_kind.values()} - {
        "server.entities.procedures"
    }
    assert not names & listed
    assert not [name for name in names if name.startswith(("server.sql.functions", "server.sql.binder"))]
