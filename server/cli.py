"""The ``mldb`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from server import __version__
from server.settings import Row, Settings, from_environment, parse_boolean, rows

# MLDB's spellings of our flags.
_MLDB_FLAGS = {"host": ["--http-listen-host"], "port": ["--http-listen-port"]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except (OSError, ValueError) as error:
        print(f"mldb: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mldb", description="A plugin-hosting server for machine-learning web apps")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serve(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser("serve", help="run the server", formatter_class=argparse.RawTextHelpFormatter)
    for row in rows():
        _add_flag(serve, row)
    serve.set_defaults(run=_serve)


def _add_flag(parser: argparse.ArgumentParser, row: Row) -> None:
    default = ", ".join(map(str, row.default)) if row.repeat else row.default
    shown = "none" if default == "" else default
    options: dict[str, Any] = {
        "dest": row.name,
        "default": argparse.SUPPRESS,
        "help": f"{row.help}\n(default: {shown}; {row.variable})".replace("%", "%%"),
    }
    if row.kind is bool:
        options |= {"nargs": "?", "const": True, "type": parse_boolean, "metavar": "BOOL"}
    else:
        options |= {"type": row.kind, "metavar": row.kind.__name__.upper()}
    if row.repeat:
        options["action"] = "append"
    parser.add_argument(row.flag, *_MLDB_FLAGS.get(row.name, ()), **options)


def settings_from(options: argparse.Namespace) -> Settings:
    """Flags over environment over defaults."""
    given = {row.name: getattr(options, row.name) for row in rows() if hasattr(options, row.name)}
    return Settings(**from_environment(os.environ) | given)


def _serve(options: argparse.Namespace) -> int:
    from server.serve import serve

    return serve(settings_from(options))


def _version(_: argparse.Namespace) -> int:
    print(__version__)  # noqa: T201
    return 0
