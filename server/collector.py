"""Python's collector of cycles, held off while very many objects are made that have none.

It would walk through all of them again and again, and nothing else runs while it does.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_holding = 0


@contextmanager
def held_off() -> Iterator[None]:
    """No collection in any thread until the block, and all other such blocks, have ended."""
    global _holding
    with _lock:
        _holding += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _holding -= 1
            if not _holding:
                gc.enable()
