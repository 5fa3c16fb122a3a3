"""``mldb run``: procedures with their progress; Ctrl-C cancels the work, not only the command."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from server.cli.actions import speaks_to_server
from server.cli.client import ServerError
from server.cli.completion import complete_ids
from server.cli.entities import read_json
from server.cli.output import say, show, show_rows
from server.cli.reports import functions, measures


def add(commands: Any) -> None:
    run = commands.add_parser("run", help="run a procedure, with its progress")
    name = run.add_argument("procedure", help='its name; or JSON such as {"type": …}, a file with it, or - to read it')
    name.completer = complete_ids("procedure")
    run.add_argument("--params", type=json.loads, default={}, metavar="JSON", help="merged over its parameters")
    speaks_to_server(run, _run)


def _run(options: argparse.Namespace) -> int:
    if options.procedure == "-" or options.procedure.lstrip().startswith("{") or Path(options.procedure).is_file():
        config = read_json(options.procedure)
        config["params"] = {**(config.get("params") or {}), **options.params}
        finished = tracked(options, config)
    else:
        finished = tracked(options, {"params": options.params}, options.procedure)
    if options.json:
        show(finished)
    else:
        say(f"run {finished['id']}: {finished['state']}", options)
        _report(finished.get("status"), options)
    return 0


def _report(status: Any, options: argparse.Namespace) -> None:
    """What a run made: all of it as JSON, but on a terminal what people look for in that of a test."""
    rows = measures(status) if sys.stdout.isatty() else []
    if rows:
        show_rows(rows, list(rows[0]), options)
        made = f"scored by {', '.join(functions(status))}; " if functions(status) else ""
        say(f"{made}--json tells the rest", options)
    elif status is not None:
        show(status)


def tracked(options: argparse.Namespace, config: dict[str, Any], procedure: str = "") -> dict[str, Any]:
    """The finished run of a procedure, by its config or by the name of one that is there."""
    from pymldb import Connection, ResourceError
    from pymldb.connection import generated_run_id
    from requests import RequestException

    from runtime.calls import run_path

    connection = Connection(options.server, notebook=False, token=options.token)
    try:
        if not procedure:
            finished = connection.post_and_track_procedure(config)
        else:
            finished = connection.put_and_track(run_path(procedure, generated_run_id()), config)
    except ResourceError as error:
        raise _reason(error.result) from None
    except RequestException as error:
        raise ServerError(f"{options.server} does not answer: {error}") from None
    run: dict[str, Any] = finished.json()
    return run


def _reason(answer: Any) -> ServerError:
    try:
        body = answer.json()
    except ValueError:
        return ServerError(str(answer.text))
    details = body.get("details")
    first = (details.get("runError") if isinstance(details, dict) else None) or body
    return ServerError(str(first.get("error", body)), first)
