"""Libraries that only some installations have: imported when they are needed, with an error that names the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from server.extras import missing


def extra(module: str, name: str, what: str) -> Any:
    """The module of a library that the extra ``name`` installs; ``MldbError`` when it is not there."""
    try:
        return import_module(module)
    except ImportError:
        raise missing(what, name) from None
