"""How far a query is, on a terminal, while its answer is waited for."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from server.cli.client import Server, ServerError

_SECONDS: Final = 1.0  # before something is told, and until it is told anew
_CLEARED: Final = "\r\x1b[K"


@contextmanager
def told(server: Server) -> Iterator[dict[str, str]]:
    """The headers that name a query. While the block runs, a line on standard error tells its seconds and progress."""
    id = f"cli-{secrets.token_hex(8)}"
    if not sys.stderr.isatty():
        yield {}
        return
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(server, id, done), daemon=True)
    teller.start()
    try:
        yield {"X-Query-Id": id}
    finally:
        done.set()
        teller.join()


def _tell(server: Server, id: str, done: threading.Event) -> None:
    shown = False
    while not done.wait(_SECONDS):
        try:
            query = server.json("GET", f"/v1/queries/{id}")
        except ServerError:
            continue  # it has just ended, or waits to begin
        progress = query.get("progress")
        percent = "" if progress is None else f", {progress:.0%}"
        print(f"{_CLEARED}{query['elapsed']:.0f} s{percent}", end="", file=sys.stderr, flush=True)  # noqa: T201
        shown = True
    if shown:
        print(_CLEARED, end="", file=sys.stderr, flush=True)  # noqa: T201
