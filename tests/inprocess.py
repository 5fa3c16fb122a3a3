"""A server without a socket, in the process of the test: the same resources, reached by ``perform``."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server.app import Server
from server.http.security import Gate
from server.settings import Settings
from server.sql.engine import Engine
from tests.waiting import PATIENCE


class InProcess:
    """What a test asks of a running server: its REST routes, and the engine below them."""

    def __init__(self, server: Server) -> None:
        self._services = server.services
        self.engine: Engine = server.services.engine

    def ask(self, verb: str, path: str, payload: Any = None) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        # As text: numbers are written as Python writes them, not as the server does in its answers.
        answer = self._services.perform(verb, path, payload=None if payload is None else json.dumps(payload))
        return answer.status, json.loads(answer.body) if answer.body else None

    def must(self, verb: str, path: str, payload: Any = None) -> Any:
        """The JSON of an answer that is no error."""
        status, found = self.ask(verb, path, payload)
        assert status < 400, (verb, path, found)
        return found


@contextmanager
def in_process(folder: Path, **changed: Any) -> Iterator[InProcess]:
    """Start the parts of a server over an empty data root, and stop them. ``changed``: settings."""
    settings = Settings(data_dir=folder, **changed)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server")
    thread.start()
    server = Server(settings, Gate(settings), lambda: None)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(PATIENCE)
        assert server.host.registry.restored.wait(PATIENCE)
        yield InProcess(server)
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
