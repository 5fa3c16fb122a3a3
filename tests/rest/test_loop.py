"""Nothing that a route does holds up the event loop: not a slow route of an entity, a type's module, nor the disk."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.declarations import EntityType, Params
from server.messages import Request, Response
from server.values.batches import RowType
from tests.inprocess import InProcess, in_process

_SLOW = 1.0  # seconds
_MODULE = """
import time

from server.declarations import EntityType, Params

time.sleep(1.0)
TYPES = [EntityType("function", "test.loaded", Params, "Loaded when it is asked for", lambda _: None)]
"""


class Slow:
    """A function whose own route takes its time."""

    input = output = RowType(open=True)

    def route(self, request: Request) -> Response:
        time.sleep(_SLOW)
        return Response(200, b"{}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with in_process(tmp_path_factory.mktemp("loop") / "data") as server:
        yield server


def longest_wait(server: InProcess, work: Callable[[], Any]) -> float:
    """Seconds that the slowest of the pings took which were sent meanwhile."""
    thread = threading.Thread(target=work)
    thread.start()
    slowest = 0.0
    while thread.is_alive():
        begun = time.monotonic()
        assert server.must("GET", "/ping") == "1"
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(0.005)
    return slowest


def test_routes_of_entities(server: InProcess) -> None:
    types = server._services._registry.types
    types.register([EntityType("function", "test.slow", Params, "Slow", lambda _: Slow())])
    server.must("PUT", "/v1/functions/slow", {"type": "test.slow"})
    assert longest_wait(server, lambda: server.must("GET", "/v1/functions/slow/routes/x")) < _SLOW / 2


def test_routes_of_types(server: InProcess) -> None:
    def route(_services: Any, _request: Request) -> Response:
        time.sleep(_SLOW)
        return Response(200, b"{}")

    slow = EntityType("function", "test.routed", Params, "Slow", lambda _: Slow(), route=route)
    server._services._registry.types.register([slow])
    assert longest_wait(server, lambda: server.must("GET", "/v1/types/functions/test.routed/routes/x")) < _SLOW / 2


def test_modules_of_types(server: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slowly_loaded.py").write_text(_MODULE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    server._services._registry.types.announce({"function": {"test.loaded": "slowly_loaded"}})
    assert longest_wait(server, lambda: server.must("GET", "/v1/types/functions/test.loaded")) < _SLOW / 2


def test_lists_while_a_change_waits_for_the_disk(server: InProcess) -> None:
    registry = server._services._registry
    held = threading.Event()

    def hold() -> None:
        with registry._lock:  # as for as long as the catalogue is written
            held.set()
            time.sleep(_SLOW)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    assert longest_wait(server, lambda: server.must("GET", "/v1/datasets")) < _SLOW / 2
    holder.join()
