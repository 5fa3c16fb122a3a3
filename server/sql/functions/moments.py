"""Time (sql-dialect.md §2.3, §8.6): instants, the timestamps of values, parts of dates."""

from __future__ import annotations

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.arithmetic import set_timestamp
from server.sql.bound import NEVER_SQL, Atom, Embedding, MultiValue, Value, is_constant
from server.sql.duck import macro
from server.sql.functions import civil, dates
from server.sql.functions.conversions import unconverted
from server.sql.functions.registry import Builtin, executing, routine
from server.sql.notes import NO_ARGUMENTS
from server.sql.routines import Routine
from server.sql.scope import Scope
from server.sql.tree import Call, Constant
from server.values.atoms import Atom as PlainAtom
from server.values.atoms import Timestamp, atom_text
from server.values.kinds import Kind


def _now(node: Call, args: list[Value], scope: Scope) -> Value:
    return Atom("epoch(now())", Kind.TIMESTAMP)


def _to_timestamp(node: Call, args: list[Value], scope: Scope) -> Value:
    one = coerce.atom(args[0])
    return Atom(coerce.to_timestamp(one), Kind.TIMESTAMP, one.ts, one.constant)


def _at(node: Call, args: list[Value], scope: Scope) -> Value:
    return set_timestamp(*args)


def _times(value: Value) -> str:
    """The timestamps of all atoms of a value, as a list."""
    if isinstance(value, MultiValue):
        return f"list_transform({value.sql}, lambda c: c.t)"
    return f"list_transform({coerce.to_cells(value)}, lambda c: c.t)"


def _extreme_timestamp(node: Call, args: list[Value], scope: Scope) -> Value:
    """The oldest or newest timestamp of all atoms; its own timestamp is the newest."""
    value = args[0]
    newest = value.ts if isinstance(value, Atom | Embedding) else lambda: f"list_max({_times(value)})"
    if isinstance(value, Atom | Embedding):
        sql = value.ts()
    else:
        sql = f"list_{'min' if node.name == 'earliest_timestamp' else 'max'}({_times(value)})"
    return Atom(f"coalesce({sql}, {NEVER_SQL})", Kind.TIMESTAMP, newest, is_constant(value))


def _distinct_timestamps(node: Call, args: list[Value], scope: Scope) -> Value:
    value = args[0]
    there = f"list_filter({coerce.to_cells(value)}, lambda c: c.v IS NOT NULL)"
    times = f"list_sort(list_distinct(list_transform({there}, lambda c: c.t)))"
    return Embedding(scope.stage(times), Kind.TIMESTAMP, None, lambda: f"list_max({_times(value)})")


def _date_argument(value: Value, function: str) -> str:
    one = coerce.atom(value)
    sql = coerce.to_timestamp(one)
    if one.kind in (Kind.STRING, Kind.ANY):
        sql = f"m_date_of({sql}, {coerce.to_any(one)}, '{function}')"
    return sql


def _date_function(node: Call, args: list[Value], scope: Scope) -> Value:
    moment = _date_argument(args[1], node.name)
    quick, prefix, kind = _DATE_FUNCTIONS[node.name]
    text = node.args[0].value if isinstance(node.args[0], Constant) else None
    unit = dates.time_unit(text) if isinstance(text, str) else None
    if len(args) == 2 and unit in quick:
        sql = macro(f"{prefix}_{unit}", moment)
    else:
        zone = coerce.to_any(args[2]) if len(args) == 3 else "NULL::any_value_t"
        sql = f"u_{node.name}({coerce.to_text(args[0])}, {moment}, {zone})"
    return Atom(sql, kind, constant=all(map(is_constant, args)))


_DATE_FUNCTIONS = {
    "date_part": (civil.PARTS, "m_part", Kind.INTEGER),
    "date_trunc": (civil.STARTS, "m_start", Kind.TIMESTAMP),
}


def _zone(function: str, zone: PlainAtom) -> str | None:
    if zone is None or isinstance(zone, str):
        return zone
    raise MldbError(f"{function} expected a string as third argument, got {atom_text(zone)}")


def _date_part(unit: str | None, moment: Timestamp | None, zone: PlainAtom) -> int | None:
    if unit is None or moment is None:
        return None
    return dates.date_part(unit, moment.seconds, _zone("date_part", zone))


def _date_trunc(unit: str | None, moment: Timestamp | None, zone: PlainAtom) -> float | None:
    if unit is None or moment is None:
        return None
    return dates.date_trunc(unit, moment.seconds, _zone("date_trunc", zone))


def _no_date(value: PlainAtom, function: str) -> float:
    def fail() -> float:
        raise unconverted(value, "timestamp")

    return executing(function, fail)()  # type: ignore[no-any-return]


ROUTINES = [
    routine("date_part", (Kind.STRING, Kind.TIMESTAMP, Kind.ANY), Kind.INTEGER, _date_part, strict=False),
    routine("date_trunc", (Kind.STRING, Kind.TIMESTAMP, Kind.ANY), Kind.TIMESTAMP, _date_trunc, strict=False),
    Routine("u_no_date", (Kind.ANY, Kind.STRING), Kind.TIMESTAMP, _no_date),
]

MACROS = f"""
m_date_of(t, a, f) := CASE WHEN t IS NULL AND a IS NOT NULL THEN u_no_date(a, f) ELSE t END
{civil.MACROS}
"""

BUILTINS = [
    Builtin("now() → timestamp", "The time at which the query runs.", bind=_now, volatile=True, null=NO_ARGUMENTS),
    Builtin(
        "to_timestamp(x: atom) → timestamp",
        "An instant from ISO 8601 text or seconds since 1970; NULL for other text.",
        ("to_timestamp('2015-01-03')", '"2015-01-03T00:00:00Z"'),
        bind=_to_timestamp,
    ),
    Builtin(
        "at(x: any, t: timestamp | text | number) → the form of x",
        "The value with the timestamp `t`, like `x @ t`.",
        ("at(5, '2015-01-03')", "5"),
        bind=_at,
        null=("NULL stays NULL; at no time for NULL", ("at(5, NULL)", "5")),
    ),
    Builtin(
        "earliest_timestamp(x: any) → timestamp",
        "The oldest timestamp of all atoms of a value.",
        ("earliest_timestamp({a: 1 @ '2015-01-03', b: 2 @ '2014-01-01'})", '"2014-01-01T00:00:00Z"'),
        bind=_extreme_timestamp,
        null=("the timestamp of the NULL", ("earliest_timestamp(NULL)", '"-Inf"')),
    ),
    Builtin(
        "latest_timestamp(x: any) → timestamp",
        "The newest timestamp of all atoms of a value.",
        ("latest_timestamp({a: 1 @ '2015-01-03', b: 2 @ '2014-01-01'})", '"2015-01-03T00:00:00Z"'),
        bind=_extreme_timestamp,
        null=("the timestamp of the NULL", ("latest_timestamp(NULL)", '"-Inf"')),
    ),
    Builtin(
        "distinct_timestamps(x: any) → embedding",
        "An embedding of the different timestamps of a value's atoms, oldest first.",
        ("distinct_timestamps(1 @ '2015-01-03')", '["2015-01-03T00:00:00Z"]'),
        bind=_distinct_timestamps,
        null=("none for NULL", ("distinct_timestamps({1 @ 5 AS a, NULL @ 6 AS b})", '["1970-01-01T00:00:05Z"]')),
    ),
    Builtin(
        "date_part(unit: text, t: timestamp | text[, zone: text]) → integer",
        "A part of an instant: microsecond, millisecond, second, minute, hour, day, dow, doy, isodow, isodoy, "
        "week, isoweek, month, quarter, year or isoyear, in the plural too. The offset of the zone is subtracted.",
        ("date_part('hour', '2015-01-03T15:14:00Z')", "15"),
        bind=_date_function,
    ),
    Builtin(
        "date_trunc(unit: text, t: timestamp | text[, zone: text]) → timestamp",
        "The start of the unit that holds an instant.",
        ("date_trunc('month', '2015-01-23T15:14:00Z')", '"2015-01-01T00:00:00Z"'),
        bind=_date_function,
    ),
]
