"""Completion of the shell: ``mldb completion bash|zsh|fish`` prints what a shell needs, entities come by name."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.cli.client import Server

_SECONDS = 1.0  # a key press waits no longer for a server


def add(commands: Any) -> None:
    parser = commands.add_parser("completion", help="print the shell code that completes mldb's commands")
    parser.add_argument(
        "shell", choices=("bash", "zsh", "fish", "powershell"), help='for bash: eval "$(mldb completion bash)"'
    )
    parser.set_defaults(run=_completion)


def _completion(options: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["mldb"], shell=options.shell))  # noqa: T201
    return 0


def autocomplete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and exit; nothing when nobody asks."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def complete_ids(kind: str) -> Callable[..., list[str]]:
    """A completer with the names of the server's entities."""
    return complete_names(lambda server: server.json("GET", f"/v1/{kind}s"))


def complete_names(names_of: Callable[[Server], list[str]]) -> Callable[..., list[str]]:
    """A completer with names that the server knows; none when it does not answer in time."""

    def names(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        from server.cli.client import Server, ServerError

        try:
            return names_of(Server(parsed_args, timeout=_SECONDS))
        except ServerError:
            return []

    return names
