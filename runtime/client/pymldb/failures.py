"""What calls raise for an answer that is an error."""

from __future__ import annotations

import json
from typing import Any


class ResourceError(Exception):
    """Raised by checked calls for a status below 200 or from 400 up; ``result`` is the answer."""

    def __init__(self, result: Any) -> None:
        request = result.request
        reason = getattr(result, "reason", None) or getattr(result, "reason_phrase", "")
        line = f"'{result.status_code} {reason}' response to '{request.method} {request.url}'"
        super().__init__(f"{line}\n\n{_body(result)}")
        self.result = result


def _body(result: Any) -> str:
    try:
        return json.dumps(result.json(), indent=2, ensure_ascii=False)
    except ValueError:
        return str(result.text)


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
