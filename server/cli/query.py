"""``mldb query``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from server.cli.client import Server, add_server_flags

_FORMATS = ("text", "table", "full", "aos", "soa", "sparse", "atom")
_WIDEST = 60  # characters of a cell that are shown


def add(commands: Any) -> None:
    parser = commands.add_parser("query", help="run an SQL query on a running server")
    parser.add_argument("sql", help="the query; - reads it from standard input")
    parser.add_argument("--format", choices=_FORMATS, default="text", help="text for people, else the API's JSON")
    add_server_flags(parser)
    parser.set_defaults(run=_query)


def _query(options: argparse.Namespace) -> int:
    sql = sys.stdin.read() if options.sql == "-" else options.sql
    format_ = "table" if options.format == "text" else options.format
    rows = Server(options).json("GET", "/v1/query", {"q": sql, "format": format_})
    print(as_text(rows) if options.format == "text" else json.dumps(rows, ensure_ascii=False))  # noqa: T201
    return 0


def as_text(rows: list[list[Any]]) -> str:
    """A table in columns; numbers stand at the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(isinstance(value, int | float | None) for value in column[1:]) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            _aligned(text, width, right) for text, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
