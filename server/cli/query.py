"""``mldb query``: one query, or many in a row with history and completion."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from server.cli.actions import speaks_to_server
from server.cli.client import Server, ServerError, segment
from server.cli.completion import complete_names
from server.cli.output import as_lines, as_text, complain, complain_of
from server.cli.queries import saved_names, saved_text
from server.cli.waiting import told

_FORMATS = ("text", "tsv", "csv", "table", "full", "aos", "soa", "sparse", "atom")
_KEYWORDS = (
    "SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT OFFSET WHEN NAMED JOIN LEFT OUTER ON AS AND OR NOT NULL IS IN"
)
_TABLES = {"text": as_text, "tsv": as_lines}
_WORD = re.compile(r"\w+")
_MOST_COLUMNS = 1000  # of a dataset, to be completed
_LEAVES = ("\\q", "exit", "quit")
_ASKS_FOR_HELP = ("help", "?")
_HELP = """\
A query ends with ; and Enter.
  \\d           the datasets          \\d NAME    the columns of one
  \\s           the saved queries     \\s NAME    run one
  \\f FORMAT    how results are shown  \\q         leave (as does Ctrl-D)
"""


def add(commands: Any) -> None:
    parser = commands.add_parser("query", help="run an SQL query on a running server; without one, ask for many")
    parser.add_argument("sql", nargs="?", help="the query; - reads it from standard input")
    saved = parser.add_argument("--saved", metavar="NAME", help="run the query that is saved under this name")
    saved.completer = complete_names(saved_names)
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="text, as on a terminal; tsv (tab-separated), as into a pipe; csv; else the API's JSON",
    )
    speaks_to_server(parser, _query)


def _query(options: argparse.Namespace) -> int:
    if options.format is None:
        options.format = "aos" if options.json else "text" if sys.stdout.isatty() else "tsv"
    if options.saved is not None and options.sql is not None:
        raise ValueError("either a query or --saved, not both")
    if options.saved is None and options.sql is None and sys.stdin.isatty():
        return Session(options).loop()
    if options.saved is not None:
        sql = saved_text(Server(options), options.saved)
    else:
        sql = sys.stdin.read() if options.sql in (None, "-") else options.sql
    print(answer(Server(options), sql, options.format))  # noqa: T201
    return 0


def answer(server: Server, sql: str, format: str) -> str:
    """The result of a query as text, in the format asked for."""
    with told(server) as headers:
        if format == "csv":
            params = {"q": sql, "format": "csv"}
            return server.text("GET", "/v1/query/export", params=params, headers=headers).rstrip("\n")
        asked = {"q": sql, "format": "table" if format in _TABLES else format}
        rows = server.json("GET", "/v1/query", asked, headers)
    return _TABLES[format](rows) if format in _TABLES else json.dumps(rows, ensure_ascii=False)


class Session:
    """Queries typed one after the other. What was typed is kept for the next session."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._server = Server(options)
        self._format: str = options.format
        self._known_columns: dict[str, list[str]] = {}

    def loop(self) -> int:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.filters import Condition
        from prompt_toolkit.history import FileHistory
        from prompt_toolkit.lexers import PygmentsLexer
        from pygments.lexers.sql import SqlLexer

        session: PromptSession[str] = PromptSession(
            history=FileHistory(str(history_file())),
            lexer=PygmentsLexer(SqlLexer),
            completer=self._completer(),
            complete_while_typing=False,
            multiline=Condition(lambda: not complete(session.default_buffer.text)),
            prompt_continuation="  ...> ",
        )
        print(_HELP, end="")  # noqa: T201
        while True:
            try:
                line = session.prompt("mldb> ").strip()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return 0
            if line in _LEAVES:
                return 0
            self.run(line)

    def run(self, line: str) -> None:
        """Answer a line; errors are told, none ends the session."""
        try:
            if line in _ASKS_FOR_HELP:
                self._command()
            elif line.startswith("\\"):
                self._command(*line[1:].split(maxsplit=1))
            elif line.rstrip(";").strip():
                print(answer(self._server, line.rstrip(";"), self._format))  # noqa: T201
        except KeyboardInterrupt:
            complain("stopped")
        except ServerError as error:
            complain_of(error)

    def _command(self, name: str = "?", argument: str = "", *_: str) -> None:
        if name == "d":
            path = f"/v1/datasets/{segment(argument)}/columns" if argument else "/v1/datasets"
            print(*self._server.json("GET", path), sep="\n")  # noqa: T201
        elif name == "s" and argument:
            self.run(saved_text(self._server, argument))
        elif name == "s":
            print(*saved_names(self._server), sep="\n")  # noqa: T201
        elif name == "f" and argument in _FORMATS:
            self._format = argument
        else:
            print(f"formats: {', '.join(_FORMATS)}\n{_HELP}", end="")  # noqa: T201

    def _completer(self) -> Any:
        """Words of the dialect, names of datasets and functions, and the columns of the datasets that are named."""
        from prompt_toolkit.application import get_app
        from prompt_toolkit.completion import DynamicCompleter, WordCompleter

        datasets = self._server.json("GET", "/v1/datasets")
        builtins = [each["name"] for each in self._server.json("GET", "/v1/dialect")["functions"]]
        words = [*_KEYWORDS.split(), *datasets, *self._server.json("GET", "/v1/functions"), *builtins]

        def completer() -> WordCompleter:
            named = set(_WORD.findall(get_app().current_buffer.text)).intersection(datasets)
            columns = [column for dataset in sorted(named) for column in self._columns(dataset)]
            return WordCompleter([*columns, *words], ignore_case=True)

        return DynamicCompleter(completer)

    def _columns(self, dataset: str) -> list[str]:
        if dataset not in self._known_columns:
            try:
                path = f"/v1/datasets/{segment(dataset)}/columns?limit={_MOST_COLUMNS}"
                self._known_columns[dataset] = self._server.json("GET", path)
            except ServerError:  # it may be gone; the query will tell
                self._known_columns[dataset] = []
        return self._known_columns[dataset]


def complete(text: str) -> bool:
    """Whether Enter ends what was typed, or begins a new line of it."""
    text = text.strip()
    return not text or text.endswith(";") or text.startswith("\\") or text in (*_LEAVES, *_ASKS_FOR_HELP)


def history_file() -> Path:
    """Where what was typed is kept; readable by its owner only, as queries may hold secrets."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "mldb"
    state.mkdir(parents=True, exist_ok=True)
    file = state / "query_history"
    file.touch(mode=0o600)
    return file
