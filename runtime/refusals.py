"""Errors that are the answer of a route, where an exception would be a failure of the plugin."""

from __future__ import annotations

from http.client import responses
from typing import Any, Final

CODES: Final = range(400, 600)


class HTTPException(Exception):
    """Raised by code that answers a request, to end it with ``{"error": detail, "httpCode": status_code, …}``.

    That is no failure: nothing is logged. In ``main.py`` and in scripts it is an exception like any other.
    """

    def __init__(self, status_code: int, detail: str = "", **members: Any) -> None:
        """``detail``: for the caller, else the name of the code. ``members``: of the body, beside these.

        ``ValueError`` for a code that is no error (400 to 599).
        """
        if status_code not in CODES:
            raise ValueError(f"the code of an error is an HTTP status from 400 to 599, not {status_code}")
        self.status_code = int(status_code)
        self.detail = detail or responses.get(self.status_code, f"error {self.status_code}")
        self.members = members
        super().__init__(self.detail)

    def body(self) -> dict[str, Any]:
        return {"error": self.detail, "httpCode": self.status_code, **self.members}
