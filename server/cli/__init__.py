"""The ``mldb`` command: one module per sub-command, each with ``add(commands)``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from server import __version__
from server.cli import plugins, query, serve
from server.cli.client import ServerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (OSError, ValueError, ServerError) as error:
        print(f"mldb: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mldb", description="A plugin-hosting server for machine-learning web apps")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (serve, query, plugins):
        module.add(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _version(_: argparse.Namespace) -> int:
    print(__version__)  # noqa: T201
    return 0
