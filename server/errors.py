"""Errors that reach a caller.

    MldbError
    ├── NotFound            404  an entity, run or resource is missing
    ├── Conflict            409  an entity exists or is not ready
    └── Unavailable         503  a worker or a resource cannot answer now

Everything else that is raised while a request is served is a defect and answers 500. The text of an error is
contract (rest-api.md §2): clients match it.
"""

from __future__ import annotations

from typing import Any


class MldbError(Exception):
    """A request cannot be served; carries what the canonical error body needs.

    Attributes: ``message`` (the ``error`` text), ``code`` (HTTP status, default 400) and ``details`` (a JSON
    object, left out of the body when empty).
    """

    code = 400

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


class Unavailable(MldbError):
    """Raised when a worker died, hung or is restarting, or a needed resource cannot be had now."""

    code = 503


class Cancelled(MldbError):
    """Raised inside a run or a query that was cancelled, at its next check."""

    code = 409
