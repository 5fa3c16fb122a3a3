"""What commands print: tables for people, tab-separated lines for pipes, JSON for programs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from server.cli.client import ServerError

_WIDEST = 60  # characters of a cell that are shown
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_STYLES = {
    "ok": "green",
    "finished": "green",
    "error": "bold red",
    "warning": "yellow",
    "executing": "cyan",
    "serving": "green",
    "stopped": "yellow",
    "gone": "yellow",
}


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def show(value: Any) -> None:
    """A value as JSON: in colour and indented on a terminal, else one line."""
    if sys.stdout.isatty():
        from rich import print_json

        print_json(data=value)
    else:
        print(json.dumps(value, ensure_ascii=False))  # noqa: T201


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], options: argparse.Namespace) -> None:
    """Records: JSON when asked for, a table on a terminal, else tab-separated values without a header."""
    if options.json:
        show(list(rows))
    elif sys.stdout.isatty():
        _table(rows, columns)
    else:
        for row in rows:
            print(*(_text(row.get(column)) for column in columns), sep="\t")  # noqa: T201


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")  # names can be copied whole
    for row in rows:
        cells = [_text(row.get(column)) for column in columns]
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    Console().print(table)


def styled(text: str) -> str:
    """A word in its colour, on a terminal."""
    style = _STYLES.get(text)
    if style is None or not sys.stdout.isatty():
        return text
    from rich.console import Console
    from rich.text import Text

    console = Console()
    with console.capture() as captured:
        console.print(Text(text, style=style), end="")
    return captured.get()


def say(text: str, options: argparse.Namespace, **members: Any) -> None:
    """What was done: a sentence, or its ``members`` as JSON."""
    if options.json:
        show(members)
    else:
        print(text)  # noqa: T201


def complain_of(error: Exception, *, as_json: bool = False) -> None:
    """An error on standard error: with its place in the query where it has one, or as the server's JSON."""
    body = error.body if isinstance(error, ServerError) else {"error": _said(error)}
    details = error.details if isinstance(error, ServerError) else {}
    if as_json:
        print(json.dumps(body, ensure_ascii=False), file=sys.stderr)  # noqa: T201
    elif "caret" in details:
        place = f"{details['line']}:{details['column']}"
        text = str(error).rpartition(f":{place}: ")[2]  # the query itself is before it
        complain(f"{place}: {text}\n{details['caret']}")
    elif "lineNumber" in details:
        complain(f"line {details['lineNumber']}: {error}\n{_shortened(details.get('line'))}")
    else:
        complain(_said(error))


def _said(error: Exception) -> str:
    """The text of an error: of files without the number, of a procedure whose first run failed with its reason."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    first = error.details.get("runError") if isinstance(error, ServerError) else None
    return f"{error}: {first['error']}" if isinstance(first, dict) and "error" in first else str(error)


def complain(text: str) -> None:
    """A text on standard error, red on a terminal."""
    shown = f"\x1b[31mmldb: {text}\x1b[0m" if sys.stderr.isatty() else f"mldb: {text}"
    print(shown, file=sys.stderr)  # noqa: T201


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_lines(rows: list[list[Any]]) -> str:
    """Tab-separated lines with all of each value; tabs and ends of lines in one are written as ``\\t`` and ``\\n``."""
    return "\n".join("\t".join(_text(value).translate(_ESCAPES) for value in row) for row in rows)


def as_text(rows: list[list[Any]]) -> str:
    """A table in columns; numbers stand at the right."""
    if not rows:
        return ""
    cells = [[_shortened(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [all(isinstance(value, int | float | None) for value in column[1:]) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            _aligned(text, width, right) for text, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _shortened(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
