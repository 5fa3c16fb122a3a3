"""Hidden folders beside the plugins, where one is put together before it shows, or taken apart once it is gone.

Whoever works in one holds the lock of a file there, and the lock ends with the process: so a server that starts can
tell what a kill left from the work of a command that is under way.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = ".new-"
_LOCK: Final = "lock"


@contextmanager
def draft(plugins: Path) -> Iterator[Path]:
    """A new folder on the disk of the plugins, which no server takes for one; what is in it at the end is removed."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=plugins))
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drop_orphans(plugins: Path) -> None:
    """Remove the drafts in which nobody works any more."""
    for folder in plugins.glob(f"{_PREFIX}*"):
        # Somebody works there, or it is gone by now, or another user's.
        with suppress(OSError), _locked(folder):
            shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """``BlockingIOError`` when another process works in the folder."""
    with (folder / _LOCK).open("w") as lock:  # a file: network file systems lock no folders
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
