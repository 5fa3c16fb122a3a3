"""Polygons on a sphere (sql-dialect.md §8.10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from server.errors import MldbError

EARTH_RADIUS = 6371008.8  # metres, the mean radius

Vector = tuple[float, float, float]


def contains_point(geometry: Any, latitude: float, longitude: float) -> bool:
    """``ST_Contains_Point``: whether a GeoJSON Polygon or MultiPolygon holds a point; later rings are holes."""
    if not isinstance(geometry, Mapping):
        raise MldbError("argument 1 must be a row representing a GeoJson geometry")
    for name in ("type", "coordinates"):
        if name not in geometry:
            raise MldbError(f"Cound not find required column '{name}'")
    kind, coordinates = geometry["type"], geometry["coordinates"]
    if kind not in ("Polygon", "MultiPolygon"):
        raise MldbError(f"unknown polygon type: {kind}")
    point = _vector(longitude, latitude)
    polygons = [coordinates] if kind == "Polygon" else coordinates
    return any(_in_polygon([_ring(ring) for ring in rings], point) for rings in polygons)


def _vector(longitude: float, latitude: float) -> Vector:
    phi, theta = math.radians(latitude), math.radians(longitude)
    return math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi)


def _ring(points: Sequence[Any]) -> list[Vector]:
    return [_vector(*_longitude_latitude(point)) for point in points]


def _longitude_latitude(point: Any) -> tuple[float, float]:
    if (
        not isinstance(point, Sequence)
        or len(point) < 2
        or not all(isinstance(number, int | float) for number in point[:2])
    ):
        raise MldbError(f"GeoJSON points should be [lat,long]; got {point}")
    return point[0], point[1]


def _in_polygon(rings: list[list[Vector]], point: Vector) -> bool:
    return bool(rings) and _in_ring(rings[0], point) and not any(_in_ring(hole, point) for hole in rings[1:])


def _in_ring(ring: list[Vector], point: Vector) -> bool:
    """Whether the edges (great circle arcs) wind around the point.

    They wind around its antipode just as well: a ring covers less than half the sphere, so its middle is on the
    side of the point it holds.
    """
    closed = ring if ring[:1] == ring[-1:] else [*ring, ring[0]]
    winding = sum(_turn(point, start, end) for start, end in pairwise(closed))
    middle = tuple(map(sum, zip(*ring, strict=True)))
    return abs(winding) > math.pi and sum(a * b for a, b in zip(point, middle, strict=True)) > 0


def _turn(point: Vector, start: Vector, end: Vector) -> float:
    """The signed angle at the point between the directions to both ends of an edge."""
    normal1, normal2 = _cross(point, start), _cross(point, end)
    return math.atan2(_dot(point, _cross(normal1, normal2)), _dot(normal1, normal2))


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
