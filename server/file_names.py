"""Names of files: bytes to the system, which may be no text that an answer or a URL can hold."""

from __future__ import annotations

from pathlib import Path


def is_text(name: str) -> bool:
    """Whether a name that the system gave is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def names_in(folder: Path) -> list[str]:
    """The names of what lies in a folder, sorted, those left out that are no text. ``OSError`` as of ``iterdir``."""
    return sorted(filter(is_text, (each.name for each in folder.iterdir())))
