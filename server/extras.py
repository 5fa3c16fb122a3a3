"""Libraries that only some installations have: what is said where one is missing."""

from __future__ import annotations

from server.errors import MldbError


def remedy(name: str) -> str:
    """How the extra of this name comes into the environment of a checkout; mldb is in no package index."""
    return f"uv sync --inexact --extra {name} (or pip install '.[{name}]') in the folder of the sources"


def missing(what: str, name: str) -> MldbError:
    """The error for what needs an extra that is not there."""
    return MldbError(f"{what} needs the extra '{name}': {remedy(name)}")
