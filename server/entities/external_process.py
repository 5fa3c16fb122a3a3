"""The command of an external plugin: started, listened to, and ended when the plugin or the server is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final
from urllib.parse import urlsplit

from server.errors import MldbError
from server.settings import environment_of_others

_ANNOUNCEMENT: Final = "MLDB PLUGIN http "
_PROJECT: Final = Path(__file__).resolve().parent.parent.parent
_OUTPUT_CHUNK: Final = 64 * 1024
_OUTPUT_PAUSE: Final = 0.1  # seconds: who fills a chunk has to wait a little


class ExternalProcess:
    """A command under way; ``log`` is given the lines that it prints. ``ended``: when it closed its output."""

    def __init__(self, command: list[str], log: Callable[[str], None]) -> None:
        self._log = log
        self.ended = 0.0
        self._process = subprocess.Popen(  # noqa: S603 - who may make plugins may run code
            [sys.executable, "-m", "runtime.companion", *command],
            cwd=_PROJECT,
            env=environment_of_others(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll()

    def hang_up(self) -> None:
        """Send SIGHUP; what does not end is killed. From any thread."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def finish(self, seconds: float) -> int | None:
        """Wait for its end; its exit code, or None when it was hung up since it took longer."""
        timer = threading.Timer(seconds, self.hang_up)
        timer.daemon = True
        timer.start()
        for line in self._lines():
            self._log(line)
        code = self._process.wait()
        late = timer.finished.is_set()
        timer.cancel()
        return None if late else code

    def announced(self, thread: str, seconds: float) -> str:
        """The address that it prints, ``MldbError`` without one. All else that it prints, then and later, is logged by
        a thread of this name."""
        found: SimpleQueue[str | None] = SimpleQueue()
        threading.Thread(target=self._follow, args=(found,), name=thread, daemon=True).start()
        try:
            address = found.get(timeout=seconds)
        except Empty:
            raise MldbError(
                f"the plugin did not print 'MLDB PLUGIN http <address>' within {seconds:g} seconds "
                "(the setting start-timeout)"
            ) from None
        if address is None:
            raise MldbError(
                f"the plugin ended with {self._process.wait()} before it listened: the log has what it said"
            )
        if urlsplit(address).scheme != "http":
            raise MldbError(f"the plugin prints an address that is not http: {address}")
        return address

    def _follow(self, found: SimpleQueue[str | None]) -> None:
        for line in self._lines():
            if line.startswith(_ANNOUNCEMENT) and len(words := line.split()) == 4:
                found.put(words[3])
            else:
                self._log(line)
        self.ended = time.time()
        found.put(None)

    def _lines(self) -> Iterator[str]:
        """What it prints, to its end."""
        assert self._process.stdout is not None
        partial = b""
        with self._process.stdout as stream:
            while chunk := os.read(stream.fileno(), _OUTPUT_CHUNK):
                *lines, partial = (partial + chunk).split(b"\n")
                if len(partial) > _OUTPUT_CHUNK:
                    lines, partial = [*lines, partial], b""
                for line in lines:
                    yield line.decode("utf-8", "replace").rstrip("\r")
                if len(chunk) == _OUTPUT_CHUNK:
                    time.sleep(_OUTPUT_PAUSE)
        if partial:
            yield partial.decode("utf-8", "replace")
