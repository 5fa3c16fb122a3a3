"""Arithmetic where the kinds of the operands show only at run time: on atoms, and column by column on open rows.

``server.sql.binder.arithmetic`` writes the operators, and calls this for what DuckDB's own arithmetic does not do.
"""

from __future__ import annotations

import calendar
import math
from collections.abc import Callable

from server.errors import MldbError
from server.sql.functions.conversions import as_integer, as_number, unconverted
from server.sql.routines import CELLS, Routine
from server.values.atoms import (
    Atom,
    Interval,
    Timestamp,
    atom_text,
    checked_interval,
    collapse,
    parse_timestamp,
    timestamp_text,
)
from server.values.batches import Cell
from server.values.kinds import Kind
from server.values.paths import Path

_DAY = 86400.0
_WORD = 2**64
_YEARS = "a date must lie between the years 1 and 9999"


def divide(a: float, b: float) -> float:
    """IEEE division: by zero it is infinite, or NaN. Zero has no sign, for it is the integer 0 (§1.2)."""
    if b:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a)


def modulo(left: Atom, right: Atom) -> Atom:
    """The operator ``%``, C's remainder: of two integers, mixed signs convert the negative one to unsigned."""
    if not isinstance(left, int) or not isinstance(right, int):
        a, b = as_number(left), as_number(right)
        return collapse(math.fmod(a, b)) if b and math.isfinite(a) else math.nan
    if right == 0:
        raise MldbError("Integer Modulus by a zero dividend")
    if left < 0 and right < 0:
        return -(-left % -right)
    return left % _WORD % (right % _WORD)


_NUMBERS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": divide,
}  # fmt: skip
_BITS: dict[str, Callable[[int, int], int]] = {
    "&": lambda a, b: a & b, "|": lambda a, b: a | b, "^": lambda a, b: a ^ b,
}  # fmt: skip


def arithmetic(op: str, left: Atom, right: Atom) -> Atom:
    """``left op right`` by the atoms' own types (§7.1)."""
    if op == "+" and (isinstance(left, str) or isinstance(right, str)):
        return atom_text(left) + atom_text(right)
    if op == "%":
        return modulo(left, right)
    if op in _BITS:
        return _BITS[op](as_integer(left), as_integer(right))
    if isinstance(left, Timestamp) or isinstance(right, Timestamp):
        return _with_timestamp(op, left, right)
    if isinstance(left, Interval) or isinstance(right, Interval):
        return _with_interval(op, left, right)
    return _of_numbers(op, left, right)


def _of_numbers(op: str, left: Atom, right: Atom) -> Atom:
    return collapse(_NUMBERS[op](as_number(left), as_number(right)))


def arithmetic_cells(op: str, left: list[Cell], right: list[Cell]) -> list[Cell]:
    """Two rows combined column by column, what one side lacks being null; an atom goes with every column."""
    if _is_atom(left) and not _is_atom(right):
        return [_combined(op, cell.path, left[0], cell) for cell in right]
    if _is_atom(right) and not _is_atom(left):
        return [_combined(op, cell.path, cell, right[0]) for cell in left]
    sides = [{cell.path: cell for cell in cells} for cells in (left, right)]
    return [_combined(op, path, *(side.get(path) for side in sides)) for path in dict.fromkeys([*sides[0], *sides[1]])]


def _is_atom(cells: list[Cell]) -> bool:
    return len(cells) == 1 and not cells[0].path


def _combined(op: str, path: Path, left: Cell | None, right: Cell | None) -> Cell:
    moment = max(cell.timestamp for cell in (left, right) if cell is not None)
    if left is None or right is None or left.value is None or right.value is None:
        return Cell(path, None, moment)
    return Cell(path, arithmetic(op, left.value, right.value), moment)


def _with_timestamp(op: str, left: Atom, right: Atom) -> Atom:
    if isinstance(left, Timestamp) and isinstance(right, Timestamp) and op == "-":
        return _difference(left.seconds - right.seconds)
    if op == "+" and isinstance(right, Timestamp):
        left, right = right, left
    if not isinstance(left, Timestamp) or op not in "+-":
        return _of_numbers(op, left, right)
    sign = 1 if op == "+" else -1
    if isinstance(right, int):
        return Timestamp(left.seconds + sign * right * _DAY)
    if isinstance(right, Interval):
        return Timestamp(_shift(left.seconds, right, sign))
    verb = "Adding" if op == "+" else "Substracting"
    raise MldbError(f"{verb} unsupported type to timetamp")


def _difference(seconds: float) -> Interval:
    if not math.isfinite(seconds):
        raise MldbError("there is no interval between timestamps that are not both finite")
    rest = math.fmod(seconds, _DAY)
    return checked_interval(0, int((seconds - rest) / _DAY), rest)


def _shift(seconds: float, by: Interval, sign: int) -> float:
    """A timestamp moved by an interval: by days and seconds first, then by months (the end of a month stays one)."""
    moved = seconds + sign * (by.days * _DAY + by.seconds)
    return _add_months(moved, sign * by.months) if by.months and math.isfinite(moved) else moved


def _add_months(seconds: float, months: int) -> float:
    text = timestamp_text(math.floor(seconds / _DAY) * _DAY)
    if not text[:4].isdigit():
        raise MldbError(_YEARS)
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    last = day == calendar.monthrange(year, month)[1]
    year, month = year + (month - 1 + months) // 12, (month - 1 + months) % 12 + 1
    if not 1 <= year <= 9999:
        raise MldbError(_YEARS)
    end = calendar.monthrange(year, month)[1]
    moved = parse_timestamp(f"{year:04d}-{month:02d}-{end if last else min(day, end):02d}")
    assert moved is not None
    return moved + seconds % _DAY


def _interval(months: int, days: int, seconds: float) -> Interval:
    if len({part > 0 for part in (months, days, seconds) if part}) > 1:
        raise MldbError("an interval cannot have parts of different signs")
    return checked_interval(months, days, seconds)


def _with_interval(op: str, left: Atom, right: Atom) -> Atom:
    if isinstance(left, Interval) and isinstance(right, Interval) and op in "+-":
        sign = 1 if op == "+" else -1
        return _interval(
            left.months + sign * right.months, left.days + sign * right.days, left.seconds + sign * right.seconds
        )
    if op == "*" and isinstance(right, Interval):
        left, right = right, left
    if isinstance(left, Interval) and op in "*/" and isinstance(right, int | float):
        factor = float(right) if op == "*" else divide(1.0, float(right))
        months, days, seconds = left.months * factor, left.days * factor, left.seconds * factor
        if not all(map(math.isfinite, (months, days, seconds))):
            raise MldbError(f"an interval cannot be combined by '{op}' with {atom_text(right)}")
        whole = math.trunc(days)
        return _interval(math.trunc(months), whole, seconds + (days - whole) * _DAY)
    if op == "+" and isinstance(left, Interval):
        raise unconverted(right, "time interval")
    return _of_numbers(op, left, right)


def negate(value: Atom) -> Atom:
    if isinstance(value, Interval):
        return Interval(-value.months, -value.days, -value.seconds)
    if isinstance(value, int):
        return -value
    return collapse(-as_number(value))


ROUTINES = [
    Routine("u_arithmetic", (Kind.STRING, Kind.ANY, Kind.ANY), Kind.ANY, arithmetic),
    Routine("u_arithmetic_cells", (Kind.STRING, CELLS, CELLS), CELLS, arithmetic_cells),
    Routine("u_modulo", (Kind.ANY, Kind.ANY), Kind.ANY, modulo),
    Routine("u_negate", (Kind.ANY,), Kind.ANY, negate),
]

MACROS = """
m_divide(a, b) := a / (b + 0.0::DOUBLE)
m_modulo(a, b) := CASE WHEN a IS NULL OR b IS NULL THEN NULL
    WHEN b = 0 THEN u_fail_integer('Integer Modulus by a zero dividend')
    WHEN a >= 0 AND b > 0 THEN a % b ELSE u_cast_integer(u_modulo(any_i(a), any_i(b))) END
m_unsigned(a) := CASE WHEN a >= 0 THEN CAST(a AS UBIGINT)
    ELSE CAST(CAST(a AS HUGEINT) + 18446744073709551616 AS UBIGINT) END
m_modulo_unsigned(a, b) := CASE WHEN b = 0
    THEN CAST(u_fail_integer('Integer Modulus by a zero dividend') AS UBIGINT) ELSE a % b END
m_modulo_fast(a, b) := CASE WHEN a >= 0 AND b > 0 AND a < 9007199254740992 AND b < 9007199254740992 THEN a % b + 0e0 END
m_arithmetic_fast(a, b, o, slow) := CASE WHEN m_tag(a) = 'n' AND m_tag(b) = 'n' THEN any_n(CASE o
    WHEN 1 THEN union_extract(a, 'n') - union_extract(b, 'n') WHEN 2 THEN union_extract(a, 'n') * union_extract(b, 'n')
    ELSE m_divide(union_extract(a, 'n'), union_extract(b, 'n')) END) ELSE slow END
"""
