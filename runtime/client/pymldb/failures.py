"""What calls raise for an answer that is an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


class ResourceError(Exception):
    """Raised by checked calls for a status below 200 or from 400 up; ``result`` is the answer."""

    def __init__(self, result: Any) -> None:
        request = result.request
        reason = getattr(result, "reason", None) or getattr(result, "reason_phrase", "")
        line = f"'{result.status_code} {reason}' response to '{request.method} {request.url}'"
        super().__init__("\n\n".join((line, *_told(result))))
        self.result = result


def _told(result: Any) -> Iterator[str]:
    """The body, and last, where an error tells its place in a query, the line with that place marked."""
    try:
        body = result.json()
    except ValueError:
        yield str(result.text)
        return
    yield json.dumps(body, indent=2, ensure_ascii=False)
    while isinstance(body, dict):  # the error of a procedure's first run is within that of its making
        details = body.get("details")
        details = details if isinstance(details, dict) else {}
        if "caret" in details:
            yield f"{body.get('error', '')}\n{details['caret']}"
        body = details.get("runError")


def checked(result: Any) -> Any:
    """The answer; ``ResourceError`` when it is an error."""
    if result.status_code < 200 or result.status_code >= 400:
        raise ResourceError(result)
    return result


def base_address(host: str) -> str:
    """The address without its last slash; ``ValueError`` unless it is one of the web."""
    if not host.startswith(("http://", "https://")):
        raise ValueError(f"{host!r} is no address of a server: it must start with 'http', as http://localhost:8080")
    return host.rstrip("/")
