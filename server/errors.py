"""Errors that reach a caller.

    MldbError
    ├── NotFound            404  an entity, run or resource is missing
    ├── Conflict            409  an entity exists or is not ready
    │   └── Vanished        409  a dataset went away under its reader
    └── Unavailable         503  a worker or a resource cannot answer now

Everything else that is raised while a request is served is a defect and answers 500. The text of an error is
contract (rest-api.md §2): clients match it.
"""

from __future__ import annotations

import re
from typing import Any


class MldbError(Exception):
    """A request cannot be served; carries what the canonical error body needs.

    Attributes: ``message`` (the ``error`` text), ``code`` (HTTP status, default 400) and ``details`` (a JSON
    object, left out of the body when empty).
    """

    code = 400
    span: tuple[int, int] | None = None  # where in the query's text, while a query is being bound

    def __init__(self, message: str, *, code: int | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.details: dict[str, Any] = details or {}

    def body(self) -> dict[str, Any]:
        """The canonical error object, members sorted by name."""
        body: dict[str, Any] = {}
        if self.details:
            body["details"] = self.details
        body["error"] = self.message
        body["httpCode"] = self.code
        return body


class NotFound(MldbError):
    """Raised by look-ups of entities, runs and resources that are not there."""

    code = 404


class Conflict(MldbError):
    """Raised when an entity that must be new exists, or one that must be ready is not."""

    code = 409


class Vanished(Conflict):
    """Raised when a dataset was replaced, deleted or changed its columns between being found and being read.

    Who asks again finds what is there now.
    """

    def __init__(self, message: str = "a dataset was replaced or deleted while it was being read: ask again") -> None:
        super().__init__(message)


class Unavailable(MldbError):
    """Raised when a worker died, hung or is restarting, or a needed resource cannot be had now."""

    code = 503


class Cancelled(MldbError):
    """Raised inside a run or a query that was cancelled, at its next check."""

    code = 409


_NOT_ALLOWED = "the system keeps the server from a file of its own: check the owner and the attributes of its data-dir"
_DISK_FAULTS = {
    "No space left on device": "the disk is full: make room",
    "File too large": "a file is larger than the system lets the server write: raise the limit (ulimit -f)",
    "Disk quota exceeded": "the quota of the disk is used up: make room",
    "Read-only file system": "the disk is read-only: mount it for writing (the system's log says why it is not)",
    "Input/output error": "the disk fails (input/output error): the system's log says more",
    "Operation not permitted": _NOT_ALLOWED,
    "Permission denied": _NOT_ALLOWED,
}


_DROPPED = re.compile(r"Table with name d_[0-9a-f]{16}\w* does not exist")


def is_of_dropped_table(error: Exception) -> bool:
    """Whether the engine says that it lacks the table of a dataset."""
    return _DROPPED.search(str(error)) is not None


def disk_fault(error: Exception) -> str:
    """What is wrong with the disk, and what to do; "" when something else is."""
    text = str(error)
    return next((remedy for fault, remedy in _DISK_FAULTS.items() if fault in text), "")


def from_defect(error: Exception) -> MldbError:
    """What a caller hears of an exception that nobody expected: 507 for a disk that takes nothing, else 500.

    The text of a defect may name files and addresses: it goes to the log only.
    """
    if is_of_dropped_table(error):
        return Vanished()
    if remedy := disk_fault(error):
        return MldbError(f"{remedy}; what was to be written now is not there", code=507)
    return MldbError(f"internal server error: {type(error).__name__}; see the server's log", code=500)
