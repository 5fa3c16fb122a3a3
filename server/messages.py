"""Requests and answers as the resource table sees them: the same for HTTP and for plugin code in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Client(Protocol):
    """Who waits for the answer."""

    def on_gone(self, callback: Callable[[], object]) -> None:
        """Call this (once, on the event loop) when the caller has hung up before the answer was ready. Thread-safe."""


@dataclass(slots=True)
class Request:
    """``path`` is as sent, percent-encoded, without the query string; ``headers`` have lower-case names.

    ``params`` are the decoded query pairs in order. ``headers`` lack content-length and content-type, which are
    members of their own (-1 and "" when unknown). ``in_process`` marks calls of plugin and script code. Routes that
    hand on find the rest of the path in ``remaining``: as sent, with its slash. ``client`` tells when the caller has
    gone (None: nobody can tell). ``route`` is the template of the route that was found. ``file`` holds the body of a
    route that spools (``dispatch.Spool``) instead of ``body``: the handler may move it away.
    """

    verb: str
    path: str
    params: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = ""
    content_length: int = -1
    in_process: bool = False
    remaining: str = ""
    client: Client | None = None
    route: str = ""
    file: Path | None = None


@dataclass(slots=True)
class Response:
    """``body`` is bytes, or an async iterator of chunks for a stream. ``content_type`` "" sends no such header."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)
