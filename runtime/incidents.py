"""What operators are told of a start, a worker or a request that failed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from runtime.output import time_text

# Of a message that is kept: an exception may hold a whole file, and consoles are told again at every change.
LONGEST_MESSAGE: Final = 1000


@dataclass(frozen=True)
class Failure:
    """Why a generation could not start or ended, or a request failed: what, where and when (seconds)."""

    message: str
    time: float
    file: str | None = None
    line: int | None = None
    request: str | None = None  # verb and path below the plugin's routes

    def plain(self) -> dict[str, Any]:
        members = {
            "message": self.message[:LONGEST_MESSAGE],
            "time": time_text(self.time),
            "file": self.file,
            "line": self.line,
            "request": self.request,
        }
        return {name: value for name, value in members.items() if value is not None}


def raised(exception: dict[str, Any]) -> Failure:
    """The failure of code that raised; ``exception`` is what ``failures.describe`` gave."""
    type_, text = exception.get("type", "Exception"), exception.get("message", "")
    if not text.startswith(f"{type_}:"):  # JavaScript's own texts do
        text = f"{type_}: {text}"
    return Failure(text, time.time(), exception.get("scriptUri"), exception.get("lineNumber"))
