"""Libraries that only some installations have: imported when they are needed, with an error that names the extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from server.errors import MldbError


def remedy(name: str) -> str:
    """How the extra of this name comes into the environment of a checkout; mldb is in no package index."""
    return f"uv sync --inexact --extra {name} (or pip install '.[{name}]') in the folder of the sources"


def missing(what: str, name: str) -> MldbError:
    """The error for what needs an extra that is not there."""
    return MldbError(f"{what} needs the extra '{name}': {remedy(name)}")


def extra(module: str, name: str, what: str) -> Any:
    """The module of a library that the extra ``name`` installs; ``MldbError`` when it is not there."""
    try:
        return import_module(module)
    except ImportError:
        raise missing(what, name) from None
