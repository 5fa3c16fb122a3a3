"""Places on the globe (sql-dialect.md §8.10)."""

from __future__ import annotations

from typing import Any

from server.errors import MldbError
from server.sql.bound import Atom, Embedding, MultiValue, Value
from server.sql.functions import geo
from server.sql.functions.registry import Builtin, number_argument, result, routine, routine_call
from server.sql.routines import CELLS
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.batches import Cell
from server.values.cells import nested
from server.values.kinds import Kind


def _distance(node: Call, args: list[Value], scope: Scope) -> Value:
    numbers = ", ".join(number_argument(value, node.name) for value in args)
    return result(f"m_geo_distance({numbers})", Kind.NUMBER, args)


def _contains(node: Call, args: list[Value], scope: Scope) -> Value:
    if isinstance(args[0], Atom | MultiValue | Embedding):
        raise MldbError("argument 1 must be a row representing a GeoJson geometry")
    return routine_call(_CONTAINS, args, scope)


def contains_point(geometry: list[Cell], latitude: float, longitude: float) -> bool:
    shape: Any = nested(geometry)
    return geo.contains_point(shape, latitude, longitude)


_CONTAINS = routine("ST_Contains_Point", (CELLS, Kind.NUMBER, Kind.NUMBER), Kind.BOOLEAN, contains_point)
ROUTINES = [_CONTAINS]

MACROS = f"""
m_at_most_one(x) := CASE WHEN x > 1 THEN 1 ELSE x END
m_haversine(x) := pow(sin(radians(x) / 2), 2)
m_geo_distance(a, b, c, d) := 2 * {geo.EARTH_RADIUS} * asin(sqrt(m_at_most_one(
    m_haversine(c - a) + cos(radians(a)) * cos(radians(c)) * m_haversine(d - b))))
"""

BUILTINS = [
    Builtin(
        "geo_distance(latitude1: number, longitude1: number, latitude2: number, longitude2: number) → number",
        "The distance of two places along the globe, in metres.",
        ("round(geo_distance(45.5, -73.6, 48.9, 2.4) / 1000)", "5508"),
        bind=_distance,
    ),
    Builtin(
        "ST_Contains_Point(geometry: row, latitude: number, longitude: number) → boolean",
        "Whether a GeoJSON polygon, or one of several, holds a point.",
        (
            'ST_Contains_Point(parse_json(\'{"type": "Polygon", "coordinates": '
            "[[[0, 0], [9, 0], [9, 9], [0, 0]]]}'), 2, 5)",
            "1",
        ),
        bind=_contains,
        null=("an error for a geometry that is NULL; else NULL", None),
    ),
]
