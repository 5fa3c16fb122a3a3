"""script.run, script.apply and experimental.external.procedure: scripts in procedures and functions.

See plugin-runtime.md §11. The first two run through the script runner's route, as everybody's scripts do: each run in
a worker of its own.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any, Final, Literal

from pydantic import Field

from server.declarations import (
    BoundFunction,
    Creation,
    EntityType,
    Params,
    PerformResult,
    ProcedureParams,
    Progress,
    RunResult,
    Services,
    StatelessProcedure,
)
from server.errors import MldbError
from server.procedures.script_config import ScriptConfig
from server.settings import environment_of_others
from server.transfer.results import rows_of
from server.values.atoms import atom_from_json, atom_to_json, timestamp_from_json, timestamp_text
from server.values.batches import ANY_ROW, RowBatch, RowType, rows_of_any_columns
from server.values.cells import Cell, cells_array
from server.values.paths import format_path

_PROJECT: Final = str(FilePath(__file__).resolve().parents[2])
_MAIN: Final = {"python": "main.py", "javascript": "main.js"}
_CHUNK: Final = 1 << 20  # bytes


def check_language(language: str) -> None:
    if language not in _MAIN:
        raise MldbError(f"scripts in '{language}' cannot be run; the language is {' or '.join(map(repr, _MAIN))}")


def _run_script(services: Services, language: str, config: dict[str, Any]) -> PerformResult:
    check_language(language)
    return services.perform("POST", f"/v1/types/plugins/{language}/routes/run", payload=config)


# ── script.run ──


class ScriptRunParams(ProcedureParams):
    """Parameters of script.run."""

    language: str = Field("python", description="Language of the script: python or javascript")
    scriptConfig: ScriptConfig = Field(description="The script")
    args: Any = Field(None, description="Arguments that take the place of the script's own")


class ScriptRun(StatelessProcedure):
    """A script that raises does not fail the run: its exception is in the details."""

    def check(self, params: ScriptRunParams) -> None:
        check_language(params.language)

    def run(self, params: ScriptRunParams, progress: Progress) -> RunResult:
        progress.step("running")
        config = params.scriptConfig.model_dump(exclude_defaults=True)
        if params.args is not None:
            config["args"] = params.args
        answer = _run_script(self.services, params.language, config)
        output = json.loads(answer.body)
        if "error" in output:
            raise MldbError(str(output["error"]), code=answer.status)
        details: dict[str, Any] = {"statusCode": answer.status, "contentType": answer.content_type}
        if answer.headers:
            details["headers"] = [list(pair) for pair in answer.headers]
        return RunResult(output.get("result"), dict(sorted((details | output).items())))


# ── script.apply ──


class ScriptApplyParams(Params):
    """Parameters of script.apply."""

    language: str = Field("python", description="Language of the script: python or javascript")
    scriptConfig: ScriptConfig = Field(description="The script; it returns a list of [column, value, time]")


class ScriptApply:
    """The function entity. The script is fetched once, and run once for every row."""

    input = ANY_ROW
    output = rows_of_any_columns("return")
    timestamps = True

    def __init__(self, services: Services, params: ScriptApplyParams) -> None:
        self._services = services
        self._language = params.language
        config = params.scriptConfig
        self._source = config.source or _fetched(services, config.address, params.language)

    def bind(self, _given: RowType) -> BoundFunction:
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        results = cells_array([self._call(row) for row in rows_of(batch.under(("args",)))])
        return RowBatch(self.output, batch.length, [], [], results)

    def _call(self, row: Sequence[Cell]) -> list[Cell]:
        """Run the script for one row of arguments."""
        latest = max((cell.timestamp for cell in row), default=float("-inf"))
        columns = [[format_path(cell.path), [atom_to_json(cell.value), timestamp_text(cell.timestamp)]] for cell in row]
        columns.sort(key=lambda column: str(column[0]).encode("utf-8", "surrogatepass"))
        config = {"source": self._source, "args": [columns, timestamp_text(latest)]}
        answer = _run_script(self._services, self._language, config)
        output = json.loads(answer.body)
        if answer.status != 200:
            raise MldbError("responseCode != 200 for function", details=output)
        return _returned_cells(output.get("result"))


def _returned_cells(result: Any) -> list[Cell]:
    if not isinstance(result, list):
        raise MldbError("Function should return array of arrays.")
    cells = []
    for element in result:
        if not isinstance(element, list):
            raise MldbError("Function should return array of arrays.")
        if len(element) != 3:
            raise MldbError("elem should be array of size 3")
        name, value, time = element
        cells.append(Cell(("return", str(name)), atom_from_json(value), timestamp_from_json(time)))
    return cells


def _fetched(services: Services, address: str, language: str) -> str:
    main = _MAIN.get(language, "main.py")
    url = address if address.endswith(FilePath(main).suffix) else f"{address.rstrip('/')}/{main}"
    return services.urls.read(url).content.decode("utf-8", "replace")


# ── experimental.external.procedure ──


class ExternalParams(ProcedureParams):
    """Parameters of experimental.external.procedure."""

    scriptConfig: ScriptConfig = Field(description="The script")
    stdInData: str = Field("", description="What the script reads from its standard input")


class External(StatelessProcedure):
    """A Python process of its own, outside of the server's interfaces."""

    def run(self, params: ExternalParams, progress: Progress) -> RunResult:
        progress.step("running")
        config = params.scriptConfig
        source = config.source or _fetched(self.services, config.address, "python")
        with tempfile.TemporaryDirectory(prefix="external-", dir=self.services.settings.scratch) as folder:
            script = FilePath(folder, "main.py")
            script.write_text(source, encoding="utf-8")
            return RunResult(_external(script, params.stdInData, self.services.settings.read_size, progress))


def _external(script: FilePath, given: str, most: int, progress: Progress) -> dict[str, Any]:
    """``most``: MiB that it may write to its standard output, and to that of errors."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-u", str(script)]
    tied = f"import sys; sys.path.insert(0, {_PROJECT!r}); from runtime.linux import become"
    process = subprocess.Popen(  # noqa: S603 - our own interpreter on a script that the caller wants run
        [sys.executable, "-P", "-c", f"{tied}; become({command!r}, {os.getpid()})"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=environment_of_others(),
    )
    progress.on_cancel(lambda: _kill(process.pid))
    with process, ThreadPoolExecutor(3, "external") as threads:
        streams = [threads.submit(_read, stream, most, process.pid) for stream in (process.stdout, process.stderr)]
        threads.submit(_feed, process.stdin, given.encode("utf-8", "replace"))
        stdout, stderr = (stream.result() for stream in streams)
    progress.check()
    status: dict[str, Any] = {"stderr": stderr.decode("utf-8", "replace")}
    text = stdout.decode("utf-8", "replace").removesuffix("\n")
    rest, _, last = text.rpartition("\n")
    try:
        status["return"] = json.loads(last)
        text = rest
    except ValueError:
        pass  # the last line is output like the others
    status["stdout"] = text
    status["runResult"] = _run_result(process.returncode, before)
    return status


def _feed(stream: Any, content: bytes) -> None:
    with suppress(BrokenPipeError), stream:  # it need not read all of it
        stream.write(content)


def _read(stream: Any, most: int, group: int) -> bytes:
    content = bytearray()
    while chunk := stream.read1(_CHUNK):
        content += chunk
        if len(content) > most << 20:
            _kill(group)
            raise MldbError(
                f"the script wrote more than {most} MiB, the most that the setting read-size allows: use a file"
            )
    return bytes(content)


def _run_result(code: int, before: resource.struct_rusage) -> dict[str, Any]:
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    usage = {"utime": after.ru_utime - before.ru_utime, "stime": after.ru_stime - before.ru_stime}
    state: Literal["RETURNED", "SIGNALED"] = "RETURNED" if code >= 0 else "SIGNALED"
    return {"state": state, "returnCode" if code >= 0 else "signum": abs(code), "usage": usage}


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _create_apply(creation: Creation) -> ScriptApply:
    check_language(creation.params.language)
    return ScriptApply(creation.services, creation.params)


TYPES = [
    EntityType(
        kind="procedure",
        name="script.run",
        params=ScriptRunParams,
        summary="Run a script",
        create=ScriptRun.create,
        doc="The run's status is what the script returned; its output and exception are in the details.",
    ),
    EntityType(
        kind="function",
        name="script.apply",
        params=ScriptApplyParams,
        summary="Run a script on rows",
        create=_create_apply,
        doc="Takes `args`, a row, and gives `return`, a row of the `[column, value, time]` that the script returns.",
    ),
    EntityType(
        kind="procedure",
        name="experimental.external.procedure",
        params=ExternalParams,
        summary="Run a Python process of its own",
        create=External.create,
        doc="A last line of output that is JSON becomes `return`. An exit code other than 0 does not fail the run.",
    ),
]
