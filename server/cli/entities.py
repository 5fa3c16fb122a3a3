"""``mldb dataset|function|procedure``: listing, showing, creating and removing entities, and what each kind can do."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from server.cli.actions import action, add_id
from server.cli.client import Server, segment
from server.cli.output import as_lines, as_text, say, show, show_rows
from server.cli.waiting import told

EXPORTS = ("csv", "json", "parquet", "arrow")
_HELP = {
    "dataset": "datasets: list, show, create, remove, columns, rows, export",
    "function": "functions: list, show, create, remove, call",
    "procedure": "procedures: list, show, create, remove, runs, cancel",
}


def add(commands: Any) -> None:
    for kind, help in _HELP.items():
        actions = commands.add_parser(kind, help=help).add_subparsers(required=True, metavar="ACTION")
        action(actions, "list", _list, f"the {kind}s of the server", kind)
        add_id(action(actions, "show", _show, f"a {kind} and its state", kind), kind)
        add_id(action(actions, "remove", _remove, f"delete a {kind}", kind), kind)
        create = action(actions, "create", _create, f"create a {kind}, in place of one of that name", kind)
        create.add_argument("id")
        create.add_argument("config", help='JSON such as {"type": …, "params": …}; a file with it; - reads it')
    _add_special(commands)


def _add_special(commands: Any) -> None:
    dataset, function, procedure = (_actions(commands, kind) for kind in _HELP)
    add_id(action(dataset, "columns", _columns, "the names of its columns", "dataset"), "dataset")
    rows = action(dataset, "rows", _rows, "its first rows", "dataset")
    add_id(rows, "dataset")
    rows.add_argument("--limit", type=int, default=10, help="how many (default: 10)")
    export = action(dataset, "export", _export, "write it, or a query's result, to a file", "dataset")
    add_id(export, "dataset")
    export.add_argument("file", help="its ending says how: .csv, .json, .parquet, .arrow; - writes to standard output")
    export.add_argument("--format", choices=EXPORTS, help="in place of the ending")
    call = action(function, "call", _call, "apply a function", "function")
    add_id(call, "function")
    call.add_argument("input", nargs="?", default="{}", help='its input as JSON, such as {"x": 1}; a file; - reads it')
    add_id(action(procedure, "runs", _runs, "the runs of a procedure and their states", "procedure"), "procedure")
    cancel = action(procedure, "cancel", _cancel, "stop a run", "procedure")
    add_id(cancel, "procedure")
    cancel.add_argument("run")


def _actions(commands: Any, kind: str) -> Any:
    return commands.choices[kind]._subparsers._group_actions[0]


def path_of(options: argparse.Namespace) -> str:
    return f"/v1/{options.kind}s/{segment(options.id)}"


def read_json(text: str) -> Any:
    """JSON given as such, in a file, or on standard input; ``ValueError`` says which is wrong."""
    if text == "-":
        text = sys.stdin.read()
    elif not text.lstrip().startswith(("{", "[", '"')) and Path(text).is_file():
        text = Path(text).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"this is neither JSON nor a file with it: {error}") from None


def _list(options: argparse.Namespace) -> int:
    server = Server(options)
    ids = server.json("GET", f"/v1/{options.kind}s")
    states = [server.json("GET", f"/v1/{options.kind}s/{segment(id)}") for id in ids]
    if options.kind != "dataset":
        show_rows(states, ("id", "state", "type"), options)
        return 0
    sizes = ("rowCount", "columnCount")
    show_rows(
        states if options.json else [each | (each.get("status") or {}) for each in states],
        ("id", "state", "type", *sizes),
        options,
    )
    return 0


def _show(options: argparse.Namespace) -> int:
    show(Server(options).json("GET", path_of(options)))
    return 0


def _remove(options: argparse.Namespace) -> int:
    server = Server(options)
    server.json("GET", path_of(options))  # a name that nobody has is an error, not silence
    server.text("DELETE", path_of(options))
    say(f"{options.kind} {options.id} was removed", options, removed=options.id)
    return 0


def _create(options: argparse.Namespace) -> int:
    status = Server(options).json("PUT", path_of(options), read_json(options.config))
    say(f"{options.kind} {options.id} was created", options, **status)
    return 0


def _columns(options: argparse.Namespace) -> int:
    names = Server(options).json("GET", f"{path_of(options)}/columns")
    show_rows([{"name": name} for name in names], ("name",), options)
    return 0


def _export(options: argparse.Namespace) -> int:
    Server(options).json("GET", path_of(options))  # a name that nobody has is an error, not an empty file
    export(options, f"SELECT * FROM {quoted(options.id)}")
    return 0


def export(options: argparse.Namespace, sql: str) -> None:
    """Write the result of a query to ``options.file``, whole or not at all."""
    to_stdout = options.file == "-"
    form = options.format or Path(options.file).suffix.removeprefix(".")
    if form not in EXPORTS:
        raise ValueError(f"{options.file}: the ending is none of {', '.join(EXPORTS)}; --format says it otherwise")
    params = {"q": sql, "format": form}
    if to_stdout:
        Server(options).download("/v1/query/export", sys.stdout.buffer, params)
        return
    target = Path(options.file)
    draft = target.with_name(f".{target.name}.part")
    try:
        server = Server(options)
        with draft.open("wb") as content, told(server) as headers:
            size = server.download("/v1/query/export", content, params, headers)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    say(f"{target}: {size} bytes", options, file=str(target), bytes=size)


def quoted(name: str) -> str:
    """SQL spelling of a name."""
    return '"' + name.replace('"', '""') + '"'


def _rows(options: argparse.Namespace) -> int:
    query = {"q": f"SELECT * FROM {quoted(options.id)} LIMIT {options.limit}"}
    server = Server(options)
    if options.json:
        show(server.json("GET", "/v1/query", {**query, "format": "aos"}))
    else:
        rows = server.json("GET", "/v1/query", {**query, "format": "table"})
        print(as_text(rows) if sys.stdout.isatty() else as_lines(rows))  # noqa: T201
    return 0


def _call(options: argparse.Namespace) -> int:
    body = {"input": read_json(options.input)}
    show(Server(options).json("GET", f"{path_of(options)}/application", body)["output"])
    return 0


def _runs(options: argparse.Namespace) -> int:
    server = Server(options)
    path = f"{path_of(options)}/runs"
    runs = [server.json("GET", f"{path}/{segment(run)}") for run in server.json("GET", path)]
    show_rows(runs, ("id", "state", "runStarted", "runFinished"), options)
    return 0


def _cancel(options: argparse.Namespace) -> int:
    state = f"{path_of(options)}/runs/{segment(options.run)}/state"
    Server(options).text("PUT", state, {"state": "cancelled"})
    say(f"run {options.run} was cancelled", options, cancelled=options.run)
    return 0
