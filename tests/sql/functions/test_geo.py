from __future__ import annotations

import pytest

from server.errors import MldbError
from server.sql.functions.geo import contains_point

SQUARE = [[-10, -10], [10, -10], [10, 10], [-10, 10], [-10, -10]]
HOLE = [[-5, -5], [5, -5], [5, 5], [-5, 5], [-5, -5]]
ELSEWHERE = [[100, 40], [110, 40], [110, 50], [100, 50]]


@pytest.mark.parametrize(
    ("latitude", "longitude", "inside"),
    [(7, 7, True), (0, 0, False), (11, 0, False), (0, -11, False), (0, 180, False), (-7, -173, False), (7, 187, False)],
)
def test_polygon_with_a_hole(latitude: float, longitude: float, inside: bool) -> None:
    assert contains_point({"type": "Polygon", "coordinates": [SQUARE, HOLE]}, latitude, longitude) is inside


def test_multi_polygon_and_direction() -> None:
    both = {"type": "MultiPolygon", "coordinates": [[SQUARE[::-1]], [ELSEWHERE]]}
    assert contains_point(both, 0, 0)
    assert contains_point(both, 45, 105)
    assert not contains_point(both, 45, 115)


def test_edges_are_great_circles() -> None:
    wide = {"type": "Polygon", "coordinates": [[[-60, 40], [60, 40], [60, 0], [-60, 0]]]}
    assert contains_point(wide, 50, 0)  # the arc from 60° W to 60° E along 40° N rises towards the pole


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (3, "argument 1 must be a row representing a GeoJson geometry"),
        ({"coordinates": []}, "Cound not find required column 'type'"),
        ({"type": "Polygon"}, "Cound not find required column 'coordinates'"),
        ({"type": "Point", "coordinates": [1, 2]}, "unknown polygon type: Point"),
        ({"type": "Polygon", "coordinates": [[[1, 2], [3]]]}, r"GeoJSON points should be \[lat,long\]"),
    ],
)
def test_refused(geometry: object, message: str) -> None:
    with pytest.raises(MldbError, match=message):
        contains_point(geometry, 0, 0)
