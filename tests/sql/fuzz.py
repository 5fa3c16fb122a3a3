"""Runs made-up query texts through parser, binder and engine: each ends in a result or in a clean error.

    python -m tests.sql.fuzz --texts 1000000 --seed 1 [--first 0] [--run 0.25]

Clean is an ``MldbError`` that the caller's text or values explain, with its place in the text unless it comes from
running. What is not clean is printed with the number of its text, by which ``text_of(seed, number)`` makes it again.
"""

from __future__ import annotations

import argparse
import json
import mmap
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from server.entities.progress import TaskProgress
from server.errors import Cancelled, MldbError
from server.sql import tasks
from server.sql.engine import Engine
from server.sql.formats import render
from server.sql.parser import SqlSyntaxError, parse_statement
from server.sql.render import render as canonical
from tests.sql.texts import text_of

CHUNK = 5000  # texts of one process
PATIENCE = 20.0  # seconds for one text
FORMATS = ("full", "table", "aos", "soa", "sparse")
# What DuckDB may say of values that it met; anything else of it is a fault of the compiler.
OF_VALUES = (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException)


@dataclass(frozen=True)
class Finding:
    """What is wrong with a text: ``kind`` in a word, ``detail`` in full."""

    kind: str
    detail: str
    text: str


def examine(engine: Engine, text: str, *, run: bool, format: str = "full") -> Finding | None:
    """Compile a text, and with ``run`` execute it and give its result in a format; what is wrong with that, if so."""
    try:
        tree = parse_statement(text)
    except SqlSyntaxError as error:
        return _place_of(error, text)
    except Exception as error:
        return _defect("parser", error, text)
    try:
        if parse_statement(canonical(tree)) != tree:
            return Finding("canonical", canonical(tree), text)
    except Exception as error:
        return _defect("canonical text", error, text)
    try:
        result = engine.query(text, timestamps=format == "full")
    except MldbError as error:
        return _unclean("binder", error, text) or _place_of(error, text)
    except Exception as error:
        return _defect("binder", error, text)
    return _run(result, text, format) if run else None


def _run(result: Any, text: str, format: str) -> Finding | None:
    try:
        content = render(result, format)
        json.loads(content)
        found = _OF_DUCKDB.search(content)
        if found is not None:  # in the text that try() gives
            return Finding("engine: error as value", content[found.start() : found.start() + 300].decode(), text)
    except Cancelled:
        return Finding("slow", f"more than {PATIENCE} s", text)
    except MldbError as error:
        return _unclean("engine", error, text)
    except Exception as error:
        return _defect("engine", error, text)
    return None


def _unclean(where: str, error: MldbError, text: str) -> Finding | None:
    """An error of DuckDB that tells of what we compiled, not of values, however well it is wrapped."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, duckdb.Error) and not isinstance(cause, OF_VALUES):
            return Finding(f"{where}: {type(cause).__name__}", str(cause), text)
        if isinstance(cause, duckdb.Error) and _of_python(str(cause)):
            return Finding(f"{where}: hidden defect", str(cause), text)
        cause = cause.__cause__ or cause.__context__
    return Finding(f"{where}: code", f"{error.code} {error.message}", text) if error.code > 500 else None


_DEFECTS = ("TypeError", "KeyError", "IndexError", "AttributeError", "AssertionError", "ArrowInvalid", "OverflowError",
            "ZeroDivisionError", "RecursionError", "UnicodeDecodeError", "UnicodeEncodeError", "UnboundLocalError",
            "ArrowNotImplementedError", "ArrowTypeError", "RuntimeError", "Internal", "INTERNAL")  # fmt: skip


_WORDS_OF_PYTHON = ("invalid literal for", "could not convert", "to unpack", "math domain", "out of range", "codec",
                    "not supported between", "is not in list", "must be real number", "object is not")  # fmt: skip
_OF_DUCKDB = re.compile(rb"(Binder|Catalog|Parser|Conversion|Out of Range|INTERNAL|Not implemented) Error:")


def _of_python(message: str) -> bool:
    """Whether a Python function that DuckDB called failed in a way that nobody meant."""
    head = message.partition("\n")[0]
    if any(words in head for words in _WORDS_OF_PYTHON):
        return True
    return any(f"{name}:" in head or f"{name} Error" in head for name in _DEFECTS)


def _place_of(error: MldbError, text: str) -> Finding | None:
    """An error without a place, or with one outside the text."""
    offset = error.details.get("offset")
    if isinstance(offset, int) and 0 <= offset <= len(text) and offset + error.details["length"] <= len(text) + 1:
        return None
    return Finding("place", f"{error.message} {error.details}", text)


def _defect(where: str, error: Exception, text: str) -> Finding:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return Finding(f"{where}: {type(error).__name__}", f"{error} at {at}", text)


def findings(engine: Engine, seed: int, numbers: range, share: float) -> Iterator[tuple[int, Finding | None]]:
    """Examine the texts with these numbers; a ``share`` of them is also run."""
    for number in numbers:
        task = TaskProgress()
        timer = threading.Timer(PATIENCE, task.cancel)
        timer.daemon = True
        timer.start()
        begun = time.process_time()
        with tasks.acting_for(task):
            run = (number * 0.6180339887) % 1 < share
            text = text_of(seed, number)
            found = examine(engine, text, run=run, format=FORMATS[number % len(FORMATS)])
        timer.cancel()
        task.finish()
        if found is None and time.process_time() - begun > PATIENCE:
            found = Finding("slow", f"{time.process_time() - begun:.1f} s", text)
        yield number, found


# ── the command: processes that may die ──────────────────────────────────────────────────────────────────────


def _child(arguments: argparse.Namespace) -> None:
    """Examine a chunk; ``arguments.marker`` always holds the number under way, for who finds us dead."""
    from tests.inprocess import in_process
    from tests.sql.test_queries import load

    with (
        Path(arguments.marker).open("r+b") as file,
        mmap.mmap(file.fileno(), 8) as marker,
        tempfile.TemporaryDirectory() as folder,
        in_process(Path(folder) / "data") as server,
    ):
        load(server)
        numbers = range(arguments.first, arguments.first + arguments.texts)
        for number, found in findings(server.engine, arguments.seed, numbers, arguments.run):
            if found is not None:
                _tell(number, found)
            marker[:] = (number + 1).to_bytes(8, "little")


def _tell(number: int, found: Finding) -> None:
    line = {"number": number, "kind": found.kind, "detail": found.detail, "text": found.text}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _parent(arguments: argparse.Namespace) -> int:
    """Start processes for the texts, one after the other; a dead or hung one is a finding too."""
    at, end, dead = arguments.first, arguments.first + arguments.texts, 0
    while at < end:
        count = min(CHUNK, end - at)
        with tempfile.NamedTemporaryFile() as marker:
            marker.write(at.to_bytes(8, "little"))
            marker.flush()
            command = [sys.executable, "-m", "tests.sql.fuzz", "--seed", str(arguments.seed), "--first", str(at)]
            command += ["--texts", str(count), "--run", str(arguments.run), "--marker", marker.name]
            child = subprocess.Popen(command)
            reached = _watch(child, Path(marker.name))
        if reached < at + count:
            _tell(reached, Finding("dead", f"exit code {child.returncode}", text_of(arguments.seed, reached)))
            dead += 1
            reached += 1
        at = reached
        sys.stderr.write(f"{at} of {end}\n")
    return 1 if dead else 0


def _watch(child: subprocess.Popen[bytes], marker: Path) -> int:
    """The number that a process reached; it is killed when it stays at one number for long."""
    last, since = -1, time.monotonic()
    while child.poll() is None:
        time.sleep(0.5)
        now = int.from_bytes(marker.read_bytes(), "little")
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > 6 * PATIENCE:
            child.kill()
            child.wait()
    return int.from_bytes(marker.read_bytes(), "little")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first text: to go on where a run ended")
    parser.add_argument("--run", type=float, default=0.25, help="share of the texts that are also executed")
    parser.add_argument("--marker", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.marker:
        _child(arguments)
        return 0
    return _parent(arguments)


if __name__ == "__main__":
    sys.exit(main())
