"""``jseval``: JavaScript inside a query (sql-dialect.md §8.2), in a V8 isolate without access to anything."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from functools import cache
from typing import Any

from server.errors import Cancelled, MldbError
from server.sql import tasks
from server.values.atoms import NEVER, Atom, Timestamp, collapse
from server.values.batches import Cell
from server.values.paths import Path

# What one vector of rows may take: the settings jseval-time and jseval-memory. A query of many rows gets this for each
# vector of 2048 rows.
TIME_LIMIT = 10.0  # seconds
MEMORY_LIMIT = 256 * 2**20  # bytes of the isolate's heap

Argument = Atom | Mapping[str, Any] | Sequence[Any]
"""An atom; a row as nested mappings; an embedding as nested lists."""


class Undefined:
    """The result of a script that returns nothing: a null at the timestamp ``NaD``."""


UNDEFINED = Undefined()
Result = Atom | list[Cell] | Undefined

log = logging.getLogger("mldb.jseval")
_starting = threading.Lock()  # an isolate belongs to its loop: there must not be two

# Values cross the border as JSON, in which what JSON lacks is tagged: [tag, value]. Rows are tagged as well, so that
# nothing in the data can be taken for a tag.
_HARNESS = """
(function () {
  const NUMBERS = {nan: NaN, inf: Infinity, '-inf': -Infinity};
  const logged = [];
  const mldb = {log: (...parts) => { if (logged.length < 1000) logged.push(parts.map(String).join(' ')); }};
  function read(value) {
    if (!Array.isArray(value)) return value;
    const [tag, inner] = value;
    if (tag === 'date') return new Date(inner === null ? NaN : inner);
    if (tag === 'number') return NUMBERS[inner];
    if (tag === 'list') return inner.map(read);
    const row = {};
    for (const [name, member] of inner) {
      Object.defineProperty(row, name, {value: read(member), enumerable: true, writable: true, configurable: true});
    }
    return row;
  }
  function write(value, depth) {
    if (value === null || typeof value === 'string') return value;
    if (value === undefined) return ['undefined'];
    if (typeof value === 'boolean') return Number(value);
    if (typeof value === 'number') return Number.isFinite(value) ? value : ['number', String(value)];
    if (value instanceof Date) return ['date', String(value.getTime())];
    if (typeof value !== 'object' || depth > 50) return ['other'];
    return ['row', Object.keys(value).map((name) => [name, write(value[name], depth + 1)])];
  }
  const user = (function (mldb) { return (function (%NAMES%) {
%BODY%
  }); })(mldb);
  return function (text) {
    logged.length = 0;
    const results = JSON.parse(text).map((args) => {
      try {
        return ['ok', write(user.apply({}, args.map(read)), 0)];
      } catch (error) {
        return ['thrown', String(error && error.stack ? error.stack : error)];
      }
    });
    return JSON.stringify([results, logged]);
  };
})()
"""


class JsFunction:
    """A compiled ``jseval`` script, in an isolate of its own that one thread uses at a time."""

    def __init__(self, code: str, names: str) -> None:
        """``names``: the arguments' names, separated by commas. ``MldbError`` if the script does not compile."""
        from py_mini_racer import JSEvalException, mini_racer

        self.names = [name.strip() for name in names.split(",") if name.strip()]
        for name in self.names:
            if not name.isidentifier():
                raise MldbError(f"Exception compiling jseval script: '{name}' is no name of an argument")
        self._lock = threading.Lock()
        isolate = mini_racer(_loop())
        self._context = isolate.__enter__()
        weakref.finalize(self, isolate.__exit__, None, None, None)
        self._context.set_hard_memory_limit(MEMORY_LIMIT)
        try:
            # The script alone first: brackets that do not match in it must not close those of the harness.
            self._context.eval(f"new Function({', '.join(map(json.dumps, [*self.names, code]))})")
            self._call: Any = self._context.eval(
                _HARNESS.replace("%NAMES%", ", ".join(self.names)).replace("%BODY%", code)
            )
        except JSEvalException as error:
            raise MldbError(f"Exception compiling jseval script: {error}") from None

    def call(self, rows: Sequence[Sequence[Argument]]) -> list[Result]:
        """Run the script on the arguments of each row.

        Atoms come back as atoms, objects and arrays as cells without timestamps, an undefined result as ``UNDEFINED``.
        ``MldbError`` when the script throws, or takes more time or memory than it may; ``Cancelled`` as soon as the
        task of this thread is to stop.
        """
        text = json.dumps([[_written(argument) for argument in row] for row in rows])
        with self._lock:
            answer = self._answer(text)
        results, logged = json.loads(answer)
        for line in logged:
            log.info("%s", line)
        return [_result(*result) for result in results]

    def _answer(self, text: str) -> str:
        from py_mini_racer import JSEvalException

        try:
            answer = self._run(text)
        except TimeoutError:
            raise MldbError(
                f"jseval script ran for more than {TIME_LIMIT:g} s, which the setting jseval-time allows"
            ) from None
        except CancelledError:
            raise Cancelled("the query was cancelled") from None
        except JSEvalException as error:
            self._check_memory()
            raise MldbError(f"Javascript jseval script threw exception: {error}") from None
        self._check_memory()
        return answer

    def _run(self, text: str) -> str:
        async def run() -> str:
            async with asyncio.timeout(TIME_LIMIT):
                return str(await self._call.cancelable()(text))

        answer = asyncio.run_coroutine_threadsafe(run(), _loop())
        with tasks.interrupted(tasks.current(), answer.cancel):
            return answer.result()

    def _check_memory(self) -> None:
        if self._context.was_hard_memory_limit_reached():
            raise MldbError(
                f"jseval script needs more than {MEMORY_LIMIT >> 20} MiB of memory, "
                "which the setting jseval-memory allows"
            )


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop that waits for the isolates; each has a thread of its own for its script."""
    with _starting:
        return _started_loop()


@cache
def _started_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="jseval", daemon=True).start()
    return loop


def _written(argument: Argument) -> Any:
    """An argument as the harness reads it."""
    match argument:
        case None | str() | int():
            return argument
        case float():
            return argument if math.isfinite(argument) else ["number", _number_name(argument)]
        case Timestamp(seconds):
            return ["date", seconds * 1000 if math.isfinite(seconds) else None]
        case Mapping():
            return ["row", [[name, _written(value)] for name, value in argument.items()]]
        case list() | tuple():
            return ["list", [_written(value) for value in argument]]
        case bytes():
            return ["list", list(argument)]
        case _:
            return str(argument)


def _number_name(number: float) -> str:
    return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"


def _result(outcome: str, value: Any) -> Result:
    if outcome == "thrown":
        raise MldbError(f"Javascript jseval script threw exception: {value}")
    if isinstance(value, list) and value[0] == "undefined":
        return UNDEFINED
    if isinstance(value, list) and value[0] == "row":
        return list(_cells((), value[1]))
    return _atom(value)


def _cells(prefix: Path, members: Iterable[Any]) -> Iterable[Cell]:
    for name, value in members:
        if isinstance(value, list) and value[0] == "row":
            yield from _cells((*prefix, name), value[1])
        else:
            yield Cell((*prefix, name), _atom(value), NEVER)


def _atom(value: Any) -> Atom:
    if isinstance(value, float):
        return collapse(value)
    if not isinstance(value, list):
        return value  # type: ignore[no-any-return]
    tag = value[0]
    if tag == "date":
        return Timestamp(float(value[1]) / 1000)
    if tag == "number":
        return float(value[1].replace("Infinity", "inf"))
    if tag == "undefined":
        return None
    raise MldbError("Don't understand expression")
