"""Runs a command for as long as somebody holds the other end of its standard input.

``python -m runtime.companion COMMAND …``: when that end is closed, by hand or because its holder died, the command
gets SIGHUP, and what is left of it and of all that it started is killed ``PATIENCE`` seconds later.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

PATIENCE: Final = 5.0  # seconds


def main(command: list[str]) -> int:
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - ours to run
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror or error}\n")
        return 127
    threading.Thread(target=_end_with_holder, args=(process,), daemon=True).start()
    code = process.wait()
    _signal(process.pid, signal.SIGKILL)
    return code


def _end_with_holder(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        continue
    _signal(process.pid, signal.SIGHUP)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    _signal(process.pid, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
