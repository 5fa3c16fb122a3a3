"""The type registry: every declared ``EntityType``, and how its parameters are checked."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from server.declarations import EntityKind, EntityType, Params
from server.errors import MldbError

PLURALS: dict[EntityKind, str] = {
    "dataset": "datasets",
    "procedure": "procedures",
    "function": "functions",
    "plugin": "plugins",
}
# MLDB's types that cannot be had here or were gone before its last release, and what to use instead.
_GONE = {
    "text.csv.tabular": ": read the file with a procedure of type 'import.text', whose 'outputDataset' is the dataset",
    "text.line": ": read the file with a procedure of type 'import.text', 'delimiter': '' and 'headers': ['lineText']",
    "experimental.statsTable.train": "; did you mean 'statsTable.train'?",
    "experimental.statsTable.getCounts": "; did you mean 'statsTable.getCounts'?",
    "experimental.feature_generator.hashed_column": "; did you mean 'feature_hasher'?",
    "sharedLibrary": ": compiled plugins of MLDB cannot be loaded; write it as 'python', or as a server of its own in "
    "any language ('experimental.external')",
    "experimental.docker": ": containers are not started here; start it yourself, or as 'experimental.external'",
}
KINDS: dict[str, EntityKind] = {plural: kind for kind, plural in PLURALS.items()}


class TypeRegistry:
    """Types by kind and name. The core's own types come in through ``announce``, all others through ``register``."""

    def __init__(self) -> None:
        self._types: dict[EntityKind, dict[str, EntityType]] = {kind: {} for kind in PLURALS}
        self._modules: dict[EntityKind, dict[str, str]] = {kind: {} for kind in PLURALS}  # announced, not yet loaded
        self._loading = threading.RLock()

    def announce(self, modules: Mapping[EntityKind, Mapping[str, str]]) -> None:
        """Types by kind and name with the module to import for them when one is wanted."""
        for kind, names in modules.items():
            self._modules[kind].update(names)

    def register(self, types: Iterable[EntityType]) -> None:
        """Raises ValueError when a declaration is unusable, naming it."""
        for declared in types:
            if declared.kind not in get_args(EntityKind):
                raise ValueError(f"type {declared.name}: unknown kind {declared.kind!r}")
            if not (isinstance(declared.params, type) and issubclass(declared.params, Params)):
                raise ValueError(f"type {declared.name}: params must be a subclass of Params")
            if declared.name in self._types[declared.kind]:
                raise ValueError(f"{declared.kind} type {declared.name} is declared twice")
            self._types[declared.kind][declared.name] = declared

    def find(self, kind: EntityKind, name: str) -> EntityType | None:
        if name in self._modules[kind]:
            self._load(kind, name)
        return self._types[kind].get(name)

    def _load(self, kind: EntityKind, name: str) -> None:
        """Register all types of the module that declares this one."""
        with self._loading:
            module = self._modules[kind].get(name)
            if module is None:
                return  # another thread was first
            self.register(import_module(module).TYPES)
            if name not in self._types[kind]:
                raise ValueError(f"{module} does not declare {kind} type {name}")
            for names in self._modules.values():
                for loaded in [each for each, source in names.items() if source == module]:
                    del names[loaded]

    def get(self, kind: EntityKind, name: str) -> EntityType:
        """``MldbError`` with MLDB's text for an unknown type."""
        found = self.find(kind, name)
        if found is None:
            raise MldbError(f"couldn't find type '{name}' in registry{_GONE.get(name) or self._hint(kind, name)}")
        return found

    def _hint(self, kind: EntityKind, name: str) -> str:
        """What may have been meant by an unknown type: one of another kind, or one whose name is near; else ""."""
        for other in PLURALS:
            if other != kind and name in self.names(other):
                return f": it is a type of {PLURALS[other]}, not of {PLURALS[kind]}"
        nearest = nearest_name(name, self.names(kind), 0.6)
        return f"; did you mean '{nearest}'?" if nearest else ""

    def names(self, kind: EntityKind) -> list[str]:
        with self._loading:
            return sorted(self._types[kind].keys() | self._modules[kind].keys())


def validate(declared: EntityType, params: Any) -> Params:
    """The parameter model's instance; ``MldbError`` naming a wrong member and, if it is unknown, the nearest name.

    ``details`` of the error: ``field``, the dotted path of that member, and ``type``.
    """
    given = {} if params is None else params
    if not isinstance(given, Mapping):
        raise MldbError(f"the params of {declared.kind} type '{declared.name}' must be an object")
    try:
        return declared.params.model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # A name that is written wrong is missing under its right one too.
        problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
        details = {"type": declared.name, "field": _where(problem)}
        raise MldbError(_error_text(declared, problem), details=details) from None


def _where(problem: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _error_text(declared: EntityType, problem: Mapping[str, Any]) -> str:
    where = _where(problem)
    title = f"{declared.name} configuration"
    match problem["type"]:
        case "extra_forbidden":
            nearest = nearest_name(str(problem["loc"][-1]), _fields_at(declared.params, problem["loc"][:-1]))
            hint = f"; did you mean '{nearest}'?" if nearest else ""
            return f"unknown field parsing {title}: '{where}'{hint}"
        case "missing":
            return f"error parsing {title}: the field '{where}' is required"
        case "value_error":
            return f"error parsing {title}: field '{where}': {problem['ctx']['error']}"
        case _:
            return f"error parsing {title}: field '{where}': {problem['msg']}"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Known member names of the (nested) model that a location points into; [] when it is no model."""
    current: Any = model
    for part in location:
        info = current.model_fields.get(part) if isinstance(part, str) else None
        if info is None:
            continue
        inner = [arg for arg in (info.annotation, *get_args(info.annotation)) if isinstance(arg, type)]
        current = next((arg for arg in inner if issubclass(arg, BaseModel)), None)
        if current is None:
            return []
    return [info.alias or name for name, info in current.model_fields.items()]


def nearest_name(name: str, known: Iterable[str], likeness: float = 0.5) -> str | None:
    """The known name that is most like this one, case aside; None when none is as like as ``likeness`` (0 to 1)."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), by_lower, 1, likeness)
    return by_lower[found[0]] if found else None
