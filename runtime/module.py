"""The importable module ``mldb`` of a worker (plugin-runtime.md §9)."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from runtime import wrapper
from runtime.refusals import HTTPException
from runtime.shim import Mldb
from runtime.testing import MldbUnitTest


def install(raw: Mldb) -> None:
    """Make ``import mldb`` give the module of this worker's plugin or script."""
    module = ModuleType("mldb", "The server that runs this code.")
    members: dict[str, Any] = {
        "mldb": wrapper.WrappedMldb(raw),
        "mldb_wrapper": wrapper.mldb_wrapper,
        "MldbUnitTest": MldbUnitTest,
        "HTTPException": HTTPException,
        "MldbBaseException": wrapper.MldbBaseException,
        "ResponseException": wrapper.ResponseException,
        "TooManyRedirectsException": wrapper.TooManyRedirectsException,
        "TestSuiteFailureException": wrapper.TestSuiteFailureException,
        "Response": wrapper.Response,
        "StepsLogger": wrapper.StepsLogger,
        "find_mldb_environment": lambda: raw,
    }
    for name, member in members.items():
        setattr(module, name, member)
    module.__all__ = sorted(members)  # type: ignore[attr-defined]
    module.__path__ = []  # a package: MLDB's has the two classes in a module below it
    below = ModuleType("mldb.mldb_wrapper", module.__doc__)
    for name in ("mldb_wrapper", "MldbUnitTest"):
        setattr(below, name, members[name])
    sys.modules |= {"mldb": module, "mldb.mldb_wrapper": below}


def injected(raw: Mldb) -> dict[str, Any]:
    """The names that plugin and script code finds as globals."""
    return {"mldb": raw, "mldb_wrapper": wrapper.mldb_wrapper, "MldbUnitTest": MldbUnitTest}
