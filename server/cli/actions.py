"""What most commands have in common: they speak to a server, print JSON on demand, and name one of its things."""

from __future__ import annotations

import argparse
from typing import Any

from server.cli.client import add_server_flags
from server.cli.completion import complete_ids
from server.cli.output import add_json_flag


def action(actions: Any, name: str, run: Any, help: str, kind: str = "") -> argparse.ArgumentParser:
    """A sub-command that speaks to a server."""
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help, description=help)
    speaks_to_server(parser, run)
    parser.set_defaults(kind=kind)
    return parser


def speaks_to_server(parser: argparse.ArgumentParser, run: Any) -> None:
    add_server_flags(parser)
    add_json_flag(parser)
    parser.set_defaults(run=run)


def add_id(parser: argparse.ArgumentParser, kind: str, called: str = "id") -> None:
    """The entity that it is about; shells complete it."""
    parser.add_argument(called).completer = complete_ids(kind)  # type: ignore[attr-defined]
