"""``mldb plugin list|new|logs|reload|stop|test|install|remove``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from server.cli import plugin_folders
from server.cli.actions import action, add_id
from server.cli.client import Server, add_place_flags, segment
from server.cli.output import say, show, show_rows
from server.entities.scaffold import TYPES, create_plugin

_SHOWN_OF_REVISION = 10  # characters, as git shows them


def add(commands: Any) -> None:
    parser = commands.add_parser("plugin", help="plugins: new, install, list, logs, reload, stop, test, remove")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    action(actions, "list", _list, "the plugins of a running server and how they are")
    add_id(action(actions, "logs", _logs, "the log of a plugin"), "plugin", "name")
    add_id(action(actions, "reload", _reload, "start a plugin anew"), "plugin", "name")
    add_id(action(actions, "stop", _stop, "end a plugin's worker until it is reloaded"), "plugin", "name")
    new = actions.add_parser("new", help="make the folder of a new plugin")
    new.add_argument("name")
    new.add_argument("--type", choices=TYPES, default="python", help="its language (default: python)")
    add_place_flags(new)
    new.set_defaults(run=_new)
    plugin_folders.add_actions(actions)


def _path(options: argparse.Namespace) -> str:
    return f"/v1/plugins/{segment(options.name)}"


def _list(options: argparse.Namespace) -> int:
    server = Server(options)
    rows = [_row(server, f"/v1/plugins/{segment(id)}") for id in server.json("GET", "/v1/plugins")]
    found = [column for column in ("failure", "request", "code") if any(row[column] for row in rows)]
    show_rows(rows, ("id", "state", "type", *found), options)
    return 0


def _row(server: Server, path: str) -> dict[str, Any]:
    """The status of a plugin with its ``failure``, the ``request`` that failed last, and the commit of its ``code``."""
    status = server.json("GET", path)
    report = server.json("GET", f"{path}/report") if status["state"] == "ok" else {}
    source, failed = report.get("source", {}), report.get("lastError")
    revision = source.get("commit") or source.get("revision") or ""
    code = f"{source.get('branch', '')}@{revision[:_SHOWN_OF_REVISION]}" if revision else ""
    request = f"{failed['request']} failed at {_told(failed)}" if failed else ""
    return {**status, "report": report, "code": code, "failure": _failure(status), "request": request}


def _told(failure: dict[str, Any]) -> str:
    place = f"{failure['file']}:{failure['line']}: " if failure.get("file") else ""
    return f"{failure['time']}: {place}{failure['message']}"


def _failure(status: dict[str, Any]) -> str:
    """When the newest version of a plugin failed or its worker ended, where and why; "" when neither happened."""
    failure = (status.get("status") or {}).get("lastFailure") or (status.get("progress") or {}).get("exception")
    if failure is None:
        return ""
    if "error" in failure:
        raised = (failure.get("details") or {}).get("exception")
        if not raised:
            return str(failure["error"])
        return f"{raised['scriptUri']}:{raised['lineNumber']}: {raised['type']}: {raised['message']}"
    if failure["message"].startswith("the worker "):
        return f"{failure['message']} at {failure['time']}; restarts: {status['status']['restarts']}"
    return f"newest version failed at {_told(failure)}"


def _logs(options: argparse.Namespace) -> int:
    server = Server(options)
    server.json("GET", _path(options))  # a name that nobody has is an error, not silence
    if options.json:
        lines = server.text("GET", "/logs/mldb", params={"source": options.name, "format": "jsonl"})
        show([json.loads(line) for line in lines.splitlines()])
        return 0
    text = server.text("GET", "/logs/mldb", params={"source": options.name, "format": "text"})
    print(text, end="")  # noqa: T201
    return 0


def _reload(options: argparse.Namespace) -> int:
    status = Server(options).json("POST", f"{_path(options)}/reload", {})
    say(f"{options.name} was reloaded", options, **status)
    return 0


def _stop(options: argparse.Namespace) -> int:
    status = Server(options).json("POST", f"{_path(options)}/stop", {})
    say(f"{options.name} was stopped", options, **status)
    return 0


def _new(options: argparse.Namespace) -> int:
    if options.server:
        Server(options).text("POST", f"/v1/plugin-folders/{segment(options.name)}", None, {"type": options.type})
        page = f"{options.server.rstrip('/')}/v1/plugins/{options.name}/routes/static/index.html"
        print(f"{options.name} was made: {page}")  # noqa: T201
        return 0
    folder = create_plugin(options.data_dir / "plugins", options.name, options.type)
    page = f"/v1/plugins/{options.name}/routes/static/index.html"
    print(f"{folder} was made; a server with the data root {options.data_dir} shows it at {page}")  # noqa: T201
    return 0
