"""Requests and answers as the resource table sees them: the same for HTTP and for plugin code in process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Request:
    """``path`` is as sent, percent-encoded, without the query string; ``headers`` have lower-case names.

    ``params`` are the decoded query pairs in order. ``headers`` lack content-length and content-type, which are
    members of their own (-1 and "" when unknown). ``in_process`` marks calls of plugin and script code.
    """

    verb: str
    path: str
    params: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = ""
    content_length: int = -1
    in_process: bool = False


@dataclass(slots=True)
class Response:
    """``body`` is bytes, or an async iterator of chunks for a stream. ``content_type`` "" sends no such header."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)
