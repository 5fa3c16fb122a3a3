"""Parameter models as MLDB's type descriptions (rest-api.md §12): kinds ATOM, INTEGER, FLOAT, BOOLEAN, STRING, ENUM,
OPTIONAL, ARRAY, STRUCTURE, TUPLE, VARIANT, MAP, ANY."""

from __future__ import annotations

import types
from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from server.declarations import EntityType, TypeName
from server.entities.types import PLURALS, TypeRegistry
from server.http.mldb_names import structure_name

_PLAIN: dict[Any, tuple[str, str]] = {
    bool: ("BOOLEAN", "bool"),
    int: ("INTEGER", "int"),
    float: ("FLOAT", "double"),
    str: ("STRING", "string"),
    type(None): ("ATOM", "null"),
}
_ORIGINS = {list: "ARRAY", tuple: "TUPLE", dict: "MAP", set: "ARRAY", frozenset: "ARRAY"}


def describe_type_params(declared: EntityType) -> dict[str, Any]:
    """The structure of a type's parameters, by MLDB's name for it."""
    return describe_params(declared.params, structure_name(declared))


def describe_params(model: type[BaseModel], name: str | None = None) -> dict[str, Any]:
    """A structure with its fields: name, comment, default and type."""
    return {
        "kind": "STRUCTURE",
        "typeName": f"MLDB::{name or model.__name__}",
        "fields": [_field(name, info) for name, info in model.model_fields.items()],
    }


def _field(name: str, info: FieldInfo) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": info.alias or name,
        "comment": info.description or "",
        "type": _named(describe_type(info.annotation), info.metadata),
    }
    if not info.is_required():
        shown["default"] = _plain(info.get_default(call_default_factory=True, validated_data={}))
    return shown


def _named(described: dict[str, Any], metadata: Iterable[Any]) -> dict[str, Any]:
    name = next((each.name for each in metadata if isinstance(each, TypeName)), None)
    return described if name is None else described | {"typeName": name}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def describe_type(annotation: Any) -> dict[str, Any]:
    """The description of a field's type."""
    if annotation in _PLAIN:
        kind, name = _PLAIN[annotation]
        return {"kind": kind, "typeName": name}
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _named(describe_type(inner[0]), inner[1:])
    if origin is Literal:
        return {"kind": "ENUM", "typeName": "enum", "values": [str(value) for value in inner]}
    if origin in (Union, types.UnionType):
        return _union(inner)
    if origin in _ORIGINS:
        names = [describe_type(arg) for arg in inner if arg is not Ellipsis]
        return {"kind": _ORIGINS[origin], "typeName": origin.__name__, "inner": names}
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        values = [str(member.value) for member in annotation]
        return {"kind": "ENUM", "typeName": annotation.__name__, "values": values}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return describe_params(annotation)
    return {"kind": "ANY", "typeName": getattr(annotation, "__name__", "any")}


def _union(members: tuple[Any, ...]) -> dict[str, Any]:
    others = [member for member in members if member is not type(None)]
    if len(others) == 1:
        inner = describe_type(others[0])
        return {"kind": "OPTIONAL", "typeName": f"optional<{inner['typeName']}>", "inner": [inner]}
    return {"kind": "VARIANT", "typeName": "variant", "inner": [describe_type(member) for member in others]}


def type_info(registry: TypeRegistry, name: str) -> dict[str, Any] | None:
    """The description of a declared parameter type by its name, with or without ``MLDB::``; None for others."""
    bare = name.removeprefix("MLDB::")
    for kind in PLURALS:
        for declared in (registry.get(kind, one) for one in registry.names(kind)):
            if structure_name(declared) == bare:
                return describe_type_params(declared)
    return None
