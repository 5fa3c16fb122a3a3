"""How far libraries are that have no callbacks, by what they print or what can be seen of them."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

LIBSVM_ITERATIONS = 1000  # of a dot, where there are as many rows
_STANDARD_OUTPUT = 1
_SOLVING = b".*"  # libsvm writes a line of these while it works; a star is a look at all rows
_SECONDS = 0.5  # between two looks


@contextmanager
def watched(look: Callable[[], None]) -> Iterator[None]:
    """While the block runs ``look`` is called in a thread from time to time."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_SECONDS):
            look()

    thread = threading.Thread(target=watch, name="watching-library")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def lines_told(tell: Callable[[str], None]) -> Iterator[None]:
    """While the block runs ``tell`` hears each line that Python code prints, and nothing is printed."""
    with redirect_stdout(_Lines(tell)):
        yield


class _Lines(io.TextIOBase):
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._line = ""

    def write(self, text: str, /) -> int:
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            self._tell(line)
        return len(text)


@contextmanager
def libsvm_dots_told(tell: Callable[[int], None]) -> Iterator[None]:
    """While the block runs ``tell`` hears, in a thread, how many dots libsvm has written; nothing is printed.

    libsvm writes them to the process's standard output: what else the process writes meanwhile is lost.
    """
    reading, writing = os.pipe()
    before = os.dup(_STANDARD_OUTPUT)
    os.dup2(writing, _STANDARD_OUTPUT)
    os.close(writing)
    listener = threading.Thread(target=_listen, args=(reading, tell), name="libsvm-output")
    listener.start()
    try:
        with redirect_stdout(io.StringIO()):  # scikit-learn prints a word of its own
            yield
    finally:
        os.dup2(before, _STANDARD_OUTPUT)  # the pipe has no writer any more, so the listener ends
        os.close(before)
        listener.join()
        os.close(reading)


def _listen(reading: int, tell: Callable[[int], None]) -> None:
    done, line = 0, b""
    while text := os.read(reading, 4096):
        *whole, line = (line + text).split(b"\n")
        done += sum(map(_dots, whole))
        tell(done + _dots(line))


def _dots(line: bytes) -> int:
    """The words and numbers that libsvm ends with have dots as well."""
    return 0 if line.strip(_SOLVING) else line.count(b".")
