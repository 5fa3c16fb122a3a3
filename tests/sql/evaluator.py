"""An evaluator of scalar expressions in plain Python, written from the dialect's reference (sql-dialect.md) alone.

It knows nothing of the server's code: neither its parser nor its values. Expressions are made as objects, which give
their text and, over a row, their value and timestamp. What may not be evaluated raises ``Refused``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

NEVER = -math.inf
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86400.0


class Refused(Exception):
    """MLDB answers with an error."""


class Unsaid(Exception):
    """The reference does not say what comes out."""


@dataclass(frozen=True)
class Instant:
    seconds: float


@dataclass(frozen=True)
class Span:
    """An interval; ``sign`` is that of all three parts."""

    months: int
    days: int
    seconds: float
    sign: int = 1


@dataclass(frozen=True)
class Name:
    """A path."""

    elements: tuple[str, ...]


Value = None | int | float | str | bytes | Instant | Span | Name
Timed = tuple[Value, float]  # a value and its timestamp in seconds
Row = Mapping[str, Timed]


# ── values (§1.2, §1.4, §7.3, §10.3) ─────────────────────────────────────────────────────────────────────────


def collapse(number: float) -> int | float:
    """A double that is a 64-bit integer is that integer."""
    if isinstance(number, int):
        return number
    if math.isfinite(number) and number == int(number) and -(2**63) <= int(number) < 2**63:
        return int(number)
    return number


def is_number(value: Value) -> bool:
    return isinstance(value, int | float)


def number_text(number: float) -> str:
    if isinstance(number, int):
        return str(number)
    if math.isnan(number):
        return "nan"
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    scientific = digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + f"e{point - 1}"
    if point <= -7 or (point > len(digits) and point - len(scientific) > 5):
        return sign + scientific
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if point >= len(digits):
        return sign + digits + "0" * (point - len(digits))
    return f"{sign}{digits[:point]}.{digits[point:]}"


def instant_text(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "NaD" if math.isnan(seconds) else "Inf" if seconds > 0 else "-Inf"
    whole = math.floor(seconds)
    fraction = f"{Decimal(repr(seconds)) - whole:f}"[1:] if seconds != whole else ""
    return (_EPOCH + timedelta(seconds=whole)).strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def element_text(element: str) -> str:
    plain = element and all(letter >= " " and letter not in '".' for letter in element)
    return element if plain else '"' + element.replace('"', '""') + '"'


def name_text(name: Name) -> str:
    return ".".join(map(element_text, name.elements))


def text(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Instant):
        return instant_text(value.seconds)
    if isinstance(value, Name):
        return name_text(value)
    if isinstance(value, Span):
        return span_text(value)
    if isinstance(value, float) and math.isnan(value):
        raise Unsaid("the sign of NaN")
    return value.decode() if isinstance(value, bytes) else number_text(value or 0)


def truth(value: Value) -> bool | None:
    if value is None:
        return None
    if isinstance(value, Instant):
        return math.isfinite(value.seconds)
    if isinstance(value, Span):
        return bool(value.months or value.days or value.seconds)
    if isinstance(value, Name):
        return value.elements != ()
    return value != 0 if is_number(value) else len(value) > 0  # type: ignore[arg-type]


def sort_key(value: Value) -> Any:
    """A key by which values of all types compare: null, numbers with NaN first, texts, times, intervals, …"""
    if value is None:
        return (0,)
    if isinstance(value, int | float):
        return (1, 0, 0) if value != value else (1, 1, value)
    if isinstance(value, str):
        return (2, value.encode())
    if isinstance(value, Instant):
        return (3, value.seconds)
    if isinstance(value, Span):
        return (4, value.sign, *(value.sign * part for part in (value.months, value.days, value.seconds)))
    return (5, value) if isinstance(value, bytes) else (6, name_text(value))


def parse_number(source: str) -> int | float | None:
    """A whole text as C's strtoll, strtoull and strtod read it."""
    body = source.lstrip(" \t\n\v\f\r")
    if re.fullmatch(r"[+-]?\d+", body, re.ASCII) and -(2**63) <= int(body) < 2**64:
        return int(body)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", body, re.ASCII):
        return collapse(float(body))
    if re.fullmatch(r"[+-]?0[xX][0-9a-fA-F]+", body):
        return collapse(float.fromhex(body))
    return float(body) if re.fullmatch(r"[+-]?(inf|infinity|nan)", body, re.IGNORECASE) else None


def to_double(value: Value) -> float:
    if isinstance(value, int | float):
        return float(value)
    raise Refused(f"{value!r} is no number")


def to_int(value: Value) -> int:
    if isinstance(value, int):
        return value
    raise Refused(f"{value!r} is no integer")


# ── operators (§7) ───────────────────────────────────────────────────────────────────────────────────────────


def _divide(a: float, b: float) -> float:
    if b != 0 or math.isnan(b):
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.inf * math.copysign(1, a) * math.copysign(1, b)


def _times(a: float, b: float) -> float:
    return a * b


_DOUBLES: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": _times, "/": _divide,
}  # fmt: skip


def arithmetic(op: str, left: Value, right: Value) -> Value:
    if left is None or right is None:
        return None
    if op == "+" and (isinstance(left, str) or isinstance(right, str)):
        return text(left) + text(right)
    if isinstance(left, Instant) or isinstance(right, Instant):
        return _with_instant(op, left, right)
    if op == "%":
        return _modulo(left, right)
    if op in ("&", "|"):
        a, b = to_int(left), to_int(right)
        return a & b if op == "&" else a | b
    return collapse(_DOUBLES[op](to_double(left), to_double(right)))


def _with_instant(op: str, left: Value, right: Value) -> Value:
    if op == "-" and isinstance(left, Instant) and isinstance(right, Instant):
        difference = left.seconds - right.seconds
        if not math.isfinite(difference):
            raise Refused("no interval")
        days = math.floor(abs(difference) / _DAY)
        return Span(0, days, abs(difference) - days * _DAY, -1 if difference < 0 else 1)
    if op == "+" and isinstance(right, Instant):
        left, right = right, left
    if op not in ("+", "-") or not isinstance(left, Instant) or not isinstance(right, int):
        raise Refused("no arithmetic of instants")
    moved = left.seconds + (right if op == "+" else -right) * _DAY
    if not abs(moved) < 5e10:
        raise Unsaid("beyond the years of a calendar")
    return Instant(moved)


def _modulo(left: Value, right: Value) -> Value:
    if isinstance(left, int) and isinstance(right, int):
        if right == 0:
            raise Refused("Integer Modulus by a zero dividend")
        # C's operands become unsigned when one of them is negative and the other is not.
        if (left < 0) != (right < 0):
            return (left % 2**64) % (right % 2**64)
        return int(math.copysign(abs(left) % abs(right), left))
    a, b = to_double(left), to_double(right)
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or b == 0:
        return math.nan
    return collapse(math.fmod(a, b))


def compare(op: str, left: Value, right: Value) -> int | None:
    if left is None or right is None:
        return None
    a, b = sort_key(left), sort_key(right)
    return int({"=": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op])


def like(value: Value, pattern: Value) -> int | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise Refused("LIKE expression must have string on left side")
    if pattern is None:
        return None
    parts = {"%": ".*", "_": "."}
    regex = "".join(parts.get(letter) or re.escape(letter) for letter in text(pattern))
    return int(re.fullmatch(regex, value, re.DOTALL) is not None)


def cast(value: Value, target: str) -> Value:
    if value is None:
        return None
    if target == "string":
        return _cast_text(value)
    if target == "path":
        return value if isinstance(value, Name) else Name((text(value),))
    if target == "boolean":
        return _cast_boolean(value)
    if target == "timestamp":
        return _cast_instant(value)
    if isinstance(value, Instant):
        value = collapse(value.seconds) if math.isfinite(value.seconds) else None if target == "integer" else value
        value = value.seconds if isinstance(value, Instant) else value
    if isinstance(value, str):
        value = parse_number(value)
    if not isinstance(value, int | float):
        return None
    if target == "number" or isinstance(value, int):
        return value
    return math.trunc(value) if math.isfinite(value) and abs(value) < 2**63 else None


def _cast_text(value: Value) -> Value:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return text(value)


def _cast_boolean(value: Value) -> Value:
    if isinstance(value, str):
        if value.lower() in ("true", "false"):
            return int(value.lower() == "true")
        number = parse_number(value)
        return None if number is None else int(number != 0)
    return None if isinstance(value, bytes) else int(bool(truth(value)))


def _cast_instant(value: Value) -> Value:
    if isinstance(value, Instant):
        return value
    if isinstance(value, int | float):
        if not abs(value) < 5e10:
            raise Unsaid("beyond the years of a calendar")
        return Instant(float(value))
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        try:
            return Instant((datetime.fromisoformat(value).replace(tzinfo=UTC) - _EPOCH).total_seconds())
        except ValueError:
            return None
    return None


# ── functions (§8) ───────────────────────────────────────────────────────────────────────────────────────────


def _round(number: float) -> float:
    return number if not math.isfinite(number) else math.copysign(math.floor(abs(number) + 0.5), number)


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda number: float(function(number)) if math.isfinite(number) else number


def _root(number: float) -> float:
    return math.nan if number < 0 else math.sqrt(number)


def _exp(number: float) -> float:
    return math.inf if number > 709.8 else math.exp(number)


def _ln(number: float) -> float:
    return math.nan if number < 0 else -math.inf if number == 0 else math.log(number)


_NUMERIC: dict[str, Callable[[float], float]] = {
    "ceil": _whole(math.ceil), "floor": _whole(math.floor), "round": _round, "abs": abs, "sqrt": _root, "exp": _exp,
    "ln": _ln, "atan": math.atan, "tanh": math.tanh, "isnan": lambda x: float(math.isnan(x)),
    "isinf": lambda x: float(math.isinf(x)), "isfinite": lambda x: float(math.isfinite(x)),
}  # fmt: skip


def _sign(value: Value) -> Value:
    if value is None:
        return None
    return (value > 0) - (value < 0) if isinstance(value, int | float) and value == value else math.nan


def _replaced(when: Callable[[Value], bool]) -> Callable[[Value, Value], Value]:
    return lambda value, other: other if when(value) else value


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _is_inf(value: Value) -> bool:
    return isinstance(value, float) and math.isinf(value)


def _cut(value: Value, part: Value, *, front: bool) -> Value:
    if value is None or part is None:
        return None
    if not isinstance(value, str) or not isinstance(part, str):
        raise Refused("The arguments passed to remove_prefix must be two strings")
    return value.removeprefix(part) if front else value.removesuffix(part)


ONE: dict[str, Callable[[Value], Value]] = {
    **{
        name: lambda value, body=body: None if value is None else collapse(body(to_double(value)))
        for name, body in _NUMERIC.items()
    },
    "sign": _sign,
    "lower": lambda value: "" if value is None else text(value).lower(),
    "upper": lambda value: "" if value is None else text(value).upper(),
    "length": lambda value: 0 if value is None else len(text(value)),
    "implicit_cast": lambda value: value if not isinstance(value, str) else _implicit(value),
}
TWO: dict[str, Callable[[Value, Value], Value]] = {
    "replace_null": _replaced(lambda value: value is None),
    "replace_nan": _replaced(_is_nan),
    "replace_inf": _replaced(_is_inf),
    "replace_not_finite": _replaced(lambda value: _is_nan(value) or _is_inf(value)),
    "remove_prefix": lambda value, part: _cut(value, part, front=True),
    "remove_suffix": lambda value, part: _cut(value, part, front=False),
}


def _implicit(value: str) -> Value:
    if value == "":
        return None
    number = parse_number(value)
    return value if number is None else number


# ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────


def quoted(source: str) -> str:
    return "'" + source.replace("'", "''") + "'"


def literal_text(value: Value) -> str:
    """A literal of the dialect."""
    if value is None:
        return "NULL"
    if isinstance(value, Instant):
        return f"TIMESTAMP {quoted(instant_text(value.seconds))}"
    if isinstance(value, str):
        return quoted(value)
    assert isinstance(value, int | float)
    if value != value:
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "(-inf)"
    return repr(value) if value >= 0 else f"({value!r})"


@dataclass(frozen=True)
class Expression:
    """What has a text, and over a row a value with its timestamp.

    ``lazy``: whether an error of a part may remain unseen, since nobody promises that the part is computed.
    """

    text: str
    evaluate: Callable[[Row], Timed]
    lazy: bool = False

    def __repr__(self) -> str:
        return self.text


def _lazy(*parts: Expression | None) -> bool:
    return any(part is not None and part.lazy for part in parts)


def literal(value: Value) -> Expression:
    return Expression(literal_text(value), lambda _: (value, NEVER))


def column(name: str) -> Expression:
    return Expression(name, lambda row: row.get(name, (None, NEVER)))


def _combined(source: str, body: Callable[..., Value], *parts: Expression) -> Expression:
    """The newest timestamp of all operands."""

    def evaluate(row: Row) -> Timed:
        found = [part.evaluate(row) for part in parts]
        return body(*(value for value, _ in found)), max(ts for _, ts in found)

    return Expression(source, evaluate, _lazy(*parts))


def operation(op: str, left: Expression, right: Expression) -> Expression:
    return _combined(f"({left.text} {op} {right.text})", lambda a, b: arithmetic(op, a, b), left, right)


def comparison(op: str, left: Expression, right: Expression) -> Expression:
    return _combined(f"({left.text} {op} {right.text})", lambda a, b: compare(op, a, b), left, right)


def negative(operand: Expression) -> Expression:
    def body(value: Value) -> Value:
        if value == -(2**63):
            raise Unsaid("which kind of number 2**63 is")
        if value is None or isinstance(value, int):
            return None if value is None else -value
        return collapse(-to_double(value))

    return _combined(f"(-({operand.text}))", body, operand)


def opposite(operand: Expression) -> Expression:
    def body(value: Value) -> Value:
        held = truth(value)
        return None if held is None else int(not held)

    return _combined(f"(NOT {operand.text})", body, operand)


def logic(op: str, left: Expression, right: Expression) -> Expression:
    decides = op == "OR"

    def evaluate(row: Row) -> Timed:
        (a, s), (b, t) = left.evaluate(row), right.evaluate(row)
        first, second = truth(a), truth(b)
        both, neither = (min, max) if op == "AND" else (max, min)
        for value, one in ((first, decides), (second, decides)):
            if value is one and (first is not second):
                return int(decides), s if first is decides else t
        if first is decides and second is decides:
            return int(decides), both(s, t)
        if first is None and second is None:
            return None, both(s, t)
        if first is None or second is None:
            return None, s if first is None else t
        return int(not decides), neither(s, t)

    return Expression(f"({left.text} {op} {right.text})", evaluate, lazy=True)


def between(operand: Expression, low: Expression, high: Expression, negated: bool) -> Expression:
    def body(value: Value, least: Value, most: Value) -> Value:
        above = compare(">=", value, least)
        held = compare("<=", value, most) if above else above
        return held if held is None or not negated else int(not held)

    words = "NOT BETWEEN" if negated else "BETWEEN"
    made = _combined(f"({operand.text} {words} {low.text} AND {high.text})", body, operand, low, high)
    return Expression(made.text, made.evaluate, lazy=True)


def member(operand: Expression, items: list[Expression], negated: bool) -> Expression:
    def evaluate(row: Row) -> Timed:
        value, own = operand.evaluate(row)
        found = [item.evaluate(row) for item in items]
        if value is None:
            return None, own
        hits = [ts for item, ts in found if compare("=", value, item)]
        return int(bool(hits) != negated), max(own, hits[0]) if hits else own

    words = "NOT IN" if negated else "IN"
    return Expression(f"({operand.text} {words} ({', '.join(item.text for item in items)}))", evaluate, lazy=True)


def matching(operand: Expression, pattern: Expression, negated: bool) -> Expression:
    def evaluate(row: Row) -> Timed:
        value, own = operand.evaluate(row)
        wanted, _ = pattern.evaluate(row)
        held = like(value, wanted)
        return held if held is None or not negated else int(not held), own if wanted is not None else NEVER

    words = "NOT LIKE" if negated else "LIKE"
    return Expression(f"({operand.text} {words} {pattern.text})", evaluate, _lazy(operand, pattern))


_KINDS: dict[str, Callable[[Value], bool]] = {
    "NULL": lambda value: value is None,
    "TRUE": lambda value: truth(value) is True,
    "FALSE": lambda value: truth(value) is False,
    "STRING": lambda value: isinstance(value, str),
    "NUMBER": is_number,
    "INTEGER": lambda value: isinstance(value, int),
    "TIMESTAMP": lambda value: isinstance(value, Instant),
    "INTERVAL": lambda value: isinstance(value, Span),
}
KINDS = tuple(_KINDS)


def kind_test(operand: Expression, kind: str, negated: bool) -> Expression:
    words = f"IS {'NOT ' if negated else ''}{kind}"
    return _combined(f"(({operand.text}) {words})", lambda value: int(_KINDS[kind](value) != negated), operand)


def case(subject: Expression | None, whens: list[tuple[Expression, Expression]], default: Expression | None) -> Any:
    def evaluate(row: Row) -> Timed:
        given = subject.evaluate(row)[0] if subject is not None else None
        results = [(when.evaluate(row)[0], then.evaluate(row)) for when, then in whens]
        otherwise = default.evaluate(row) if default is not None else (None, NEVER)
        for when, then in results:
            if (truth(when) if subject is None else compare("=", given, when)) == 1:
                return then
        return otherwise

    parts = ["CASE" if subject is None else f"CASE {subject.text}"]
    parts += [f"WHEN {when.text} THEN {then.text}" for when, then in whens]
    parts += [f"ELSE {default.text}"] if default is not None else []
    return Expression(" ".join([*parts, "END"]), evaluate, lazy=True)


def casting(operand: Expression, target: str) -> Expression:
    return _combined(f"CAST({operand.text} AS {target})", lambda value: cast(value, target), operand)


def call(name: str, *arguments: Expression) -> Expression:
    body: Any = ONE.get(name) or TWO[name]
    return _combined(f"{name}({', '.join(argument.text for argument in arguments)})", body, *arguments)


def replaced(name: str, operand: Expression, other: Expression) -> Expression:
    """``replace_nan(x, y)`` and its kind. Of which of the two the timestamp is, the reference does not say."""
    return dated(Expression(call(name, operand, other).text, call(name, operand, other).evaluate, lazy=True), 77.0)


def dated(operand: Expression, seconds: float) -> Expression:
    moment = literal_text(Instant(seconds))
    return Expression(f"({operand.text} @ {moment})", lambda row: (operand.evaluate(row)[0], seconds), operand.lazy)


def moment_of(operand: Expression, name: str) -> Expression:
    """``latest_timestamp(x)`` of an atom."""

    def evaluate(row: Row) -> Timed:
        _, ts = operand.evaluate(row)
        return Instant(ts), ts

    return Expression(f"{name}({operand.text})", evaluate, lazy=True)


def element(members: list[Expression], chosen: int) -> Expression:
    """``{m0: x, m1: y}[m1]``."""
    inside = ", ".join(f"m{number}: {one.text}" for number, one in enumerate(members))
    return Expression(f"{{{inside}}}[m{chosen}]", members[chosen].evaluate, lazy=True)


def across(name: str, members: list[Expression]) -> Expression:
    """A horizontal function over a row literal: nulls are skipped."""

    def evaluate(row: Row) -> Timed:
        found = [one for one in (each.evaluate(row) for each in members) if one[0] is not None]
        newest = max((ts for _, ts in found), default=NEVER)
        if name == "horizontal_count":
            return len(found), newest
        if name == "horizontal_string_agg":
            return ",".join(text(value) for value, _ in found), newest
        if name in ("horizontal_min", "horizontal_max"):
            if not found:
                raise Unsaid("the timestamp of no value")
            choose = min if name == "horizontal_min" else max
            best = choose((value for value, _ in found), key=sort_key)
            return best, max(ts for value, ts in found if sort_key(value) == sort_key(best))
        total = sum((to_double(value) for value, _ in found), 0.0)
        if name == "horizontal_avg":
            return (collapse(total / len(found)) if found else None), newest
        return collapse(total), newest

    inside = ", ".join(f"m{number}: {one.text}" for number, one in enumerate(members))
    separator = ", ','" if name == "horizontal_string_agg" else ""
    return Expression(f"{name}({{{inside}}}{separator})", evaluate, lazy=True)


# ── as JSON (§13, §7.4) ──────────────────────────────────────────────────────────────────────────────────────


def span_text(span: Span) -> str:
    years, months = divmod(span.months, 12)
    hours, rest = divmod(span.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    date = f"{years}Y" if years else ""
    date += f"{months} MONTH" if months else ""
    if span.days:
        date += f"{' ' if date else ''}{span.days}D"
    time = f"{hours:g}H {minutes:g}M {seconds:g}S" if hours else f"{minutes:g}M {seconds:g}S" if minutes else ""
    time = time or (f"{seconds:g}S" if seconds or not date else "")
    blank = " " if time and (years or span.days) else ""
    return ("-" if span.sign < 0 else "") + date + blank + time


def as_json(value: Value) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"num": "NaN" if value != value else "Inf" if value > 0 else "-Inf"}
    if isinstance(value, Instant):
        return {"ts": instant_text(value.seconds)}
    if isinstance(value, Span):
        return {"interval": span_text(value)}
    if isinstance(value, Name):
        return {"path": list(value.elements)}
    return {"blob": list(value)} if isinstance(value, bytes) else value
