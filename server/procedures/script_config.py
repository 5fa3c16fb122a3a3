"""What a script is, as the script runner, ``script.run`` and ``script.apply`` take it (plugin-runtime.md §7)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from server.declarations import Params


class ScriptConfig(Params):
    """The script to run."""

    address: str = Field("", description="File, folder, page or repository that holds the script")
    source: str = Field("", description="The script itself, instead of an address")
    args: Any = Field(None, description="Any JSON; the script reads it as mldb.script.args, in JavaScript args")
    writeSourceToFile: bool = Field(False, description="Run the source from a temporary file")
