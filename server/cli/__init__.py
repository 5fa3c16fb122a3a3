"""The ``mldb`` command: one module per sub-command or family of them, each with ``add(commands)``.

Exit codes: 0 done, 1 an error, 2 wrong use, 3 no server there, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from server import __version__
from server.cli import backup, completion, doctor, entities, events, imports, plugins, queries, query, run, serve
from server.cli.client import ServerError, Unreachable
from server.cli.output import complain_of

_WRONG_USE = 2
_UNREACHABLE = 3
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    parser = _parser()
    completion.autocomplete(parser)
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help(sys.stderr)
        return _WRONG_USE
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (OSError, ValueError, ServerError) as error:
        complain_of(error, as_json=getattr(options, "json", False))
        return _UNREACHABLE if isinstance(error, Unreachable) else 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mldb", description="A plugin-hosting server for machine-learning web apps")
    commands = parser.add_subparsers(metavar="COMMAND")
    for module in (serve, query, queries, run, imports, entities, plugins, events, backup, doctor, completion):
        module.add(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _version(_: argparse.Namespace) -> int:
    print(__version__)  # noqa: T201
    return 0
