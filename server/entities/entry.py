"""What is known under one id: the entity in service, the construction under way, and their states (rest-api.md §4)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from server.declarations import EntityKind, EntityType, Params
from server.entities import jsontext
from server.entities.configs import config_json
from server.entities.progress import TaskProgress
from server.errors import Cancelled, Conflict, MldbError, NotFound


class Unreachable(NotFound):
    """Raised for what lies below an entity that is missing, being built or failed (§2.2)."""

    def __init__(self, message: str, members: dict[str, Any]) -> None:
        super().__init__(message)
        self.members = members

    def body(self) -> dict[str, Any]:
        return {"error": self.message, **self.members}


@dataclass(slots=True)
class Ready:
    """An entity in service. ``runs`` belongs to procedures (server.entities.runs), ``made`` are the ids of the
    datasets that it was made with (server.entities.inline)."""

    config: dict[str, Any]
    type: EntityType
    params: Params
    entity: Any
    stored: Any = None
    runs: Any = None
    made: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Building:
    """A construction under way, or one that failed or was cancelled."""

    config: dict[str, Any]
    progress: TaskProgress = field(default_factory=TaskProgress)
    done: threading.Event = field(default_factory=threading.Event)
    error: MldbError | None = None
    thread: int = 0

    @property
    def state(self) -> str:
        if self.error is not None:
            return "cancelled" if isinstance(self.error, Cancelled) else "error"
        return "executing" if self.progress.reported else "initializing"

    def progress_json(self) -> dict[str, Any]:
        shown = self.progress.to_json()
        if self.state == "error" and self.error is not None:
            shown["exception"] = self.error.body()
        return shown


@dataclass(slots=True)
class Entry:
    """What is known under one id. ``ready`` keeps serving while ``building`` is under way or has failed."""

    kind: EntityKind
    id: str
    ready: Ready | None = None
    building: Building | None = None

    @property
    def under_construction(self) -> bool:
        return self.building is not None and not self.building.done.is_set()

    @property
    def state(self) -> str:
        """How far its construction is: ok, initializing, executing, error or cancelled."""
        building = self.building
        return "ok" if building is None else building.state

    def status(self) -> dict[str, Any]:
        """The status object (§4.2), members in MLDB's order."""
        building, ready = self.building, self.ready
        config = building.config if building is not None else ready.config if ready is not None else {}
        shown: dict[str, Any] = {"id": self.id, "state": "ok" if building is None else building.state}
        if building is not None and (progress := building.progress_json()):
            shown["progress"] = jsontext.free(progress)
        if config.get("type"):
            shown["type"] = config["type"]
        shown["config"] = config_json(config)
        if building is None and ready is not None:
            status = entity_status(ready.entity)
            if status is not None:
                shown["status"] = jsontext.free(status)
        return shown


def entity_status(entity: Any) -> Any:
    status = getattr(entity, "status", None)
    return None if status is None else status()


def missing(kind: str, id: str) -> NotFound:
    plural = f"{kind}s"
    return NotFound(f"{kind} entry '{id}' doesn't exist", details={"collection": plural, "entry": id})


def exists(kind: str, id: str) -> Conflict:
    return Conflict(f"{kind} entry '{id}' already exists", details={"collection": f"{kind}s", "entry": id})
