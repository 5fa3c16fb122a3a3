"""The registry of entities, where it cannot do what it was asked to: nothing may stay behind."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.declarations import EntityType, Params
from server.entities.catalogue import Catalogue
from server.entities.registry import Registry
from server.entities.starts import Starts
from server.entities.types import TypeRegistry
from server.errors import MldbError
from tests.datasets.parts import Parts
from tests.inprocess import in_process


class Thing:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def drop(self) -> None:
        self.calls.append("drop")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    parts = Parts(tmp_path)
    yield parts
    parts.database.close()


def registry_of(parts: Parts, create: Callable[[object], Thing]) -> Registry:
    """One that makes things, over the catalogue of the parts."""
    types = TypeRegistry()
    types.register([EntityType("function", "thing", Params, "A thing", create)])
    registry = Registry(types, Catalogue(parts.database))
    registry.attach(parts)  # type: ignore[arg-type]  # parts are fewer than the services that they stand for
    return registry


def test_what_cannot_be_saved_is_not_kept(parts: Parts) -> None:
    made: list[Thing] = []

    def create(_: object) -> Thing:
        made.append(Thing())
        return made[-1]

    registry = registry_of(parts, create)
    registry.create("function", {"id": "a", "type": "thing"})
    with parts.database.transaction() as cursor:
        cursor.execute("DROP TABLE mldb_catalogue")
    with pytest.raises(MldbError, match="internal server error"):
        registry.create("function", {"id": "a", "type": "thing"})
    assert [thing.calls for thing in made] == [[], ["drop", "close"]]
    assert registry.ready("function", "a").entity is made[0]


def test_a_stop_while_entities_are_restored_takes_nothing_from_them(parts: Parts) -> None:
    made: list[Thing] = []
    during: list[Callable[[], None]] = []

    def create(_: object) -> Thing:
        for action in during:
            action()
        made.append(Thing())
        return made[-1]

    registry = registry_of(parts, create)
    for id in ("a", "b"):
        registry.create("function", {"id": id, "type": "thing"})
    made.clear()
    again = registry_of(parts, create)
    during.append(again.close)
    again.restore(again.announce(), Starts())
    assert [thing.calls for thing in made] == [["close"]]  # the one under way; no other is begun
    during[:] = [lambda: again.delete("function", "a")]
    made.clear()
    again = registry_of(parts, create)
    again.restore(again.announce(), Starts())
    assert [thing.calls for thing in made] == [["drop", "close"], []]
    assert again.ids("function") == ["b"]


def test_a_function_that_was_deleted_is_freed(tmp_path: Path) -> None:
    config = {"type": "stemmer", "params": {"language": "english"}}
    with in_process(tmp_path / "data") as server:
        for name in ("gone", "kept"):
            server.must("PUT", f"/v1/functions/{name}", config)
            server.must("GET", f"/v1/functions/{name}/application", {"input": {"words": {"potatoes": 1}}})
        entity = weakref.ref(server._services.function("gone"))
        server.must("DELETE", "/v1/functions/gone")
        server.must("GET", "/v1/functions/kept/application", {"input": {"words": {"potatoes": 1}}})
        gc.collect()
        assert entity() is None
