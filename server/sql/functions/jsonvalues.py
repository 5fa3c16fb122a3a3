"""``parse_json`` and ``print_json`` as SQL functions (sql-dialect.md §8.2, §8.4)."""

from __future__ import annotations

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Atom, Embedding, MultiValue, Open, Row, Value, as_any_list, timestamp_of
from server.sql.functions import jsontext
from server.sql.functions.registry import Builtin, fixed_row, result, routine
from server.sql.routines import ANYS, CELLS, DATED
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call
from server.values.atoms import NEVER, Timestamp
from server.values.batches import Cell
from server.values.cells import DatedRow, nested
from server.values.kinds import Kind


def _parse_json(node: Call, args: list[Value], scope: Scope) -> Value:
    arrays, ignore = _options(args[1], scope) if len(args) == 2 else ("parse", False)
    text, when = coerce.to_text(args[0]), timestamp_of(args[0])
    return Open(scope.stage(f"s_parse_json({TASK_SQL}, {text}, '{arrays}', {str(ignore).upper()}, {when})"))


def _options(value: Value, scope: Scope) -> tuple[str, bool]:
    cells = fixed_row(value, scope)
    if cells is None:
        if isinstance(value, Row) and isinstance(value.columns.get(("arrays",)), Atom):
            raise MldbError("NULL value found parsing enumeration ParseJsonArrays: its value must be a constant")
        raise MldbError("the options of parse_json must be constants")
    options = nested(cells)
    if not isinstance(options, dict):
        raise MldbError("the options of parse_json must be a row: {arrays: …, ignoreErrors: …}")
    unknown = set(options) - {"arrays", "ignoreErrors"}
    if unknown:
        raise MldbError(f"Unknown field '{min(unknown)}' parsing the options of parse_json")
    arrays = jsontext.arrays_option(options["arrays"]) if "arrays" in options else "parse"
    return arrays, bool(options.get("ignoreErrors"))


def parse(text: str | None, arrays: jsontext.Arrays, ignore: bool, when: Timestamp | None) -> DatedRow:
    """The row of a JSON text; of NULL, a null."""
    seconds = NEVER if when is None else when.seconds
    if text is None:
        return {(): None}, seconds
    return jsontext.parse_json(text, arrays=arrays, ignore_errors=bool(ignore)), seconds


def _print_json(node: Call, args: list[Value], scope: Scope) -> Value:
    value = args[0]
    if isinstance(value, Atom | MultiValue):
        return result(f"s_print_json({TASK_SQL}, {coerce.to_any(value)})", Kind.STRING, args)
    if isinstance(value, Embedding) and value.names is None and len(value.shape or (0,)) == 1:
        return result(f"s_print_json_list({TASK_SQL}, {as_any_list(value)})", Kind.STRING, args)
    return result(f"s_print_json_row({TASK_SQL}, {coerce.to_cells(value)})", Kind.STRING, args)


def _print_row(cells: list[Cell]) -> str:
    """The JSON text of the cells of a row, or of the atom that they are."""
    if any(not cell.path for cell in cells):
        return jsontext.print_json(cells[0].value)
    return jsontext.print_json_row(cells)


ROUTINES = [
    routine(
        "parse_json", (Kind.STRING, Kind.STRING, Kind.BOOLEAN, Kind.TIMESTAMP), DATED, parse, strict=False, slow=True
    ),
    routine("print_json", (Kind.ANY,), Kind.STRING, jsontext.print_json, strict=False, slow=True),
    routine("print_json_list", (ANYS,), Kind.STRING, jsontext.print_json, slow=True),
    routine("print_json_row", (CELLS,), Kind.STRING, _print_row, slow=True),
]

BUILTINS = [
    Builtin(
        "parse_json(text: atom[, options: row]) → row",
        "The row that a JSON object or array describes. Arrays become columns 0, 1, …; with "
        "`{arrays: 'encode'}` those of atoms become columns named by their elements. With `{ignoreErrors: 1}` what is "
        "no JSON gives `{__parse_json_error__: 1}`.",
        ("parse_json('{\"a\": [1, 2]}')", '{"a.0": 1, "a.1": 2}'),
        bind=_parse_json,
    ),
    Builtin(
        "print_json(x: any) → text",
        "The JSON text of a value.",
        ("print_json({a: 1, b: 'x'})", '"{\\"a\\":1,\\"b\\":\\"x\\"}"'),
        bind=_print_json,
        null=("the text null", ("print_json({a: NULL})", '"{\\"a\\":null}"')),
    ),
]
