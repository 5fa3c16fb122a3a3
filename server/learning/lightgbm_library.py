"""LightGBM without what it only integrates with: its import then takes 0.2 s and 20 MB instead of 1.3 s and 130 MB.

LightGBM has no setting for it: as it is loaded it tries to import scikit-learn, pandas and others, and does without
those that are not installed. The fork server of jobs loads it once (``server.learning.preloaded``), so the price of
the whole would be paid by the first training after each start of a server, and by the memory of all that trained.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from typing import Any

_INTEGRATIONS = frozenset({"sklearn", "pandas", "matplotlib", "graphviz", "dask"})


class _NotInstalled:
    """Answers imports of the libraries that others integrate with as if they were not there."""

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if name in _INTEGRATIONS:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return None


@contextmanager
def without_integrations() -> Iterator[None]:
    """Imports within leave out what others only integrate with, unless it is loaded already."""
    finder = _NotInstalled()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@cache
def lightgbm() -> Any:
    """The module."""
    with without_integrations():
        import lightgbm as library
    return library
