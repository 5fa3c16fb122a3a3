"""Utility procedures (rest-api.md §9.5): null, mock, serial, createEntity."""

from __future__ import annotations

import time
from typing import Any, get_args

from pydantic import Field, ValidationInfo, field_validator

from server.declarations import Creation, EntityKind, EntityType, ProcedureParams, Progress, RunResult, Services
from server.entities.progress import TaskProgress
from server.errors import MldbError


class NullParams(ProcedureParams):
    pass


class Null:
    def run(self, _params: NullParams, _progress: Progress) -> RunResult:
        return RunResult()


class MockParams(ProcedureParams):
    durationMs: int = Field(5000, description="How long the run takes, in milliseconds")
    refreshRateMs: int = Field(50, description="Milliseconds between two reports of progress")

    @field_validator("durationMs", "refreshRateMs")
    @classmethod
    def _positive(cls, value: int, info: ValidationInfo) -> int:
        if value < 1:
            raise ValueError(f"{info.field_name} must be >= 1")
        return value


class Mock:
    """Reports progress in two steps and does nothing: for clients that show progress."""

    def run(self, params: MockParams, progress: Progress) -> RunResult:
        if isinstance(progress, TaskProgress):
            progress.announce("step 1", "step 2", type="counter")
        for name in ("step 1", "step 2"):
            progress.step(name, "counter")
            self._pass_time(params.durationMs / 2000, params.refreshRateMs / 1000, progress)
        return RunResult()

    def _pass_time(self, seconds: float, pause: float, progress: Progress) -> None:
        end = time.monotonic() + seconds
        count = 0
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            count += 1
            progress.update(count)


class SerialParams(ProcedureParams):
    steps: list[dict[str, Any]] = Field(
        default=[], description="Procedure configs, each maybe with a `name`, run one after the other"
    )


class Serial:
    def __init__(self, services: Services, params: SerialParams) -> None:
        self._services = services
        self._steps = params.steps

    def status(self) -> dict[str, Any]:
        return {"steps": self._steps}

    def run(self, params: SerialParams, progress: Progress) -> RunResult:
        names = [str(step.get("name") or f"step {number}") for number, step in enumerate(params.steps, 1)]
        if isinstance(progress, TaskProgress):
            progress.announce(*names)
        results = []
        for name, step in zip(names, params.steps, strict=True):
            progress.step(name)
            results.append(self._services.run_procedure({key: step[key] for key in step if key != "name"}))
        return RunResult(
            {"steps": [result.status for result in results]}, {"steps": [result.details for result in results]}
        )


class CreateEntityParams(ProcedureParams):
    kind: EntityKind = Field(description="What to create")
    id: str = Field("", description="Name of the entity; made up when absent")
    type: str = Field("", description="Its type")
    params: dict[str, Any] = Field(default={}, description="Its parameters")
    persistent: bool | None = Field(None, description="Whether it survives a restart")

    @field_validator("kind", mode="before")
    @classmethod
    def _known(cls, kind: Any) -> Any:
        if kind not in get_args(EntityKind):
            raise ValueError(f"Attempt to create unknown entity kind '{kind}'")
        return kind


class CreateEntity:
    def __init__(self, services: Services, params: CreateEntityParams) -> None:
        self._services = services
        self._config = _entity_config(params)

    def status(self) -> dict[str, Any]:
        return {"config": self._config}

    def run(self, params: CreateEntityParams, progress: Progress) -> RunResult:
        progress.step("creating")
        status = self._services.create(params.kind, _entity_config(params))
        return RunResult({"kind": params.kind, "config": status["config"], "status": status.get("status")})


def _entity_config(params: CreateEntityParams) -> dict[str, Any]:
    given = {"id": params.id, "type": params.type, "params": params.params, "persistent": params.persistent}
    config = {name: value for name, value in given.items() if value not in ("", None)}
    if not config.get("type"):
        raise MldbError("createEntity needs the type of the entity to create")
    return config


def _serial(creation: Creation) -> Serial:
    if any(step.get("id") == creation.id for step in creation.params.steps):
        raise MldbError("Procedure contains itself as a child")
    return Serial(creation.services, creation.params)


def _create_entity(creation: Creation) -> CreateEntity:
    return CreateEntity(creation.services, creation.params)


TYPES = [
    EntityType("procedure", "null", NullParams, "Does nothing", lambda _: Null()),
    EntityType("procedure", "mock", MockParams, "Reports progress for a while and does nothing", lambda _: Mock()),
    EntityType("procedure", "serial", SerialParams, "Runs procedures one after the other", _serial),
    EntityType("procedure", "createEntity", CreateEntityParams, "Creates an entity of any kind", _create_entity),
]
