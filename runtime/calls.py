"""What all Python clients of the server say and read alike: parameters, tracked procedures, the steps of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from runtime.jsontext import blob

# Progress bars ask this often until the run is there, then as often as the caller says.
FIRST_LOOK_SECONDS: Final = 0.5


def parameter(value: Any) -> str:
    """A query parameter's text: objects and arrays as JSON (bytes in them as blobs), all else as it prints."""
    return json.dumps(value, ensure_ascii=False, default=_plain) if isinstance(value, dict | list) else str(value)


def json_body(payload: Any) -> bytes:
    """A request's body: bytes in it are blobs. ``TypeError`` or ``ValueError`` for what JSON cannot say."""
    return json.dumps(payload, allow_nan=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return blob(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def with_run_on_creation(config: Mapping[str, Any], run: bool) -> dict[str, Any]:
    """A copy of a procedure's configuration that does, or does not, run when it is created."""
    return {**config, "params": {**(config.get("params") or {}), "runOnCreation": run}}


def procedure_path(id: str) -> str:
    return f"/v1/procedures/{quote(id, safe='')}"


def run_path(procedure: str, run: str) -> str:
    return f"{procedure_path(procedure)}/runs/{quote(run, safe='')}"


def steps_of(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps that a run's status object tells of."""
    return list((run.get("progress") or {}).get("steps") or [])


class RunWatch:
    """Follows a run without knowing how requests are made: ``path`` says what to ask for, ``learn`` takes the answer.

    Without a run id, the newest run of the procedure that was not there ``before`` is followed.
    """

    def __init__(self, procedure: str, run: str = "", before: frozenset[str] = frozenset()) -> None:
        self._procedure = procedure
        self._before = before
        self.run = run
        self.status: dict[str, Any] = {}
        self._known: list[dict[str, Any]] = []

    @property
    def path(self) -> str:
        return run_path(self._procedure, self.run) if self.run else f"{procedure_path(self._procedure)}/runs"

    @property
    def state_path(self) -> str:
        """Where the run is cancelled; "" while it is not known."""
        return f"{run_path(self._procedure, self.run)}/state" if self.run else ""

    @property
    def steps(self) -> list[dict[str, Any]]:
        return steps_of(self.status)

    @property
    def ended_steps(self) -> list[dict[str, Any]]:
        """The known steps at their end: a run that finished tells of none any more."""
        whole = {"value": 1.0, "type": "percentile"}
        return [
            {**step, "ended": True, **(whole if step.get("type", "percentile") == "percentile" else {})}
            for step in self._known
        ]

    def learn(self, answer: Any) -> None:
        """Take the JSON of ``path``; None when there was no such thing (yet)."""
        if isinstance(answer, dict):
            self.status = answer
            self._known = self.steps or self._known
        elif isinstance(answer, list):
            self.run = max((run for run in answer if run not in self._before), default="")


CANCELLED: Final = {"state": "cancelled"}
