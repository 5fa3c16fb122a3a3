"""What DuckDB raises, as our errors: the message without DuckDB's wrapping."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from server.declarations import Progress
from server.errors import Cancelled, MldbError, Vanished, is_of_dropped_table
from server.sql import tasks
from server.sql.routines import CODE_MEMBER, DETAILS_MARK
from server.storage.database import Database
from server.storage.readers import Reader

# What the engine raises for the values that it met; not for want of memory and the like.
OF_VALUES = (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.OutOfRangeException)

_WRAPPERS = (
    "Invalid Input Error: ",
    "Python exception occurred while executing the UDF: ",
    "MldbError: ",
    "ValueError: ",
)


@contextmanager
def engine_errors(progress: Progress | None = None) -> Iterator[None]:
    """``MldbError`` for what DuckDB raises in the block, ``Cancelled`` when the task was cancelled."""
    try:
        yield
    except duckdb.Error as error:
        if isinstance(error, duckdb.InterruptException) or (progress is not None and progress.cancelled):
            raise Cancelled("the query was cancelled") from None
        raise translated(error) from error


@contextmanager
def reading(database: Database, sql: str, task: Progress | None) -> Iterator[Reader]:
    """A reader for SQL that runs for a task: a cancel ends it, and the functions that it calls find the task."""
    with (
        engine_errors(task),
        database.readers.reader(task) as reader,
        tasks.numbered(reader.cursor, task, sql),
    ):
        yield reader


def translated(error: Exception) -> MldbError:
    """An engine error as ``MldbError``: what a Python function or ``error()`` said, as it said it."""
    if is_of_dropped_table(error):
        return Vanished()
    text = str(error)
    for wrapper in _WRAPPERS:
        text = text.removeprefix(wrapper)
    text = text.split("\n\nAt:", 1)[0].rstrip()
    text, _, details = text.partition(DETAILS_MARK)
    found = json.loads(details) if details else {}
    return MldbError(text, code=found.pop(CODE_MEMBER, None), details=found)
