"""Running procedures: creating them, starting their runs, cancelling, keeping what has ended (rest-api.md §9)."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from server import tasks
from server.declarations import RunResult
from server.entities import inline, jsontext
from server.entities.entry import Ready, entity_status
from server.entities.progress import TaskProgress
from server.entities.registry import Registry
from server.entities.runs import Run, Runs
from server.entities.types import validate
from server.errors import Cancelled, Conflict, MldbError, from_defect

log = logging.getLogger("mldb.server")


_current: ContextVar[Run | None] = ContextVar("run", default=None)  # that this thread works for
_running: ContextVar[frozenset[str]] = ContextVar("running", default=frozenset())  # procedures whose runs it is within


def current_progress() -> TaskProgress | None:
    """The progress of the run that this thread works for, None outside of any."""
    run = _current.get()
    return None if run is None else run.progress


def refuse_within_itself(procedure: str) -> None:
    """``MldbError`` when a run of this procedure is under way further up in this thread."""
    if procedure in _running.get():
        raise MldbError("Procedure contains itself as a child")


class FirstRunFailed(MldbError):
    """Raised by a creation whose first run failed; the procedure itself stays."""

    def __init__(self, procedure: str, error: MldbError) -> None:
        details = {"entry": procedure, "runError": error.body()}
        super().__init__("failed to create the initial run", code=error.code, details=details)


class Runner:
    """Creates procedures and runs them. Runs live as long as the procedure they belong to, the last ``kept`` of it."""

    def __init__(self, registry: Registry, kept: int) -> None:
        self._registry = registry
        self._kept = kept
        self._closing = False
        self._lock = threading.Lock()

    def runs_of(self, procedure: str) -> Runs:
        return self.of(self._registry.reachable("procedure", procedure))

    def of(self, ready: Ready) -> Runs:
        """The runs of a procedure; those from before a restart are read when somebody first asks."""
        with self._lock:
            if ready.runs is None:
                ready.runs = Runs(self._registry.catalogue.runs(ready.config["id"]), self._kept)
            runs: Runs = ready.runs
        return runs

    def remove(self, procedure: str, id: str) -> None:
        """Delete a run; one under way is cancelled and waited for."""
        self.runs_of(procedure).remove(id)
        self._registry.catalogue.remove_run(procedure, id)

    def delete(self, procedure: str) -> None:
        """Delete a procedure; its runs are cancelled and waited for."""
        ready = self._registry.serving("procedure", procedure)
        runs = None if ready is None else ready.runs
        self._registry.delete("procedure", procedure)
        if runs is not None:
            runs.stop_all()

    def create(
        self, config: Mapping[str, Any], *, must_be_new: bool = False, background: bool = False
    ) -> dict[str, Any]:
        """Create a procedure and, unless it says otherwise, its first run; the status object with ``firstRun``.

        The runs of a procedure that this one replaces are cancelled: nobody could reach them any more.
        """
        id = str(config.get("id") or "")
        refuse_within_itself(id)
        old = self._registry.serving("procedure", id)
        entry = self._registry.create("procedure", config, must_be_new=must_be_new)
        if old is not None and old is not entry.ready and old.runs is not None:
            old.runs.stop_all()
        status = entry.status()
        ready = entry.ready
        if ready is None or not getattr(ready.params, "runOnCreation", True):
            return status
        try:
            run = self.start(entry.id, None, background=background)
        except MldbError as error:
            raise FirstRunFailed(entry.id, error) from None
        first = run.status() if run.done.is_set() else run.at_start
        return status | {"status": jsontext.free({**(entity_status(ready.entity) or {}), "firstRun": first})}

    def start(self, procedure: str, config: Any, *, run_id: str = "", background: bool = False) -> Run:
        """Run a procedure with a run config (``{"id", "params"}`` or None); waits unless ``background``.

        Raises what the run raises; the run then stays, in state error.
        """
        refuse_within_itself(procedure)
        ready = self._registry.reachable("procedure", procedure)
        own_id, params = parse_run_config(config)
        if run_id and own_id and run_id != own_id:
            raise MldbError(f"Ambiguous names between route and config: '{run_id}' and '{own_id}'")
        run = Run(run_id or own_id or generated_run_id(), params)
        self.of(ready).add(run)
        if background:
            threading.Thread(target=self._execute_quietly, args=(ready, run), daemon=True).start()
        else:
            self._execute(ready, run)
        return run

    def _execute_quietly(self, ready: Ready, run: Run) -> None:
        try:
            self._execute(ready, run)
        except MldbError as error:
            log.info("run '%s' of %s failed: %s", run.id, ready.type.name, error.message)

    def _execute(self, ready: Ready, run: Run) -> None:
        run.thread = threading.get_ident()
        outer = _current.get()
        try:
            with nullcontext() if outer is None else outer.progress.containing(run.progress):
                result, error = self._work(ready, run)
            if error is not None:
                self._discard_outputs(run)
            run.finished = time.time()
            error = self._kept_error(ready, run, result, error)
            run.result, run.error = (result, None) if error is None else (None, error)
        finally:
            self._registry.touch()
            run.done.set()
        if isinstance(error, Cancelled):
            raise Conflict(f"run entry '{run.id}' could not be obtained")
        if error is not None:
            raise error

    def output(self, id: str) -> None:
        """The run of this thread, if any, has made a dataset for its results."""
        run, ready = _current.get(), self._registry.serving("dataset", id)
        if run is not None and ready is not None:
            run.outputs.append((id, ready))

    def _discard_outputs(self, run: Run) -> None:
        """Nobody is to take what a run has left behind for its result."""
        for id, ready in run.outputs:
            if self._registry.serving("dataset", id) is ready:
                self._registry.delete("dataset", id)

    @contextmanager
    def _inline_datasets(self) -> Iterator[None]:
        """Delete, when the block ends, the datasets that a run makes because its parameters describe them."""
        with inline.making() as made:
            try:
                yield
            finally:
                self._registry.delete_datasets(made)

    def _work(self, ready: Ready, run: Run) -> tuple[RunResult, MldbError | None]:
        """What the procedure gives, and why it failed or stopped."""
        token, chain = _current.set(run), _running.set(_running.get() | {ready.config["id"]})
        try:
            params = validate(ready.type, merge(ready.config.get("params") or {}, run.params))
            with tasks.acting_for(run.progress), self._inline_datasets():
                result = ready.entity.run(params, run.progress)
            run.progress.check()
            run.progress.finish()
            return result or RunResult(), None
        except MldbError as error:
            failed = error
        except Exception as error:
            # What an interrupted library raises after a cancel is the cancel, not a defect.
            if not run.progress.cancelled:
                log.exception("run '%s' of %s failed", run.id, ready.type.name)
            failed = from_defect(error)
        finally:
            _current.reset(token)
            _running.reset(chain)
        if run.progress.cancelled or isinstance(failed, Cancelled):
            failed = Cancelled("the run was cancelled")
        return RunResult(), failed

    def _kept_error(self, ready: Ready, run: Run, result: RunResult, error: MldbError | None) -> MldbError | None:
        """Save the run before anybody hears that it has ended; the run's error, or why it could not be saved."""
        runs = self.of(ready)
        try:
            if run in runs and not self._closing:
                self._registry.keep_run(ready, run.id, run.saved(result, error), self._kept)
        except Exception as defect:
            log.exception("run '%s' of %s could not be saved", run.id, ready.type.name)
            return error or from_defect(defect)
        runs.forget_old()
        return error

    def close(self) -> None:
        """Ask every run to stop; those are not saved."""
        self._closing = True
        for entry in self._registry.entries("procedure"):
            runs = entry.ready.runs if entry.ready is not None else None
            for run in runs.all() if runs is not None else ():
                run.progress.cancel()


def parse_run_config(config: Any) -> tuple[str, dict[str, Any]]:
    """A run config: null, ``{}`` or ``{"id", "params"}``."""
    if config is None:
        return "", {}
    if not isinstance(config, dict):
        raise MldbError("a run configuration must be an object")
    unknown = [name for name in config if name not in ("id", "params")]
    if unknown:
        raise MldbError(f"unknown field parsing ProcedureRunConfig: '{unknown[0]}'")
    params = config.get("params") or {}
    if not isinstance(params, dict):
        raise MldbError("the params of a run must be an object")
    return str(config.get("id") or ""), params


def merge(base: Any, over: Any) -> Any:
    """Objects merge, everything else replaces."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {name: merge(base[name], value) if name in base else value for name, value in over.items()}


def generated_run_id() -> str:
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{moment}.{int(now % 1 * 1e6):06d}Z-{secrets.token_hex(8)}"
