"""Nothing that a route does holds up the event loop: not a slow route of an entity, a type's module, nor the disk."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.declarations import EntityType, Params
from server.messages import Request, Response
from server.values.batches import RowType
from tests.inprocess import InProcess, in_process
from tests.waiting import PATIENCE, SOON

_MODULE = """
from server.declarations import EntityType, Params
import hold_of_a_test

hold_of_a_test.here()
TYPES = [EntityType("function", "test.loaded", Params, "Loaded when it is asked for", lambda _: None)]
"""


class Hold:
    """A place where work stays until it is let go."""

    def __init__(self) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()

    def here(self) -> None:
        self.reached.set()
        assert self.let_go.wait(PATIENCE)


@pytest.fixture
def hold() -> Iterator[Hold]:
    hold = Hold()
    yield hold
    hold.let_go.set()


class Slow:
    """A function whose own route takes its time."""

    input = output = RowType(open=True)

    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    def route(self, request: Request) -> Response:
        self._hold.here()
        return Response(200, b"{}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with in_process(tmp_path_factory.mktemp("loop") / "data") as server:
        yield server


def is_served_meanwhile(server: InProcess, hold: Hold, work: Callable[[], Any]) -> None:
    """Pings are answered while the work stays at the hold."""
    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(work)
        try:
            assert hold.reached.wait(PATIENCE)
            for _ in range(20):
                assert pool.submit(server.must, "GET", "/ping").result(SOON) == "1"
                time.sleep(0.005)
            assert not hold.let_go.is_set()
        finally:
            hold.let_go.set()
        working.result(PATIENCE)


def test_routes_of_entities(server: InProcess, hold: Hold) -> None:
    types = server._services._registry.types
    types.register([EntityType("function", "test.slow", Params, "Slow", lambda _: Slow(hold))])
    server.must("PUT", "/v1/functions/slow", {"type": "test.slow"})
    is_served_meanwhile(server, hold, lambda: server.must("GET", "/v1/functions/slow/routes/x"))


def test_routes_of_types(server: InProcess, hold: Hold) -> None:
    def route(_services: Any, _request: Request) -> Response:
        hold.here()
        return Response(200, b"{}")

    slow = EntityType("function", "test.routed", Params, "Slow", lambda _: Slow(hold), route=route)
    server._services._registry.types.register([slow])
    is_served_meanwhile(server, hold, lambda: server.must("GET", "/v1/types/functions/test.routed/routes/x"))


def test_modules_of_types(server: InProcess, hold: Hold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slowly_loaded.py").write_text(_MODULE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setitem(sys.modules, "hold_of_a_test", hold)  # type: ignore[arg-type]
    server._services._registry.types.announce({"function": {"test.loaded": "slowly_loaded"}})
    is_served_meanwhile(server, hold, lambda: server.must("GET", "/v1/types/functions/test.loaded"))


def test_lists_while_a_change_waits_for_the_disk(server: InProcess, hold: Hold) -> None:
    registry = server._services._registry

    def change() -> None:
        with registry._lock:  # as for as long as the catalogue is written
            hold.here()

    changing = threading.Thread(target=change)
    changing.start()
    is_served_meanwhile(server, hold, lambda: server.must("GET", "/v1/datasets"))
    changing.join()
