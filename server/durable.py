"""Files that are there for good: their content and their name are on the disk, whatever happens to the machine."""

from __future__ import annotations

import os
from pathlib import Path


def replace(draft: Path, target: Path) -> None:
    """Give a finished file its place, in the same folder; all of it is on the disk when this returns."""
    _sync(draft)
    draft.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
