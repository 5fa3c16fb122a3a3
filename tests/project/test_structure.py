"""The architecture is what the imports say: one way down, no cycles, small modules."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.project.sources import ROOT, Module, deferred_imports, imports, modules

# Lower ranks know nothing of higher ones. Packages of one rank may know each other as long as no cycle arises.
LAYERS: Mapping[str, int] = {
    "server.errors": 0,
    "server.durable": 0,
    "server.file_names": 0,
    "server.collector": 0,
    "server.extras": 1,
    "server.values": 1,
    "server.settings": 1,
    "server.shutdown": 1,
    "server.start_script": 7,
    "server.declarations": 2,
    "server.messages": 2,
    "server.logs": 2,
    "server.tracing": 2,
    "server.tasks": 2,
    "server.templating": 1,
    "server.storage": 3,
    "server.sql": 4,
    "server.datasets": 4,
    "server.transfer": 4,
    "server.learning": 4,
    "server.procedures": 4,
    "server.bridges": 4,
    "server.entities": 5,
    "server.http": 6,
    "server.builtin_types": 7,
    "server.app": 7,
    "server.serve": 8,
    "server.cli": 9,
    "server.__main__": 10,
}
HOSTS_OF_WORKERS = ("server.entities", "server.learning.model_worker", "server.app", "server.serve", "server.cli")
TOP_LEVEL = {
    "benchmarks", "docs", "mldb_data", "plugins", "runtime", "server", "static", "tests",
    "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile", "LICENSE", "Makefile", "README.md",
    "docker-compose.yml", "pyproject.toml", "uv.lock",
}  # fmt: skip
# A grammar is recursive: an expression holds a SELECT or a call, whose arguments are expressions. Among the modules
# of these packages, and nowhere else, a function may import what cannot be had at the top of the module.
RECURSIVE = ("server.sql.binder", "server.sql.functions")
MAX_MODULE_LINES = 750
MAX_FUNCTION_LINES = 70


def layer(name: str) -> int | None:
    """Rank of the nearest enclosing entry; None for the package ``server`` itself, which holds the version only."""
    parts = name.split(".")
    prefixes = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((LAYERS[prefix] for prefix in prefixes if prefix in LAYERS), None)


def test_every_module_has_a_layer():
    stray = [name for name in modules() if name.startswith("server.") and layer(name) is None]
    assert not stray, "give it a place in LAYERS, and in docs/architecture.md"


def test_imports_go_down():
    wrong = [
        f"{name} imports {target}"
        for name, module in modules().items()
        for target in imports(module)
        if (here := layer(name)) is not None and (there := layer(target)) is not None and there > here
    ]
    assert not wrong


def test_runtime_stands_alone():
    wrong = [
        f"{name} imports {target}"
        for name, module in modules().items()
        for target in imports(module)
        if name.startswith("runtime") and target.startswith("server")
    ]
    assert not wrong


def test_only_the_host_of_workers_knows_the_runtime():
    wrong = [
        f"{name} imports {target}"
        for name, module in modules().items()
        for target in imports(module)
        if name.startswith("server") and target.startswith("runtime") and not name.startswith(HOSTS_OF_WORKERS)
    ]
    assert not wrong


def test_no_import_cycle():
    graph = {name: needed(module) - {name} for name, module in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail("import cycle: " + " → ".join(cycle.args[1]))


def needed(module: Module) -> set[str]:
    """What a module imports, but for the recursion that its package may have."""
    if not module.name.startswith(RECURSIVE):
        return imports(module)
    return imports(module) - {name for name in deferred_imports(module) if name.startswith(RECURSIVE)}


def test_modules_stay_small():
    large = {name: module.lines for name, module in modules().items() if module.lines > MAX_MODULE_LINES}
    assert not large


def test_top_level_is_clean():
    """A reader sees the architecture from the folders: nothing lies about at the top."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    visible = {line.partition("/")[0] for line in listed.stdout.splitlines() if not line.startswith(".")}
    assert visible <= TOP_LEVEL


def test_importing_the_declarations_loads_no_heavy_library():
    """Types are declared beside code that uses large libraries; those are imported when they are used.

    But for the module that loads some of them on purpose, in the fork server of jobs.
    """
    heavy = ("tensorflow", "sklearn", "lightgbm", "py_mini_racer", "scipy", "openTSNE", "hnswlib", "faiss")
    code = f"""
import importlib, sys
for name in {sorted(name for name in modules() if not name.endswith(("__main__", ".preloaded")))!r}:
    importlib.import_module(name)
print(*[name for name in {heavy!r} if name in sys.modules])
"""
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_commands_start_at_once():
    """What the command line does before it knows the command, at each Tab too, loads nothing that a server needs."""
    of_servers = ("numpy", "pydantic", "starlette", "uvicorn", "duckdb", "httpx", "asyncio")
    code = f"import sys, server.cli; print(*[name for name in {of_servers!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
