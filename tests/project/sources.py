"""The project's own source files as syntax trees: what the structure tests look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("server", "runtime")


@dataclass(frozen=True)
class Module:
    """A module of ours: dotted name, file and syntax tree."""

    name: str
    file: Path
    tree: ast.Module

    @property
    def lines(self) -> int:
        return len(self.file.read_text().splitlines())


@cache
def modules() -> dict[str, Module]:
    """Every module of the packages, by dotted name."""
    found = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, file, ast.parse(file.read_text(), str(file)))
    return found


def imports(module: Module) -> set[str]:
    """Our modules that this one imports when it runs; what stands under ``TYPE_CHECKING`` does not count."""
    return {name for statement in _import_statements(module.tree) for name in _targets(module, statement)}


def deferred_imports(module: Module) -> set[str]:
    """Those of ``imports`` that stand inside functions only."""
    top = [node for node in module.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return imports(module) - {name for statement in top for name in _targets(module, statement)}


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _import_statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _import_statements(other)
        else:
            yield from _import_statements(child)


def _targets(module: Module, statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    else:
        base = _absolute(module, statement)
        names = [f"{base}.{alias.name}" for alias in statement.names]
    for name in names:
        yield from _ours(name)


def _absolute(module: Module, statement: ast.ImportFrom) -> str:
    if not statement.level:
        return statement.module or ""
    package = module.name.split(".")
    up = statement.level - (module.file.name == "__init__.py")
    parts = package[: len(package) - up]
    return ".".join([*parts, statement.module] if statement.module else parts)


def _ours(name: str) -> Iterator[str]:
    """The longest prefix of a dotted name that is a module of ours."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if (found := ".".join(parts[:end])) in modules():
            yield found
            return
