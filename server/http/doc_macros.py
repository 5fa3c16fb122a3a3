"""The macros of Markdown pages that tell of the server's types, as ``![](%%config procedure transform)``
(plugin-runtime.md §6), expanded to Markdown."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any, Final
from urllib.parse import quote

from server.declarations import EntityKind, EntityType
from server.entities.types import KINDS, TypeRegistry
from server.http.describe import describe_type_params
from server.http.mldb_names import structure_name


def expand(types: TypeRegistry, name: str, arguments: str) -> str | None:
    """The Markdown of a macro; None for one that is not known."""
    expansion = _EXPANSIONS.get(name)
    return None if expansion is None else expansion(types, *arguments.split())


def parameters(declared: EntityType) -> str:
    """The parameters of a type as a table."""
    fields = describe_type_params(declared)["fields"]
    if not fields:
        return "No parameters."
    rows = [
        f"| `{field['name']}` | {field['type']['typeName']} | {_default(field)} | {_cell(field['comment'])} |"
        for field in fields
    ]
    return "\n".join(["| parameter | type | default | meaning |", "|---|---|---|---|", *rows])


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "required"
    return "" if field["default"] is None else f"`{_cell(field['default'])}`"


def _cell(value: Any) -> str:
    return escape(str(value), quote=False).replace("|", "\\|").replace("\n", " ")


def _page(kind: str, name: str) -> str:
    return f"/doc/builtin/{kind}s/{quote(name)}.md.html"


def _doclink(_: TypeRegistry, name: str = "", kind: str = "", *__: str) -> str:
    if not kind:
        return "Macro %%doclink needs 2 parameters"
    return f"[`{name}` {kind} type]({_page(kind, name)})" if f"{kind}s" in KINDS else f"`{name}` {kind} type"


def _config(types: TypeRegistry, kind: str = "", name: str = "", *_: str) -> str:
    if not name:
        return "Macro %%config needs 2 parameters"
    declared = _find(types, kind, name)
    if declared is None:
        return f"There is no {kind} type `{name}`."
    fields = describe_type_params(declared)["fields"]
    lines = ",\n".join(f'        "{field["name"]}": <{field["type"]["typeName"]}>' for field in fields)
    params = f',\n    "params": {{\n{lines}\n    }}' if fields else ""
    parts = [
        f"A new {kind} of type `{name}` named `<id>` can be created as follows:",
        f'```python\nmldb.put("/v1/{kind}s/"+<id>, {{\n    "type": "{name}"{params}\n}})\n```',
    ]
    if fields:
        parts += ["with the following key-value definitions for `params`:", parameters(declared)]
    return "\n\n".join(parts)


def _available(types: TypeRegistry, kind: str = "", form: str = "", *_: str) -> str:
    if not form:
        return "Macro %%availabletypes needs 2 parameters"
    known = KINDS.get(f"{kind}s")
    names = types.names(known) if known is not None else []
    if form == "list":
        return "\n".join([f"- [{name}]({_page(kind, name)})" for name in names]) + "\n"
    rows = [
        f"| `{name}` | {_cell(declared.summary)} | [doc]({_page(kind, name)}) |"
        for name in names
        if (declared := _find(types, kind, name)) is not None
    ]
    return "\n".join(["| Type | Description | Doc |", "|---|---|---|", *rows])


def _type(types: TypeRegistry, name: str = "", *_: str) -> str:
    bare = name.removeprefix("MLDB::")
    for kind in KINDS.values():
        for declared in (types.get(kind, one) for one in types.names(kind)):
            if structure_name(declared) == bare:
                return parameters(declared)
    return f"Type with name `{name}` not found"


def _notebook(_: TypeRegistry, *words: str) -> str:
    """MLDB's own notebooks are not here: the name alone."""
    return f"*{' '.join(words).rpartition('/')[2]}*"


def _find(types: TypeRegistry, kind: str, name: str) -> EntityType | None:
    known: EntityKind | None = KINDS.get(f"{kind}s")
    return types.find(known, name) if known is not None else None


_EXPANSIONS: Final[dict[str, Callable[..., str]]] = {
    "availabletypes": _available,
    "config": _config,
    "doclink": _doclink,
    "nblink": _notebook,
    "type": _type,
}
