"""The folder of a new plugin: a page, a route and a function, ready to be edited."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from server.entities.plugin_drafts import draft

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

TYPES: Final = ("python", "javascript")
# A folder for each type, and `shared` for both: files in which `NAME` stands for the plugin's name.
_TEMPLATES: Final = Path(__file__).resolve().parents[2] / "static" / "new_plugin"


def create_plugin(plugins: Path, name: str, type: str = "python") -> Path:
    """Make ``plugins/name``; ValueError when name or type will not do, FileExistsError when the folder is there.

    The folder appears at once and complete: a server that watches sees no half of it.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} will not do: a plugin's name has letters, digits, - and _")
    if type not in TYPES:
        raise ValueError(f"{type!r} will not do: new plugins are of type {' or '.join(TYPES)}")
    folder = plugins / name
    if folder.exists():
        raise FileExistsError(f"{folder} is there already")
    plugins.mkdir(parents=True, exist_ok=True)
    with draft(plugins) as made:
        content = made / "content"
        for template in (_TEMPLATES / "shared", _TEMPLATES / type):
            for source in template.rglob("*.*"):
                if "__pycache__" not in source.parts:  # pip compiles whatever it installs
                    file = content / source.relative_to(template)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(source.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")
        content.rename(folder)
    return folder
