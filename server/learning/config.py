"""The configuration language of classifiers: which object is meant, and what it says (entity-types.md §6.2)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import orjson
from pydantic import ValidationError

from server.errors import MldbError
from server.learning.configurations import TYPES, Bagging, Boosting, Learner, OneVsAll

_MAX_REDIRECTS = 32  # longer chains of names are circles


@cache
def builtin_configurations() -> dict[str, Any]:
    """The configurations that every server has (``classifiers.json``)."""
    data = resources.files("server.learning").joinpath("classifiers.json").read_bytes()
    loaded: dict[str, Any] = orjson.loads(data)
    return loaded


def resolve(configuration: Mapping[str, Any], algorithm: str = "") -> Learner:
    """The learner that ``algorithm`` (a dotted path, "" for the whole) names; ``MldbError`` for mistakes in it."""
    path, found = _find(configuration, algorithm)
    return _build(configuration, path, found)


def _find(root: Mapping[str, Any], path: str) -> tuple[str, Any]:
    """Follow a dotted path, and the names that it leads to."""
    for _ in range(_MAX_REDIRECTS):
        found = _descend(root, path)
        if not isinstance(found, str):
            return path, found
        path = found
    raise MldbError(f"The names in the classifier configuration lead in circles at '{path}'")


def _descend(root: Mapping[str, Any], path: str) -> Any:
    if path in root:
        return root[path]
    found: Any = root
    for key in path.split(".") if path else ():
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _build(root: Mapping[str, Any], path: str, found: Any) -> Learner:
    if not isinstance(found, Mapping) or "type" not in found:
        names = ", ".join(_names(root))
        remedy = "; algorithm says which is meant" if names and not path else ""
        raise MldbError(
            f'Object with name "{path}" has no type in configuration file. Names there are: {names or "none"}{remedy}'
        )
    kind = _type_of(str(found["type"]))
    members = {key: value for key, value in found.items() if not key.startswith("_")}
    _refuse_unknown(kind, members, path)
    try:
        learner = kind.model_validate(members)
    except ValidationError as error:
        raise MldbError(_invalid(error, path)) from None
    if isinstance(learner, Bagging | Boosting | OneVsAll):
        learner.weak_learner = _weak_learner(root, path, members.get("weak_learner"))
    return learner


def _names(root: Mapping[str, Any]) -> list[str]:
    """Members that may be learners."""
    return sorted(key for key, value in root.items() if isinstance(value, Mapping) and not key.startswith("_"))


def _type_of(name: str) -> type[Learner]:
    if name in TYPES:
        return TYPES[name]
    near = difflib.get_close_matches(name, TYPES, 1)
    hint = f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(sorted(TYPES))}"
    raise MldbError(f"Unknown classifier type '{name}'{hint}")


def _refuse_unknown(kind: type[Learner], members: Mapping[str, Any], path: str) -> None:
    known = {field.alias or name for name, field in kind.model_fields.items()}
    unknown = [_join(path, key) for key in members if key not in known]
    if unknown:
        known_keys = ", ".join(sorted(known - {"type"}))
        raise MldbError(
            f"Unknown key(s) encountered in config: {', '.join(unknown)}; '{members['type']}' takes {known_keys}"
        )


def _weak_learner(root: Mapping[str, Any], path: str, given: Any) -> Learner:
    if isinstance(given, str):
        return _build(root, *_find(root, given))
    return _build(root, _join(path, "weak_learner"), given)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _invalid(error: ValidationError, path: str) -> str:
    first = error.errors()[0]
    key = _join(path, ".".join(map(str, first["loc"])))
    why = first["ctx"]["error"] if first["type"] == "value_error" else first["msg"]
    return f"Invalid value for '{key}' in the classifier configuration: {why} (got {first['input']!r})"
