"""Rows on their way to the host: recorded by one or few, sent together, as many as came while the last were sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import groupby
from typing import Final

from runtime.connection import RequestCancelled, current_request

# So many bytes may wait; who records more waits for the host.
_MOST_BYTES: Final = 4 * 2**20


class RowQueue:
    """The rows of one worker. What the host refuses is raised by the next thing done with that dataset."""

    def __init__(self, send: Callable[[str, bytes], None]) -> None:
        """``send(path, body)`` records a JSON array of rows below a dataset's path, and raises what is refused."""
        self._send = send
        self.clear()

    def clear(self) -> None:
        """Forget everything, as a forked child does: what its parent has put, the parent sends."""
        self._changed = threading.Condition()
        self._gathered: list[tuple[str, int, bytes]] = []  # path of the dataset, request, JSON of rows
        self._bytes = 0
        self._put = self._sent = 0  # recordings so far
        self._refused: dict[str, tuple[int, Exception]] = {}  # by path: the request, and why
        self._sender: threading.Thread | None = None

    def put(self, path: str, rows: bytes) -> None:
        """Send rows, as JSON with commas between them, some time before anything else is asked of the host."""
        self.raise_refused(path)
        with self._changed:
            while self._bytes > _MOST_BYTES:
                self._changed.wait()
            self._gathered.append((path, current_request.get(), rows))
            self._bytes += len(rows)
            self._put += 1
            if self._sender is None:
                self._sender = threading.Thread(target=self._work, name="rows", daemon=True)
                self._sender.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all rows that were put before are with the host."""
        if self._sent == self._put or threading.current_thread() is self._sender:
            return
        with self._changed:
            end = self._put
            while self._sent < end:
                self._changed.wait()

    def raise_refused(self, path: str) -> None:
        refused = self._refused.pop(path, None) if self._refused else None
        if refused is not None:
            raise refused[1]

    def finish(self, request: int) -> None:
        """``flush`` at the end of a request; raises what was refused and has not been heard of."""
        self.flush()
        for path, (of, _) in list(self._refused.items()):
            if of == request:
                self.raise_refused(path)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._gathered:
                    self._changed.wait()
                batch, self._gathered, self._bytes = self._gathered, [], 0
            for (path, request), group in groupby(batch, key=lambda one: one[:2]):
                current_request.set(request)
                try:
                    self._send(path, b"[" + b",".join(rows for _, _, rows in group) + b"]\n")
                except RequestCancelled:
                    pass  # nobody hears it
                except Exception as error:
                    self._refused[path] = request, error
            with self._changed:
                self._sent += len(batch)
                self._changed.notify_all()
