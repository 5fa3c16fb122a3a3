"""``mldb serve``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from server.cli.flags import add_settings, settings_from
from server.settings import parse_boolean


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "serve", allow_abbrev=False, help="run the server", formatter_class=argparse.RawTextHelpFormatter
    )
    add_settings(parser)
    script = parser.add_argument_group("a script to run at the start")
    script.add_argument(
        "--run-script", type=Path, metavar="FILE", help="run this script, .py or .js, print its answer and exit"
    )
    script.add_argument("--script-args", type=json.loads, metavar="JSON", help="what the script finds as its args")
    script.add_argument("--script-args-url", default="", metavar="URL", help="the JSON that it finds as its args")
    script.add_argument(
        "--dont-exit-after-script",
        nargs="?",
        const=True,
        default=False,
        type=parse_boolean,
        metavar="BOOL",
        help="keep serving",
    )
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    if sys.platform != "linux":
        raise OSError(
            "the server runs on Linux, whose kernel keeps the processes of plugins in hand;"
            " elsewhere use a container: docker compose up"
        )
    from server.serve import serve
    from server.start_script import StartScript

    settings = settings_from(options)
    if options.run_script is None:
        return serve(settings)
    file = options.run_script.resolve(strict=True)
    # The operator named the script: it may be read wherever it lies.
    settings.file_root = [*settings.file_root, file.parent]
    script = StartScript(file, options.script_args, options.dont_exit_after_script, options.script_args_url)
    return serve(settings, script)
