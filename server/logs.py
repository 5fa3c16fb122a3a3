"""The server log: what ``/logs/mldb`` shows and the files below ``<data root>/logs`` keep (plugin-runtime.md §7.3).

A handler of Python's logging: each record of the ``mldb`` loggers becomes an ``Entry``. ``source`` is a plugin's id,
``script runner plugin`` or ``server``; it comes with the record as ``extra={"source": …}``.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.settings import Settings

RING_LINES: Final = 8192

# A line longer than this is cut: one runaway value must not fill the ring's memory.
LONGEST_LINE: Final = 16 * 1024

_WAITING_LINES: Final = RING_LINES  # for the disk; beyond, lines are in memory only
_CLOSING_SECONDS: Final = 5.0
_WORD_SECONDS: Final = 60.0  # between two words about a file that cannot be written

LEVELS: Final = ("debug", "info", "warning", "error")
SERVER: Final = "server"
_ROOT: Final = "mldb"

# The id of the request that the code at hand works for; "" outside of requests.
request_id: ContextVar[str] = ContextVar("request id", default="")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line. ``number`` grows by one per line; ``seconds`` since 1970; ``request`` is the id of the one under way."""

    number: int
    seconds: float
    source: str
    level: str
    message: str
    request: str = ""

    @property
    def time(self) -> str:
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.seconds))
        return f"{whole}.{int(self.seconds % 1 * 1000):03d}Z"

    def json(self) -> str:
        """One line of JSON."""
        members = {"n": self.number, "ts": self.time, "source": self.source, "level": self.level}
        if self.request:
            members["request"] = self.request
        return json.dumps({**members, "message": self.message}, ensure_ascii=False)

    def text(self) -> str:
        """As ``curl`` and the files show it: each line of the message says when and whose it is."""
        start = f"{self.time} {self.level.upper():7} {self.source}: "
        request = f" [{self.request}]" if self.request else ""
        return start + self.message.replace("\n", f"\n{start}") + request


Listener = Callable[[Entry], None]


@dataclass(frozen=True)
class Filter:
    """Which entries are wanted; empty members want all."""

    source: str = ""
    level: str = ""
    search: str = ""

    def wants(self, entry: Entry) -> bool:
        if self.source and entry.source != self.source:
            return False
        if self.level and LEVELS.index(entry.level) < LEVELS.index(self.level):
            return False
        return self.search.lower() in entry.message.lower()


class _Handler(logging.handlers.RotatingFileHandler):
    """Says of a disk that takes nothing now and then, where the server was started, and not for every line."""

    _next_word = 0.0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif time.monotonic() >= self._next_word:
            self._next_word = time.monotonic() + _WORD_SECONDS
            sys.stderr.write(f"mldb: lines of the log are not written to {self.baseFilename}: {error.strerror}\n")


class _Files:
    """Rotated files, written by a thread of their own: who logs, the event loop too, does not wait for a disk."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._handler = _Handler(
            folder / "mldb.log",
            maxBytes=settings.log_size * 2**20,
            backupCount=settings.log_files,
            encoding="utf-8",
            errors="backslashreplace",
            delay=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING_LINES)
        self._thread = threading.Thread(target=self._write, name="log files", daemon=True)
        self._thread.start()

    def add(self, line: str) -> None:
        with suppress(queue.Full):  # the disk takes nothing: it must not hold up those who log
            self._lines.put_nowait(line)

    def _write(self) -> None:
        for line in iter(self._lines.get, None):
            self._handler.emit(logging.LogRecord("mldb", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        """Once all is written, or the disk has had its time."""
        with suppress(queue.Full):
            self._lines.put(None, timeout=_CLOSING_SECONDS)
            self._thread.join(_CLOSING_SECONDS)
        if not self._thread.is_alive():
            self._handler.close()


class LogStore(logging.Handler):
    """Keeps the last lines in memory, writes all to rotated files, tells listeners. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(logging.DEBUG)
        self.folder = settings.data_dir / "logs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._entries: deque[Entry] = deque(maxlen=RING_LINES)
        self._listeners: list[Listener] = []
        self._count = 0
        self._changing = threading.Lock()
        self._files = _Files(self.folder, settings)

        # What goes wrong also shows where the server was started; plugins' own output does not.
        self._console = logging.StreamHandler()
        self._console.setLevel(logging.WARNING)
        self._console.addFilter(lambda record: getattr(record, "source", SERVER) == SERVER)
        self._console.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def install(self) -> None:
        """Take the records of all loggers below ``mldb`` from now on."""
        logger = logging.getLogger(_ROOT)
        logger.setLevel(logging.INFO)
        logger.addHandler(self)
        logger.addHandler(self._console)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
            if record.exc_info:
                message = f"{message}\n{logging.Formatter().formatException(record.exc_info)}"
            source = getattr(record, "source", SERVER)
            request = getattr(record, "request", None)
            self.add(source, message, level_name(record.levelno), record.created, request)
        except Exception:
            # logging's own rule: a record that cannot be handled must not disturb what was logged.
            self.handleError(record)

    def add(
        self,
        source: str,
        message: str,
        level: str = "info",
        seconds: float | None = None,
        request: str | None = None,
    ) -> Entry:
        """Append a line; of the request under way unless it is said whose it is."""
        if len(message) > LONGEST_LINE:
            message = f"{message[:LONGEST_LINE]}… ({len(message)} characters)"
        with self._changing:
            self._count += 1
            seconds = time.time() if seconds is None else seconds
            of = request_id.get() if request is None else request
            entry = Entry(self._count, seconds, source, level, message, of)
            self._entries.append(entry)
            listeners = list(self._listeners)
            self._files.add(entry.text())
        for listener in listeners:
            listener(entry)
        return entry

    def last(self, count: int, wanted: Filter | None = None) -> list[Entry]:
        """The last lines that pass a filter, oldest first."""
        with self._changing:
            entries: Iterable[Entry] = list(self._entries)
        chosen = [entry for entry in entries if wanted is None or wanted.wants(entry)]
        return chosen[-count:] if count > 0 else []

    def sources(self) -> list[str]:
        """Whose lines are in memory."""
        with self._changing:
            return sorted({entry.source for entry in self._entries})

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell of every line from now on, from the thread that logs it; the function returned ends that."""
        with self._changing:
            self._listeners.append(listener)

        def stop() -> None:
            with self._changing:
                self._listeners.remove(listener)

        return stop

    def close(self) -> None:
        """Stop taking records and close the files."""
        logger = logging.getLogger(_ROOT)
        logger.removeHandler(self)
        logger.removeHandler(self._console)
        self._files.close()
        super().close()


def level_name(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
