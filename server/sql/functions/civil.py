"""Dates in the engine's own SQL, for whole seconds of the years 1 to 9999; ``dates`` does the others, a row at a time.

``PARTS`` and ``STARTS`` name the units that have a macro over seconds since 1970: ``m_part_hour(t)`` and so on.
"""

from __future__ import annotations

_DAY = 86400
_FIRST, _LAST = -62134992000, 253402300799  # a week of the year 1 starts in the year 1
_WHOLE = f"isfinite(t) AND t = floor(t) AND t BETWEEN {_FIRST} AND {_LAST}"
# Of constants the engine computes also what CASE does not ask for.
_MOMENT = f"make_timestamp(CAST(greatest({_FIRST}, least({_LAST}, t)) AS BIGINT) * 1000000)"
_DATE = f"CAST({_MOMENT} AS DATE)"

PARTS = {
    "microsecond": "0",
    "millisecond": "0",
    "second": f"second({_MOMENT})",
    "minute": f"minute({_MOMENT})",
    "hour": f"hour({_MOMENT})",
    "day": f"day({_MOMENT})",
    "dow": f"dayofweek({_MOMENT})",
    "doy": f"dayofyear({_MOMENT}) - 1",
    "isodow": f"isodow({_MOMENT})",
    "isodoy": f"(weekofyear({_MOMENT}) - 1) * 7 + isodow({_MOMENT})",
    "week": f"(dayofyear({_MOMENT}) - 1) // 7",
    "isoweek": f"weekofyear({_MOMENT})",
    "month": f"month({_MOMENT})",
    "quarter": f"month({_MOMENT}) // 4 + 1",
    "year": f"year({_MOMENT})",
    "isoyear": f"isoyear({_MOMENT})",
}
STARTS = {
    **dict.fromkeys(("microsecond", "millisecond", "second"), "t"),
    "minute": "floor(t / 60) * 60",
    "hour": "floor(t / 3600) * 3600",
    **dict.fromkeys(("day", "dow", "doy", "isodow", "isodoy"), f"floor(t / {_DAY}) * {_DAY}"),
    "week": f"(floor(t / {_DAY}) - dayofweek({_MOMENT})) * {_DAY}",
    "isoweek": f"(floor(t / {_DAY}) - isodow({_MOMENT}) + 1) * {_DAY}",
    "month": f"epoch(date_trunc('month', {_MOMENT}))",
    "year": f"epoch(date_trunc('year', {_MOMENT}))",
}


def _macro(name: str, kind: str, unit: str, sql: str, type_: str) -> str:
    slow = f"u_date_{kind}('{unit}', t, NULL::any_value_t)"
    return (
        f"{name}_{unit}(t) := CASE WHEN t IS NULL THEN NULL WHEN {_WHOLE} THEN CAST({sql} AS {type_}) ELSE {slow} END"
    )


MACROS = "\n".join(
    [
        *(_macro("m_part", "part", unit, sql, "BIGINT") for unit, sql in PARTS.items()),
        *(_macro("m_start", "trunc", unit, sql, "DOUBLE") for unit, sql in STARTS.items()),
        # The end of a month stays one. Beyond the years 1001 to 8999 a thousand years more may be no date.
        f"""
m_months_later(t, m) := epoch(CASE WHEN last_day({_DATE}) = {_DATE} THEN last_day({_DATE} + to_months(m))
    ELSE CAST({_DATE} + to_months(m) AS DATE) END) + (t - floor(t / {_DAY}) * {_DAY})
m_month_shift(t, m, slow) := CASE WHEN {_WHOLE} AND t BETWEEN -30578688000 AND 221845392000 AND abs(m) <= 12000
    THEN m_months_later(t, m) ELSE slow END
m_shift(t, v, s) := CASE WHEN t IS NULL OR v IS NULL THEN NULL
    WHEN v.months = 0 THEN t + s * (v.days * {_DAY}e0 + v.seconds)
    ELSE m_month_shift(t + s * (v.days * {_DAY}e0 + v.seconds), s * v.months,
        union_extract(u_arithmetic(CASE WHEN s > 0 THEN '+' ELSE '-' END, any_t(t), any_v(v)), 't')) END
m_between(a, b) := CASE WHEN a IS NULL OR b IS NULL THEN NULL WHEN isfinite(a - b) AND abs(a - b) < 1e14
    THEN {{'months': 0::INTEGER, 'days': TRY_CAST(((a - b) - (a - b) % {_DAY}) / {_DAY} AS INTEGER),
        'seconds': (a - b) % {_DAY}}}
    ELSE union_extract(u_arithmetic('-', any_t(a), any_t(b)), 'v') END""".strip(),
    ]
)
