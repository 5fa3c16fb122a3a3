"""What the HTTP modules are given: the parts of the running server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.entities.credentials import Credentials
from server.entities.dispatch import Resources
from server.entities.registry import Registry
from server.entities.runs import Runner
from server.entities.types import TypeRegistry
from server.settings import Settings

if TYPE_CHECKING:
    from server.entities.services import ServerServices
    from server.http.metrics import Metrics

HealthCheck = Callable[[], Any]  # awaitable or plain; {"ok": bool, …}


def _metrics() -> Metrics:
    from server.http.metrics import Metrics

    return Metrics()


@dataclass
class Host:
    """``health_checks`` are asked by ``/readyz``; ``stop`` begins a graceful shutdown,
    ``stopping`` says whether it has begun: what would stream for ever ends then."""

    settings: Settings
    types: TypeRegistry
    registry: Registry
    runner: Runner
    services: ServerServices
    credentials: Credentials
    resources: Resources = field(default_factory=Resources)
    health_checks: dict[str, HealthCheck] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=_metrics)
    stop: Callable[[], None] = lambda: None
    stopping: Callable[[], bool] = lambda: False
