"""What the console shows of every entity, kept as JSON texts so that what has changed is seen by comparing them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from server.entities import jsontext
from server.entities.entry import Entry, Ready, entity_status
from server.entities.registry import Registry
from server.entities.runner import Runner
from server.entities.runs import Run
from server.entities.types import PLURALS

Key = tuple[str, str]  # kind and id
Overview = dict[Key, bytes]

_RUNS_SHOWN: Final = 20  # the latest ones of each procedure


def overview(registry: Registry, runner: Runner, before: Overview) -> Overview:
    """One JSON object per entity; a text that has not changed is the very object of ``before``."""
    found: Overview = {}
    for kind in PLURALS:
        for entry in registry.entries(kind):
            text = jsontext.free_form(summary(entry, runner))
            old = before.get((kind, entry.id))
            found[kind, entry.id] = old if old is not None and old == text else text
    return found


def changes(before: Overview, now: Overview) -> tuple[list[bytes], list[Key]]:
    """The texts that are new or differ, and the keys that are gone."""
    changed = [text for key, text in now.items() if before.get(key) is not text]
    return changed, [key for key in before if key not in now]


def summary(entry: Entry, runner: Runner) -> dict[str, Any]:
    """An entity in short: ``state`` is that of its construction, ``serving`` says whether it can be used."""
    building, ready = entry.building, entry.ready
    config = building.config if building is not None else ready.config if ready is not None else {}
    shown: dict[str, Any] = {
        "kind": entry.kind,
        "id": entry.id,
        "type": config.get("type", ""),
        "state": "ok" if building is None else building.state,
        "serving": ready is not None,
        "persistent": config.get("persistent") is not False,
    }
    if building is not None:
        shown["progress"] = building.progress.to_json()
        if building.error is not None:
            shown["error"] = building.error.body()
    if ready is not None:
        shown.update(_of_kind(ready, runner))
    return shown


def _of_kind(ready: Ready, runner: Runner) -> dict[str, Any]:
    if ready.type.kind == "plugin":
        report = getattr(ready.entity, "report", None)
        return {"plugin": report()} if report is not None else {}
    if ready.type.kind == "dataset":
        return {"status": entity_status(ready.entity) or {}}
    if ready.type.kind == "procedure":
        return {"runs": [_run(run) for run in _latest(runner.of(ready).all())]}
    return {}


def _latest(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.started, reverse=True)[:_RUNS_SHOWN]


def _run(run: Run) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": run.id, "state": run.state, "started": run.started}
    if run.params:
        shown["params"] = run.params
    if run.finished is not None:
        shown["finished"] = run.finished
    if not run.done.is_set():
        shown["progress"] = run.progress.to_json()
    if run.error is not None:
        shown["error"] = run.error.body()
    return shown
