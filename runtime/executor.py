"""Where workers run: the interface.

Only frames (plain typed data) and limits cross it, no open file, connection or request object, so that workers may be
placed on other machines. ``runtime.local_executor`` has them on this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from runtime import protocol
from runtime.messages import Limits


class WorkerFailure(Exception):
    """Raised when a worker cannot be started."""


class WorkerEvents(Protocol):
    """What a worker's owner is told; all calls come on the event loop."""

    def on_frame(self, frame: list[Any]) -> None: ...

    def on_output(self, text: str) -> None:
        """Output of native code and of forked children."""

    def on_exit(self, reason: str) -> None:
        """The worker is gone; called once."""


class WorkerHandle(Protocol):
    """A running worker."""

    @property
    def pid(self) -> int: ...

    def send(self, frame: protocol.Frame) -> None:
        """Send a small frame. Frames to a dead worker are dropped."""

    async def deliver(self, frame: protocol.Frame) -> None:
        """Send a frame with what a caller put into it; ``ValueError`` when it is too large."""

    def kill(self) -> None:
        """End it with all that it started."""

    def memory(self) -> int:
        """Bytes that it holds for itself."""


@dataclass(frozen=True)
class Environment:
    """What workers are forked from: search paths of a plugin's own packages, and modules imported beforehand."""

    paths: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


class Executor(Protocol):
    """Places workers."""

    async def start(self, events: WorkerEvents, limits: Limits, environment: Environment) -> WorkerHandle:
        """Start a worker; ``WorkerFailure`` when that is not possible."""

    async def warm(self, environment: Environment) -> None:
        """Have an environment ready, so that ``start`` is quick; ``WorkerFailure`` when it cannot be."""

    def is_warm(self, environment: Environment) -> bool: ...

    async def close(self) -> None:
        """End all workers."""
