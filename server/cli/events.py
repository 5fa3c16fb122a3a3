"""``mldb events``: what happens to entities, runs and plugins, as it happens, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from server.cli.actions import speaks_to_server
from server.cli.client import Server
from server.cli.output import styled

_KINDS = ("plugin", "dataset", "function", "procedure")


def add(commands: Any) -> None:
    help = "follow what happens to entities, runs and plugins"
    parser = commands.add_parser("events", help=help, description=help)
    parser.add_argument("--kind", choices=_KINDS, action="append", help="only of this kind; may be given several times")
    parser.add_argument("--all", action="store_true", help="begin with what is there")
    speaks_to_server(parser, _events)


def _events(options: argparse.Namespace) -> int:
    wanted = set(options.kind or _KINDS)
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for name, data in messages(Server(options).lines("/v1/events")):
        first = name == "all" and not known
        for entity in data["changed"]:
            key = (entity["kind"], entity["id"])
            before, known[key] = known.get(key), entity
            if entity["kind"] in wanted and (options.all or not first):
                _tell(entity, before, options)
        for kind, id in data["gone"]:
            known.pop((kind, id), None)
            if kind in wanted:
                _tell({"kind": kind, "id": id, "state": "gone"}, None, options)
    return 0


def messages(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Name and JSON of each message of an event stream."""
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def _tell(entity: dict[str, Any], before: dict[str, Any] | None, options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(entity, ensure_ascii=False), flush=True)  # noqa: T201
        return
    line = (time.strftime("%H:%M:%S"), entity["kind"], entity["id"], *_what(entity, before))
    print(*(styled(each) for each in line), sep="  " if sys.stdout.isatty() else "\t", flush=True)  # noqa: T201


def _what(entity: dict[str, Any], before: dict[str, Any] | None) -> tuple[str, str]:
    """The state to tell of, and what is known beside it: of the newest run of a procedure, of a plugin's worker."""
    error = (entity.get("error") or {}).get("error", "")
    runs = entity.get("runs") or ()
    if runs and (before is None or before.get("runs") != entity["runs"]):
        run = runs[0]
        steps = (run.get("progress") or {}).get("steps") or ()
        under_way = [f"{step['name']} {step['value']:.0%}" for step in steps if step["type"] == "percentile"]
        said = (run.get("error") or {}).get("error", "") or " ".join(under_way[-1:])
        return run["state"], f"run {run['id']} {said}".rstrip()
    if report := entity.get("plugin"):
        failure = report.get("lastFailure") or report.get("lastError") or {}
        said = ": ".join(failure[part] for part in ("request", "message") if part in failure)
        return report["state"], said or f"generation {report['generation']}"
    return entity["state"], error
