"""``jseval`` as an SQL function (sql-dialect.md §8.2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from server.errors import Cancelled, MldbError
from server.sql import coerce, tasks
from server.sql.bound import Atom, MultiValue, Open, Value, concat_lists, latest_ts
from server.sql.duck import literal_text
from server.sql.functions.jseval import UNDEFINED, JsFunction, Result
from server.sql.functions.registry import Builtin, failed, fixed_atom
from server.sql.routines import CELLS, Routine
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.atoms import NEVER, NOT_A_DATE, Timestamp
from server.values.batches import Cell
from server.values.cells import nested
from server.values.kinds import Kind

CACHED_SCRIPTS = 32  # each has a JavaScript heap of its own


@lru_cache(maxsize=CACHED_SCRIPTS)
def _script(code: str, names: str) -> JsFunction:
    return JsFunction(code, names)


def _jseval(node: Call, args: list[Value], scope: Scope) -> Value:
    code, names = (_constant_text(value, scope) for value in args[:2])
    _script(code, names)
    given = args[2:]
    rows = "".join("a" if isinstance(value, Atom | MultiValue) else "r" for value in given)
    parts = [f"m_prefixed({coerce.to_cells(value)}, '{index}')" for index, value in enumerate(given)]
    constants = [tasks.TASK_SQL, literal_text(code), literal_text(names), f"'{rows}'"]
    arguments = [*constants, concat_lists(parts), latest_ts(given)()]
    return Open(scope.stage(f"u_jseval({', '.join(arguments)})"))


def _constant_text(value: Value, scope: Scope) -> str:
    known, text = fixed_atom(value, scope)
    if not known or not isinstance(text, str):
        raise MldbError("jseval needs constant texts as its script and its argument names")
    return text


def evaluate(
    numbers: list[int | None],
    codes: list[str],
    names: list[str],
    forms: list[str],
    cells: list[list[Cell]],
    times: list[Timestamp | None],
) -> list[list[Cell]]:
    """A script over many rows. ``forms`` has a letter for each argument: an atom or a row."""
    if not codes:
        return []
    task = tasks.find(numbers[0])
    arguments = [_arguments(form, row or []) for form, row in zip(forms, cells, strict=True)]
    try:
        with tasks.acting_for(task):
            results = _script(codes[0], names[0]).call(arguments)
    except Cancelled:
        return [[] for _ in codes]  # of a query that is interrupted: an error could be caught by try(), row by row
    except MldbError as error:
        raise failed("jseval", error, []) from None
    return [_cells(result, when) for result, when in zip(results, times, strict=True)]


def _arguments(form: str, cells: list[Cell]) -> list[Any]:
    below: list[list[Cell]] = [[] for _ in form]
    for cell in cells:
        below[int(cell.path[0])].append(Cell(cell.path[1:], cell.value, cell.timestamp))
    missing: dict[str, Any] = {"a": None, "r": {}}
    return [nested(some) if some else missing[letter] for letter, some in zip(form, below, strict=True)]


def _cells(result: Result, when: Timestamp | None) -> list[Cell]:
    seconds = NEVER if when is None else when.seconds
    if result is UNDEFINED:
        return [Cell((), None, NOT_A_DATE)]
    if isinstance(result, list):
        return [Cell(cell.path, cell.value, seconds) for cell in result]
    return [Cell((), result, seconds)]  # type: ignore[arg-type]


ROUTINES = [
    Routine(
        "u_jseval",
        (Kind.INTEGER, Kind.STRING, Kind.STRING, Kind.STRING, CELLS, Kind.TIMESTAMP),
        CELLS,
        evaluate,
        whole=True,
    ),
]

BUILTINS = [
    Builtin(
        "jseval(script: text, names: text[, arguments: any, …]) → atom | row",
        "What a JavaScript function returns: an atom, or for an object a row.",
        ("jseval('return a + 1', 'a', 4)", "5"),
        bind=_jseval,
        null=("null in the script", ("jseval('return a === null', 'a', NULL)", "1")),
    ),
]
