"""Writes the pages that come from declarations: ``docs/reference/*.md``, the settings table of the README, the map
of modules.

``make docs`` runs it; a test compares what it would write with what is there.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pydantic import BaseModel  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402
from pydantic_core import PydanticUndefined  # noqa: E402

from server.builtin_types import BUILTIN_TYPES  # noqa: E402
from server.declarations import EntityType  # noqa: E402
from server.http.docpages import site  # noqa: E402
from server.learning.config import builtin_configurations  # noqa: E402
from server.learning.configurations import TYPES, Learner  # noqa: E402
from server.settings import rows  # noqa: E402
from server.sql.notes import Note  # noqa: E402
from server.sql.reference import reference  # noqa: E402

KINDS = {"dataset": "Datasets", "procedure": "Procedures", "function": "Functions", "plugin": "Plugins"}


def main() -> None:
    for file, text in pages().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    for name, content in site():
        target = ROOT / "build" / "site" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def pages() -> dict[Path, str]:
    """Every generated file and the text that it should have."""
    readme, architecture = ROOT / "README.md", ROOT / "docs" / "architecture.md"
    return {
        ROOT / "docs" / "reference" / "types.md": types_page(),
        ROOT / "docs" / "reference" / "functions.md": functions_page(),
        ROOT / "docs" / "reference" / "learners.md": learners_page(),
        readme: _between_marks(readme.read_text(), "settings", settings_table()),
        architecture: _between_marks(architecture.read_text(), "modules", module_map()),
    }


def _between_marks(page: str, name: str, text: str) -> str:
    """The page with the text between ``<!-- name -->`` and ``<!-- /name -->``."""
    start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, _, rest = page.partition(start)
    return before + start + text + end + rest.partition(end)[2]


def declared() -> list[EntityType]:
    """The types that the server registers, by kind and name."""
    modules = {module for names in BUILTIN_TYPES.values() for module in names.values()}
    found = [item for module in modules for item in importlib.import_module(module).TYPES]
    return sorted(found, key=lambda item: (item.kind, item.name))


def types_page() -> str:
    """One page: the kinds, their types, the parameters of each."""
    known = declared()
    parts = [
        "# Types",
        "Made from the declarations by `make docs`; `GET /v1/types/<kind>s/<type>/info` tells the same. "
        "A parameter without a default is required.",
    ]
    for kind, title in KINDS.items():
        members = [item for item in known if item.kind == kind]
        if members:
            parts += [f"## {title}", ", ".join(f"[{item.name}](#{_anchor(item)})" for item in members)]
            parts += [part for item in members for part in _type(item)]
    return "\n\n".join(parts) + "\n"


def learners_page() -> str:
    """What ``configuration`` of a classifier may hold: types of learners, and configurations that have names."""
    parts = [
        "# Learners",
        "What the `configuration` of `classifier.train` and `classifier.experiment` may say: an object with a `type` "
        "and the members below. `weak_learner` holds another such object. `algorithm` is the dotted path of the object "
        "that is meant, where a configuration holds several; without a configuration it names one of the built-in "
        "ones. Members whose names begin with `_` are notes; numbers and booleans may be texts.",
        "Every learner takes `verbosity`, `profile` and `validate`, which have no effect.",
    ]
    common = Learner.model_fields.keys()
    for name, learner in TYPES.items():
        fields = {key: info for key, info in learner.model_fields.items() if key not in common}
        parts += [f"## {name}", *filter(None, [learner.__doc__]), _parameters(fields)]
    parts += ["## Built-in configurations", "\n".join(["| name | configuration |", "|---|---|", *_built_in()])]
    return "\n\n".join(parts) + "\n"


def _built_in() -> Iterator[str]:
    for name, configuration in builtin_configurations().items():
        yield f"| `{name}` | `{json.dumps(configuration)}` |"


def _anchor(item: EntityType) -> str:
    return f"{item.kind}-{item.name}".lower().replace(".", "")


def _type(item: EntityType) -> Iterator[str]:
    yield f"### {item.kind} {item.name}"
    yield item.summary
    if item.doc.strip():
        yield item.doc.strip()
    yield _parameters(item.params.model_fields)


def _parameters(fields: Mapping[str, FieldInfo]) -> str:
    lines = [_parameter(info.alias or name, info) for name, info in fields.items()]
    if not lines:
        return "No parameters."
    return "\n".join(["| parameter | type | default | meaning |", "|---|---|---|---|", *lines])


def _parameter(name: str, info: FieldInfo) -> str:
    meaning = (info.description or "").replace("\n", " ").replace("|", "\\|")
    return f"| `{name}` | {_type_name(info.annotation)} | {_default(info)} | {meaning} |"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
    return f"`{_json(value)}`".replace("|", "\\|")


def _json(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'.replace("\n", "\\n")
    return str(value)


def _type_name(annotation: Any) -> str:
    """An annotation in the words of JSON."""
    plain = {bool: "boolean", int: "integer", float: "number", str: "text", type(None): "null", Any: "any"}
    if annotation in plain:
        return plain[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_name(member) for member in inner if member is not type(None))
    if origin in (list, tuple, set, frozenset):
        return f"array of {_type_name(inner[0])}" if inner else "array"
    if origin is dict or annotation is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "object"
    return "any"


def functions_page() -> str:
    """One page: the functions of SQL by family, each with types, NULL rule, and an example with its result."""
    parts = [
        "# Functions",
        "Made from the declarations by `make docs`; every example is run by a test. A row as a result is shown as an "
        "object, an embedding as an array; of an example that is a query, the result is its column `x`.",
        "Types: an `atom` is a `number`, `integer`, `boolean` (1 or 0), `text`, `timestamp`, `interval`, `blob`, "
        "`path` or NULL. `any` is an atom, a `row` or an `embedding`; of a row or an embedding, functions of atoms "
        "with `the form of x` as their result take each element. An embedding or a row that is NULL has no columns.",
    ]
    for title, notes in reference():
        head = ["| function | meaning | NULL | example |", "|---|---|---|---|"]
        parts += [f"## {title}", "\n".join([*head, *map(_function, notes)])]
    return "\n\n".join(parts) + "\n"


def _function(note: Note) -> str:
    text, shown = note.null
    null = text if shown is None else f"{text}: {_example(shown)}"
    cells = (f"`{note.signature}`", note.summary, null, "" if note.example is None else _example(note.example))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _example(example: tuple[str, str]) -> str:
    return f"`{example[0]}` = `{example[1]}`"


def settings_table() -> str:
    """Flag, variable, default and help of each setting."""
    lines = ["| flag | variable | default | meaning |", "|---|---|---|---|"]
    for row in rows():
        meaning = row.help + (" (may be repeated)" if row.repeat else "")
        lines.append(f"| `{row.flag}` | `{row.variable}` | {_setting_default(row.default)} | {meaning} |")
    return "\n".join(lines)


def _setting_default(default: Any) -> str:
    if default in ("", None) or default == []:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def module_map() -> str:
    """Every module with the first sentence of its docstring, a table per package."""
    parts = []
    for folder in sorted({file.parent for name in ("server", "runtime") for file in (ROOT / name).rglob("*.py")}):
        summaries = [(file.stem, _summary(file)) for file in sorted(folder.glob("*.py"))]
        lines = [f"| `{name}` | {text} |" for name, text in summaries if text and name != "__init__"]
        if lines:
            parts.append("\n".join([f"| `{folder.relative_to(ROOT)}/` | |", "|---|---|", *lines]))
    return "\n\n".join(parts)


def _summary(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    first = re.split(r"(?<=[.])\s", " ".join(text.partition("\n\n")[0].split()), maxsplit=1)[0]
    plain = re.sub(r" \([\w-]+\.md[^)]*\)", "", first)
    return plain.rstrip(".:").replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    main()
