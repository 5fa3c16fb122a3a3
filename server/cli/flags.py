"""The settings table as flags of the command line."""

from __future__ import annotations

import argparse
import os
from typing import Any

from server.settings import Row, Settings, from_environment, parse_boolean, rows

# MLDB's spellings of our flags.
_MLDB_FLAGS = {"host": ["--http-listen-host"], "port": ["--http-listen-port"]}


def add_settings(parser: argparse.ArgumentParser) -> None:
    for row in rows():
        _add_flag(parser, row)


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
