"""The registry of entities: one collection per kind, with states, overwriting, cancelling and deletion
(rest-api.md §4). Everything here is called from worker threads and may take as long as a constructor takes; no lock
is held while an entity is built.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from server import tasks
from server.declarations import Creation, EntityKind
from server.entities import inline
from server.entities.configs import check_id, generated_id
from server.entities.entry import Building, Entry, Ready, Unreachable, exists, missing
from server.entities.progress import TaskProgress
from server.entities.types import PLURALS, TypeRegistry, validate
from server.errors import Cancelled, Conflict, MldbError, from_defect

if TYPE_CHECKING:
    from server.declarations import Services
    from server.entities.catalogue import Catalogue, Record
    from server.entities.starts import Starts

log = logging.getLogger("mldb.server")

_MADE = "inlineDatasets"  # of what an entity keeps in the catalogue: the datasets that it was made with

Announced = tuple[Entry, Building, "Record"]  # a saved entity that waits to be built again


class Registry:
    """Entities of all kinds by id. ``version`` grows with every change of an entity or of stored data."""

    def __init__(self, types: TypeRegistry, catalogue: Catalogue) -> None:
        self.types = types
        self.catalogue = catalogue
        self._changes = 0
        self.restored = threading.Event()  # set when all that was there before the start is there again
        self._closing = False
        self._services: Services | None = None
        self._entries: dict[EntityKind, dict[str, Entry]] = {kind: {} for kind in PLURALS}
        self._lock = threading.Lock()
        self._checks: list[Callable[[EntityKind, str], None]] = []

    def attach(self, services: Services) -> None:
        self._services = services

    def add_check(self, check: Callable[[EntityKind, str], None]) -> None:
        """``check(kind, id)`` runs before an entity is built and raises to refuse the id."""
        self._checks.append(check)

    def check(self, kind: EntityKind, id: str) -> None:
        """``MldbError`` when an entity of this kind may not have this id."""
        check_id(id)
        for check in self._checks:
            check(kind, id)

    @property
    def version(self) -> int:
        """What is looked up under one version stays valid as long as the version does."""
        return self._changes + self.catalogue.commits

    @property
    def services(self) -> Services:
        assert self._services is not None, "attach() comes first"
        return self._services

    def touch(self) -> None:
        """Data or definitions changed: compiled queries must be made anew."""
        with self._lock:
            self._changes += 1

    # ── looking up ──

    def ids(self, kind: EntityKind) -> list[str]:
        with self._lock:
            return sorted(self._entries[kind], key=lambda id: id.encode("utf-8", "surrogatepass"))

    def entries(self, kind: EntityKind) -> list[Entry]:
        with self._lock:
            return list(self._entries[kind].values())

    def find(self, kind: EntityKind, id: str) -> Entry | None:
        return self._entries[kind].get(id)

    def serving(self, kind: EntityKind, id: str) -> Ready | None:
        """The entity that is in service, None without any."""
        found = self._entries[kind].get(id)
        return None if found is None else found.ready

    def entry(self, kind: EntityKind, id: str) -> Entry:
        found = self._entries[kind].get(id)
        if found is None:
            raise missing(kind, id)
        return found

    def ready(self, kind: EntityKind, id: str) -> Ready:
        """An entity for use by queries and other entities: 404 when missing, 409 when not ready."""
        found = self.entry(kind, id)
        if found.ready is None:
            raise Conflict(f"{kind} entry '{id}' exists but is not ready")
        return found.ready

    def reachable(self, kind: EntityKind, id: str) -> Ready:
        """An entity for its sub-routes: ``Unreachable`` when it is missing or not ready."""
        found = self._entries[kind].get(id)
        if found is not None and found.ready is not None:
            return found.ready
        members: dict[str, Any] = {"kind": kind, "resource": id}
        if found is None or found.building is None:
            raise Unreachable(f"{kind} entry '{id}' does not exist or has been deleted", members)
        building = found.building
        members |= {"state": building.state, "progress": building.progress_json()}
        reason = {"error": "due to error in creation", "cancelled": "due to cancellation"}
        text = reason.get(building.state, "as it is still being created")
        raise Unreachable(f"{kind} entry '{id}' not available {text}", members)

    # ── creating ──

    def create(
        self, kind: EntityKind, config: Mapping[str, Any], *, must_be_new: bool = False, background: bool = False
    ) -> Entry:
        """Build (or overwrite) the entity that a checked config describes; its entry.

        ``background`` returns as soon as the entry is visible. Raises what the constructor raises; the entry then
        stays, in state error.
        """
        config = dict(config)
        config["id"] = check_id(config.get("id") or generated_id(config))
        existing = self._entries[kind].get(config["id"])
        if not config.get("type") and existing is not None and existing.ready is not None:
            return existing
        entry, building = self._begin(kind, config, must_be_new)
        if background:
            threading.Thread(target=self._build_quietly, args=(entry, building), daemon=True).start()
        else:
            self._build(entry, building)
        return entry

    def _begin(self, kind: EntityKind, config: dict[str, Any], must_be_new: bool) -> tuple[Entry, Building]:
        id = config["id"]
        with self._lock:
            entry = self._entries[kind].get(id)
            if entry is not None and must_be_new and (entry.ready is not None or entry.under_construction):
                raise exists(kind, id)
            if entry is not None and entry.under_construction:
                raise Conflict(f"entry '{id}' in {kind} could not be overwritten because it is being constructed")
            if entry is None:
                entry = self._entries[kind][id] = Entry(kind, id)
            building = entry.building = Building(config)
        return entry, building

    def _build_quietly(self, entry: Entry, building: Building) -> None:
        try:
            self._build(entry, building)
        except MldbError as error:
            log.info("%s '%s' was not created: %s", entry.kind, entry.id, error.message)

    def _build(self, entry: Entry, building: Building, record: Record | None = None) -> None:
        building.thread = threading.get_ident()
        try:
            ready = self._construct(entry, building, record)
            self._install(entry, building, ready, record)
        except Cancelled as error:
            building.error = error
            raise Conflict(f"{entry.kind} entry '{entry.id}' could not be obtained") from None
        except MldbError as error:
            building.error = error
            raise
        except Exception as error:
            log.exception("%s '%s' could not be built", entry.kind, entry.id)
            building.error = from_defect(error)
            raise building.error from error
        finally:
            building.done.set()

    def _construct(self, entry: Entry, building: Building, record: Record | None) -> Ready:
        config = building.config
        if not config.get("type"):
            noun = f"{entry.kind} with id {entry.id}"
            raise MldbError(f"Attempt to refer to nonexistant {noun}", details={"id": entry.id})
        declared = self.types.get(entry.kind, config["type"])
        self.check(entry.kind, entry.id)
        params = validate(declared, config.get("params"))
        stored = record.stored if record is not None else None
        creation = Creation(entry.id, config, params, self.services, building.progress, stored)
        outer = tasks.current()
        part = outer.containing(building.progress) if isinstance(outer, TaskProgress) else nullcontext()
        with part, tasks.acting_for(building.progress), inline.making(lasting=entry.kind == "dataset") as made:
            try:
                entity = declared.create(creation)
            except BaseException:
                self.delete_datasets(made)
                raise
        if entry.kind == "procedure":  # each run makes its own
            self.delete_datasets(made)
            made = []
        if record is not None and isinstance(stored, dict):
            made += stored.get(_MADE, ())
        return Ready(config, declared, params, entity, persisted(entity, made), made=made)

    def _install(self, entry: Entry, building: Building, ready: Ready, record: Record | None) -> None:
        """Make a built entity the one in service; the old one may go then. One that cannot be goes itself, but keeps
        what it has stored when it was there before: the server stops, and will start again."""
        try:
            old = self._replace(entry, building, ready, record)
        except BaseException:
            if record is not None and self._entries[entry.kind].get(entry.id) is entry:
                call_hook(ready.entity, "close")
            else:
                self._discard(ready)
            raise
        if old is not None:
            self._discard(old)

    def _discard(self, ready: Ready) -> None:
        """Remove what a deleted or replaced entity stored, and free what it holds."""
        call_hook(ready.entity, "drop")
        call_hook(ready.entity, "close")
        self.delete_datasets(ready.made)

    def delete_datasets(self, ids: list[str]) -> None:
        for id in ids:
            self.delete("dataset", id)

    def _replace(self, entry: Entry, building: Building, ready: Ready, record: Record | None) -> Ready | None:
        """First on disk, then in memory; what was in service before."""
        with self._lock:
            if building.progress.cancelled or self._entries[entry.kind].get(entry.id) is not entry:
                raise Cancelled("deleted while it was being built")
            if record is None and ready.config.get("persistent") is not False:
                self.catalogue.save(entry.kind, entry.id, ready.config, ready.stored)
            elif record is None:
                self.catalogue.remove(entry.kind, entry.id)
            old, entry.ready = entry.ready, ready
            entry.building = None
            self._changes += 1
        return old

    # ── after changes ──

    def changed(self, kind: EntityKind, id: str) -> None:
        """An entity's content changed (a commit): keep what it now says of itself."""
        ready = self.serving(kind, id)
        with self._lock:
            self._changes += 1
            if ready is None or ready.config.get("persistent") is False:
                return
            stored = persisted(ready.entity, ready.made)
            if stored != ready.stored:
                ready.stored = stored
                self.catalogue.save(kind, id, ready.config, stored)

    def keep_run(self, ready: Ready, id: str, saved: dict[str, Any], kept: int) -> None:
        """Save a run of a procedure unless the procedure has been replaced or deleted, or is of this session only."""
        if ready.config.get("persistent") is False:
            return
        procedure = ready.config["id"]
        with self._lock:
            if self.serving("procedure", procedure) is ready:
                self.catalogue.save_run(procedure, id, saved, kept)

    def delete(self, kind: EntityKind, id: str) -> None:
        """Remove an entity; cancels a construction under way and waits for its end. A missing id is fine."""
        with self._lock:
            entry = self._entries[kind].pop(id, None)
            if entry is not None:
                self.catalogue.remove(kind, id)
                self._changes += 1
        if entry is None:
            return
        building = entry.building
        if building is not None and not building.done.is_set():
            building.progress.cancel()
            if building.thread != threading.get_ident():
                building.done.wait()
        if entry.ready is not None:
            self._discard(entry.ready)

    # ── life of the server ──

    def announce(self) -> list[Announced]:
        """Enter what the catalogue holds as under construction, so that nobody takes it for missing."""
        waiting = []
        for record in self.catalogue.records():
            entry = Entry(record.kind, record.id, building=Building(record.config))
            self._entries[record.kind][record.id] = entry
            assert entry.building is not None
            waiting.append((entry, entry.building, record))
        return waiting

    def restore(self, waiting: list[Announced], starts: Starts) -> None:
        """Re-create the announced entities in their order, plugins last: they may use the others, and take their time.

        What fails stays visible, and in the catalogue.
        """
        begun = time.monotonic()
        plugins = [each for each in waiting if each[0].kind == "plugin"]
        for each in waiting:
            if each[0].kind != "plugin" and not self._closing:
                self._restore(*each)
        if len(plugins) < len(waiting):
            log.info("restored %d entities in %.1f s", len(waiting) - len(plugins), time.monotonic() - begun)
        for each in plugins:
            if not self._closing:
                starts.begin(partial(self._restore, *each))

    def _restore(self, entry: Entry, building: Building, record: Record) -> None:
        try:
            self._build(entry, building, record)
        except MldbError as error:
            log.warning("%s '%s' was not restored: %s", entry.kind, entry.id, error.message)

    def close(self) -> None:
        """Shut down: cancel what is being built and close every entity (stored data stay)."""
        self._closing = True
        entries = [entry for kind in PLURALS for entry in self.entries(kind)]
        for entry in entries:
            if entry.building is not None:
                entry.building.progress.cancel()
        for entry in reversed(entries):
            if entry.ready is not None:
                call_hook(entry.ready.entity, "close")


def persisted(entity: Any, made: list[str]) -> Any:
    persist = getattr(entity, "persist", None)
    stored = None if persist is None else persist()
    return {**stored, _MADE: made} if made and isinstance(stored, dict) else stored


def call_hook(entity: Any, name: str) -> None:
    hook = getattr(entity, name, None)
    if hook is None:
        return
    try:
        hook()
    except Exception:
        # The entity is out of service already: its clean-up must not fail the request that replaced it.
        log.exception("%s of %s failed", name, type(entity).__name__)
