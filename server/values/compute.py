"""``pyarrow.compute``, loaded at its first use: a server that only listens has no need of its 7 MB."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(import_module("pyarrow.compute"), name)
