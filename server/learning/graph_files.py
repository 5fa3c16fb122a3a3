"""The copies of TensorFlow graphs below the data root: each is there for as long as a function runs it.

A graph is kept under the hash of its content, and functions of equal graphs share it. Graphs that the server makes of
single operations are not kept over a restart: they lie with its temporary files.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from server.settings import Settings

NAME: Final = "file"  # of what a function stores: the name of its graph's file

_users: Counter[Path] = Counter()
_lock = threading.Lock()


def graph_folder(settings: Settings) -> Path:
    return settings.data_dir.resolve() / "models" / "graphs"


def operation_folder(settings: Settings) -> Path:
    return settings.scratch / "graphs"


def hold(file: Path) -> None:
    """One more function runs the graph."""
    with _lock:
        _users[file] += 1


def release(file: Path) -> None:
    """A function that ran the graph is gone for good; with the last one the file goes."""
    with _lock:
        _users[file] -= 1
        if _users[file] <= 0:
            del _users[file]
            file.unlink(missing_ok=True)


def drop_orphans(settings: Settings, stored: Iterable[Any]) -> None:
    """Remove what functions left that are no more. ``stored``: what each of those that are there has stored."""
    names = {each[NAME] for each in stored if each and NAME in each}
    for file in graph_folder(settings).glob("*"):
        if file.name not in names and file.is_file():
            file.unlink(missing_ok=True)
