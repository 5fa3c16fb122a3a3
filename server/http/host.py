"""What the HTTP modules are given: the parts of the running server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.entities.credentials import Credentials
from server.entities.dispatch import Resources
from server.entities.metrics import Metrics
from server.entities.queries import Queries
from server.entities.registry import Registry
from server.entities.runner import Runner
from server.entities.types import TypeRegistry
from server.settings import Settings
from server.shutdown import Shutdown

if TYPE_CHECKING:
    from server.entities.services import ServerServices

HealthCheck = Callable[[], Any]  # awaitable or plain; {"ok": bool, …}


@dataclass
class Host:
    """``health_checks`` are asked by ``/readyz``."""

    settings: Settings
    types: TypeRegistry
    registry: Registry
    runner: Runner
    services: ServerServices
    credentials: Credentials
    shutdown: Shutdown
    resources: Resources = field(default_factory=Resources)
    queries: Queries = field(default_factory=Queries)
    health_checks: dict[str, HealthCheck] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
