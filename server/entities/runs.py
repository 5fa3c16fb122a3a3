"""Runs of procedures (rest-api.md §9): one run, and the runs of one procedure."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from server.declarations import RunResult
from server.entities import jsontext
from server.entities.entry import Ready, Unreachable
from server.entities.progress import TaskProgress
from server.errors import Cancelled, Conflict, MldbError, NotFound
from server.values.atoms import timestamp_text


class Run:
    """One run of a procedure. ``outputs``: datasets that it has made, which go with it when it does not finish."""

    def __init__(self, id: str, params: Any) -> None:
        self.id = id
        self.params = params
        self.progress = TaskProgress()
        self.done = threading.Event()
        self.started = time.time()
        self.finished: float | None = None
        self.result: RunResult | None = None
        self.error: MldbError | None = None
        self.thread = 0
        self.outputs: list[tuple[str, Ready]] = []
        self.at_start: dict[str, Any] = {"id": id, "state": "initializing"}
        self._past_progress: dict[str, Any] | None = None

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> Run:
        """A run that ended before the server was started."""
        run = cls(saved["id"], saved["params"])
        run.started, run.finished, run._past_progress = saved["started"], saved["finished"], saved["progress"]
        if "error" in saved:
            kind = Cancelled if saved["cancelled"] else MldbError
            error = saved["error"]
            run.error = kind(error["error"], code=error["httpCode"], details=error.get("details"))
        else:
            run.result = RunResult(saved["status"], saved["details"])
        run.done.set()
        return run

    def saved(self, result: RunResult, error: MldbError | None) -> dict[str, Any]:
        """What ``restored`` needs, plain JSON."""
        shown = {"id": self.id, "params": self.params, "started": self.started, "finished": self.finished}
        shown["progress"] = self._progress_json()
        if error is not None:
            return shown | {"error": error.body(), "cancelled": isinstance(error, Cancelled)}
        return shown | {"status": result.status, "details": result.details}

    def _progress_json(self) -> dict[str, Any]:
        return self.progress.to_json() if self._past_progress is None else dict(self._past_progress)

    @property
    def state(self) -> str:
        if self.result is not None:
            return "finished"
        if self.error is not None:
            return "cancelled" if isinstance(self.error, Cancelled) else "error"
        return "executing" if self.progress.reported else "initializing"

    def status(self) -> dict[str, Any]:
        """The run's status object, plain JSON."""
        shown: dict[str, Any] = {"id": self.id, "state": self.state}
        if self.result is None:
            progress = self._progress_json()
            if self.error is not None and self.state == "error":
                progress["exception"] = self.error.body()
            return shown | ({"progress": progress} if progress else {})
        if self.result.status is not None:
            shown["status"] = self.result.status
        shown["runStarted"] = timestamp_text(round(self.started, 6))
        shown["runFinished"] = timestamp_text(round(self.finished or self.started, 6))
        return shown

    def status_json(self) -> dict[str, Any]:
        """``status`` for a typed body, in which what procedure types have given stays free-form JSON."""
        return {
            name: jsontext.free(value) if name in ("status", "progress") else value
            for name, value in self.status().items()
        }

    def stop(self) -> None:
        """Cancel, and wait until the run has stopped."""
        if self.done.is_set():
            return
        self.progress.cancel()
        if self.thread != threading.get_ident():
            self.done.wait()


class Runs:
    """The runs of one procedure. Of those that have ended the last ``kept`` stay."""

    def __init__(self, saved: Iterable[Mapping[str, Any]], kept: int) -> None:
        self._runs = {run.id: run for run in map(Run.restored, saved)}
        self._kept = kept
        self._lock = threading.Lock()

    def ids(self) -> list[str]:
        return sorted(self._runs)

    def find(self, id: str) -> Run:
        """404 as the run's own route gives it."""
        found = self._runs.get(id)
        if found is None:
            raise NotFound(f"run entry '{id}' doesn't exist", details={"collection": "runs", "entry": id})
        return found

    def reachable(self, id: str) -> Run:
        """404 as the run's sub-routes give it."""
        found = self._runs.get(id)
        if found is None:
            members = {"kind": "run", "resource": id}
            raise Unreachable(f"run entry '{id}' does not exist or has been deleted", members)
        return found

    def latest(self) -> Run:
        """The finished run that was started last."""
        finished = [run for run in self.all() if run.state == "finished"]
        if not finished:
            raise NotFound("not found")
        return max(finished, key=lambda run: run.started)

    def add(self, run: Run) -> None:
        with self._lock:
            old = self._runs.get(run.id)
            if old is not None and not old.done.is_set():
                raise Conflict(f"entry '{run.id}' in run could not be overwritten because it is being constructed")
            self._runs.pop(run.id, None)
            self._runs[run.id] = run

    def __contains__(self, run: Run) -> bool:
        return self._runs.get(run.id) is run

    def forget_old(self) -> None:
        """Drop the oldest of the runs that have ended, beyond ``kept``. Called when a run has ended."""
        with self._lock:
            ended = sorted((run for run in self._runs.values() if run.finished), key=lambda run: run.finished or 0)
            for run in ended[: max(0, len(ended) - self._kept)]:
                del self._runs[run.id]

    def remove(self, id: str) -> None:
        with self._lock:
            run = self._runs.pop(id, None)
        if run is not None:
            run.stop()

    def all(self) -> list[Run]:
        return list(self._runs.values())

    def stop_all(self) -> None:
        for run in self.all():
            run.stop()
