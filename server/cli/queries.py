"""``mldb queries`` and ``mldb saved``: queries under way, and those that are kept under names."""

from __future__ import annotations

import argparse
from typing import Any

from server.cli.actions import action
from server.cli.client import Server, segment
from server.cli.completion import complete_names
from server.cli.output import say, show_rows

_UNDER_WAY = "/v1/queries"
_SAVED = "/v1/saved-queries"


def add(commands: Any) -> None:
    running = commands.add_parser("queries", help="queries under way: list, cancel")
    actions = running.add_subparsers(required=True, metavar="ACTION")
    action(actions, "list", _list, "the queries under way, how far and how old they are")
    action(actions, "cancel", _cancel, "stop a query").add_argument("id")
    saved = commands.add_parser("saved", help="saved queries: list, show, add, remove; mldb query --saved runs one")
    actions = saved.add_subparsers(required=True, metavar="ACTION")
    action(actions, "list", _saved, "the saved queries of the server")
    _name(action(actions, "show", _show, "the text of a saved query"))
    _name(action(actions, "remove", _remove, "forget a saved query"))
    new = action(actions, "add", _add, "save a query, in place of one of that name")
    new.add_argument("name")
    new.add_argument("sql")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name").completer = complete_names(saved_names)  # type: ignore[attr-defined]


def saved_names(server: Server) -> list[str]:
    return [each["name"] for each in server.json("GET", _SAVED)]


def saved_text(server: Server, name: str) -> str:
    return str(server.json("GET", _path(name))["query"])


def _path(name: str) -> str:
    return f"{_SAVED}/{segment(name)}"


def _list(options: argparse.Namespace) -> int:
    show_rows(Server(options).json("GET", _UNDER_WAY), ("id", "elapsed", "progress", "rows", "query"), options)
    return 0


def _cancel(options: argparse.Namespace) -> int:
    Server(options).text("DELETE", f"{_UNDER_WAY}/{segment(options.id)}")
    say(f"query {options.id} was cancelled", options, cancelled=options.id)
    return 0


def _saved(options: argparse.Namespace) -> int:
    show_rows(Server(options).json("GET", _SAVED), ("name", "query"), options)
    return 0


def _show(options: argparse.Namespace) -> int:
    found = Server(options).json("GET", _path(options.name))
    say(found["query"], options, **found)
    return 0


def _add(options: argparse.Namespace) -> int:
    made = Server(options).json("PUT", _path(options.name), {"query": options.sql})
    say(f"{options.name} was saved", options, **made)
    return 0


def _remove(options: argparse.Namespace) -> int:
    Server(options).text("DELETE", _path(options.name))
    say(f"{options.name} was removed", options, removed=options.name)
    return 0
