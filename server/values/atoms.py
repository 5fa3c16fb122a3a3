"""Atoms as Python values, their texts and their JSON (rest-api.md §7, sql-dialect.md §1.2, §7.4, §10.3).

    null None · integer int · float float · string str · blob bytes
    timestamp Timestamp · interval Interval · path PathValue

Booleans do not exist as atoms: they are stored as 1 and 0.
"""

from __future__ import annotations

import json
import math
import re
from binascii import a2b_base64
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from server.errors import MldbError
from server.values.paths import Path, format_path

NEVER = -math.inf  # timestamp of constants and of what is missing
NOT_A_DATE = math.nan

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """An instant in seconds since 1970 (UTC); infinite and NaN ("not a date") are legal."""

    seconds: float

    def __str__(self) -> str:
        return timestamp_text(self.seconds)


@dataclass(frozen=True, slots=True)
class Interval:
    """Months, days and seconds, none of which has another sign than the rest.

    So the order of MLDB (§7.3) is that of the parts, here as in DuckDB.
    """

    months: int
    days: int
    seconds: float

    def __str__(self) -> str:
        return interval_text(self.months, self.days, self.seconds)

    @property
    def negative(self) -> bool:
        return is_negative(self.months, self.days, self.seconds)


@dataclass(frozen=True, slots=True)
class PathValue:
    """A path as an atom, distinct from the string that spells it."""

    path: Path

    def __str__(self) -> str:
        return format_path(self.path)


Atom = None | int | float | str | bytes | Timestamp | Interval | PathValue


def collapse(number: float) -> int | float:
    """MLDB's rule: a float whose value is exactly an int64 is that integer."""
    if number.is_integer() and -(2.0**63) <= number < 2.0**63:
        return int(number)
    return number


def atom_text(atom: Atom) -> str:
    """The text form of an atom (sql-dialect.md §1.4); null is empty."""
    match atom:
        case None:
            return ""
        case int() | float():
            return number_text(atom)
        case bytes():
            return atom.decode("utf-8", "replace")
        case _:
            return str(atom)


LEAST_PLAIN = 1e-5  # fractions from here on have the same shortest text in ``number_text`` and in orjson


def number_text(number: int | float) -> str:
    """Shortest digits that read back the same; plain until that is over five characters longer (§10.3)."""
    if isinstance(number, int):
        return str(int(number))
    if math.isnan(number):
        return "nan" if math.copysign(1, number) > 0 else "-nan"
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    mantissa, _, exponent = f"{number!r}".partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = int(exponent or 0) + (len(whole) if whole != "0" else len(digits) - len(fraction))
    digits = digits.rstrip("0") or "0"
    return sign + _place_point(digits, point)


def _place_point(digits: str, point: int) -> str:
    """Digits ``d`` with the decimal point after ``point`` of them: plain or scientific, whichever §10.3 says."""
    if 0 < point <= len(digits):
        return digits[:point] + ("." + digits[point:] if digits[point:] else "")
    scientific = digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + f"e{point - 1}"
    if point > 0:
        plain = digits + "0" * (point - len(digits))
        return plain if len(plain) - len(scientific) <= 5 else scientific
    return "0." + "0" * -point + digits if point > -7 else scientific


def timestamp_text(seconds: float) -> str:
    """ISO 8601 with as many fraction digits as the double needs; ``NaD``, ``Inf`` and ``-Inf``."""
    if math.isnan(seconds):
        return "NaD"
    if math.isinf(seconds):
        return "Inf" if seconds > 0 else "-Inf"
    whole = math.floor(seconds)
    part = seconds - whole
    if part == 1:  # so little before a second that it is taken for that
        whole, part = whole + 1, 0
    # As digits of the whole number, which read back as the same double.
    fraction = f"{Decimal(repr(seconds)) - whole:f}"[1:] if part else ""
    try:
        moment = _EPOCH + timedelta(seconds=whole)
    except OverflowError:
        return "Inf" if seconds > 0 else "-Inf"
    return f"{moment.year:04d}{moment:-%m-%dT%H:%M:%S}{fraction}Z"


def is_negative(months: int, days: int, seconds: float) -> bool:
    """The sign of an interval by its parts; zero seconds may have one too."""
    return months < 0 or days < 0 or math.copysign(1, seconds) < 0


def interval_text(months: int, days: int, seconds: float) -> str:
    """MLDB's print of an interval, its odd spacing included (rest-api.md §7.3)."""
    if math.isnan(seconds):
        return "NaI"
    negative = is_negative(months, days, seconds)
    years, months = divmod(abs(months), 12)
    days, seconds = abs(days), abs(seconds)
    text = f"{years}Y" if years else ""
    text += f"{months} MONTH" if months else ""
    if days:
        text += (" " if text else "") + f"{days}D"
    if seconds or not text:
        text += (" " if years or days else "") + _clock_text(seconds)
    return ("-" if negative else "") + text


def _clock_text(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{int(hours)}H {int(minutes)}M {rest:g}S"
    if minutes:
        return f"{int(minutes)}M {rest:g}S"
    return f"{rest:g}S"


_ISO = re.compile(
    r"""\s*(?:(?P<year>\d{4})
        (?: -?W(?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?
          | -(?P<month>\d{2})(?:-(?P<day>\d{2}))?
          | (?P<month2>\d{2})(?P<day2>\d{2})?
          | -?(?P<ordinal>\d{3})
        )?)
        (?:[T\ ](?P<hour>\d{2})(?::?(?P<minute>\d{2})(?::?(?P<second>\d{2}(?:\.\d*)?)
            (?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?)?)?)?Z?\s*""",
    re.VERBOSE | re.ASCII,
)


def parse_timestamp(text: str) -> float | None:
    """Seconds of an ISO 8601 text (the forms of sql-dialect.md §7.4), or None."""
    special = {"NaD": math.nan, "NaN": math.nan, "Inf": math.inf, "-Inf": -math.inf}.get(text)
    if special is not None:
        return special
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    try:
        day = _day_of(found)
    except ValueError:
        return None
    hour, minute = int(found["hour"] or 0), int(found["minute"] or 0)
    second = float(found["second"] or 0)
    if hour > 24 or minute > 59 or second >= 61:
        return None
    whole = (day.toordinal() - _EPOCH_ORDINAL) * 86400 + hour * 3600 + minute * 60 - _zone_seconds(found["zone"])
    # Adding the decimal fraction last keeps the double nearest to the text.
    return float(whole) + second if second == int(second) else float(f"{whole + int(second)}") + (second - int(second))


def _day_of(found: re.Match[str]) -> date:
    year = int(found["year"])
    if found["week"]:
        return date.fromisocalendar(year, int(found["week"]), int(found["weekday"] or 1))
    if found["ordinal"]:
        day = date(year, 1, 1) + timedelta(days=int(found["ordinal"]) - 1)
        if day.year != year:
            raise ValueError("day of year out of range")
        return day
    month = found["month"] or found["month2"] or "1"
    return date(year, int(month), int(found["day"] or found["day2"] or 1))


def _zone_seconds(zone: str | None) -> int:
    if not zone or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "")
    seconds = int(digits[:2]) * 3600 + int(digits[2:] or 0) * 60
    return -seconds if zone[0] == "-" else seconds


def timestamp_from_json(value: Any) -> float:
    """A timestamp as recording routes take it: seconds, ISO text, or ``{"ts": …}``."""
    if type(value) is int or type(value) is float:
        return float(value)
    if isinstance(value, dict) and set(value) == {"ts"}:
        value = value["ts"]
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        seconds = parse_timestamp(value)
        if seconds is not None:
            return seconds
    if value is None:
        return NOT_A_DATE
    raise MldbError(f"couldn't parse date: {value!r}; use seconds since 1970 or an ISO 8601 text")


def sort_key(value: Atom) -> tuple[object, ...]:
    """What orders atoms of all kinds (sql-dialect.md §7.3)."""
    match value:
        case None:
            return (0,)
        case int() | float():
            return (1,) if math.isnan(value) else (2, value)
        case str():
            return (3, value.encode())
        case Timestamp(seconds):
            return (4, seconds)
        case Interval(months, days, seconds):
            return (5, months, days, seconds)
        case bytes():
            return (6, value)
        case PathValue(path):
            return (7, format_path(path).encode())


def atom_to_json(atom: Atom) -> Any:
    """The cell encoding of rest-api.md §7.1."""
    match atom:
        case None | int() | str():
            return atom
        case float():
            return _float_to_json(atom)
        case Timestamp(seconds):
            return {"ts": timestamp_text(seconds)}
        case Interval():
            return {"interval": str(atom)}
        case bytes():
            return {"blob": blob_runs(atom)}
        case PathValue(path):
            return {"path": list(path)}


def atom_to_table_json(atom: Atom) -> Any:
    """The encoding of the ``table`` format (§7.2): dates, intervals, paths and odd numbers are texts."""
    match atom:
        case Timestamp() | Interval() | PathValue():
            return str(atom)
        case float() if not math.isfinite(atom):
            return _float_to_json(atom)["num"]
        case _:
            return atom_to_json(atom)


def _float_to_json(number: float) -> Any:
    if math.isfinite(number):
        return int(number) if 2.0**63 <= number < 2.0**64 else collapse(number)
    if math.isnan(number):
        return {"num": "NaN" if math.copysign(1, number) > 0 else "-NaN"}
    return {"num": "Inf" if number > 0 else "-Inf"}


_PRINTABLE = re.compile(rb"[\x20-\x7e\t\r\n]{2,}")


def blob_runs(blob: bytes) -> list[int | str]:
    """A blob as JSON: runs of two or more printable bytes as strings, other bytes as numbers."""
    runs: list[int | str] = []
    at = 0
    for found in _PRINTABLE.finditer(blob):
        runs.extend(blob[at : found.start()])
        runs.append(found.group().decode("ascii"))
        at = found.end()
    runs.extend(blob[at:])
    return runs


def atom_from_json(value: Any) -> Atom:
    """Read a cell from JSON (§7.1); ``MldbError`` for an object that is none of the tagged forms."""
    kind = type(value)
    if kind is str or kind is int or value is None:
        return value  # type: ignore[no-any-return]
    if kind is float:
        return collapse(value)
    match value:
        case bool():
            return int(value)
        case {"ts": when, **rest} if not rest:
            return Timestamp(timestamp_from_json(when))
        case {"num": text, **rest} if not rest:
            return _number_from_json(text)
        case {"interval": str(text), **rest} if not rest:
            return parse_interval(text)
        case {"blob": runs, **rest} if not rest:
            return _blob_from_json(runs)
        case {"path": list(elements), **rest} if not rest:
            return PathValue(tuple(map(str, elements)))
    shown = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    raise MldbError(f"Unknown JSON CellValue '{shown}'")


def _number_from_json(text: Any) -> float:
    numbers = {"NaN": math.nan, "-NaN": -math.nan, "Inf": math.inf, "-Inf": -math.inf}
    if text not in numbers:
        raise MldbError(f"Unknown numeric value '{text}'")
    return numbers[text]


def _blob_from_json(runs: Any) -> bytes:
    if runs is None:
        return b""
    if isinstance(runs, str):
        return runs.encode()
    if isinstance(runs, dict) and list(runs) == ["base64"]:  # ours: runs of numbers are ten times as long to read
        return _from_base64(runs["base64"])
    if not isinstance(runs, list):
        raise MldbError(f"JSON blob is not an array: '{json.dumps({'blob': runs}, separators=(',', ':'))}'")
    return b"".join(map(_blob_run, runs))


def _from_base64(text: Any) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except (TypeError, ValueError) as error:
        raise MldbError(f"the 'base64' of a blob is no base64 text: {error}") from None


def _blob_run(run: Any) -> bytes:
    if isinstance(run, str):
        return run.encode()
    if not isinstance(run, int) or isinstance(run, bool):
        raise MldbError(f"Can't deal with unknown array entry '{json.dumps(run)}' reading blob data")
    if not 0 <= run <= 255:
        raise MldbError(f"Invalid byte value {run} reading blob data (must be 0-255)")
    return bytes([run])


_UNITS = {
    "second": "seconds", "s": "seconds", "minute": "minutes", "m": "minutes", "hour": "hours", "h": "hours",
    "day": "days", "d": "days", "week": "weeks", "w": "weeks", "month": "months", "year": "years", "y": "years",
}  # fmt: skip
_TOTALS = {  # what of an interval a unit adds to, and how much
    "seconds": ("seconds", 1), "minutes": ("seconds", 60), "hours": ("seconds", 3600),
    "days": ("days", 1), "weeks": ("days", 7), "months": ("months", 1), "years": ("months", 12),
}  # fmt: skip
_PART = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]+)\s*")


LONGEST = 2**31 - 1  # months or days of an interval


def parse_interval(text: str) -> Interval:
    """An interval literal's text: glued parts such as ``1Y2W``, one leading sign (sql-dialect.md §7.4)."""
    body = text.strip()
    negative = body.startswith("-")
    body = body[1:] if negative else body
    totals: dict[str, Any] = {"months": 0, "days": 0, "seconds": 0.0}
    at = 0
    while at < len(body):
        found = _PART.match(body, at)
        unit = found and (found[2] in (found[2].lower(), found[2].upper())) and _UNITS.get(found[2].lower())
        if not found or not unit:
            raise MldbError(f"Unexpected symbol parsing time interval '{text}'; its units are {', '.join(_UNITS)}")
        at = found.end()
        amount = float(found[1])
        if unit != "seconds" and not amount.is_integer():
            raise MldbError(f"Fractional {unit} not accepted in interval '{text}'")
        total, factor = _TOTALS[unit]
        totals[total] += (amount if total == "seconds" else int(amount)) * factor
    sign = -1 if negative else 1
    return checked_interval(*(sign * total for total in totals.values()))


def checked_interval(months: int, days: int, seconds: float) -> Interval:
    """An interval, if it can be stored; ``MldbError`` if not."""
    if abs(months) > LONGEST or abs(days) > LONGEST:
        raise MldbError(f"an interval has at most {LONGEST} months and {LONGEST} days")
    return Interval(months, days, seconds)
