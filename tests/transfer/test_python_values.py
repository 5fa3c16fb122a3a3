"""Values of other systems' libraries as atoms, and back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.transfer.pythonvalues import atom_of_python, python_of
from server.values.atoms import Interval


@pytest.mark.parametrize(
    ("duration", "interval"),
    [
        (timedelta(days=2, seconds=3, microseconds=500_000), Interval(0, 2, 3.5)),
        (timedelta(days=-2, seconds=-3), Interval(0, -2, -3.0)),
        (timedelta(seconds=-1), Interval(0, 0, -1.0)),
        (timedelta(), Interval(0, 0, 0.0)),
    ],
)
def test_durations_are_intervals_of_one_sign(duration: timedelta, interval: Interval) -> None:
    assert atom_of_python(duration) == interval
    assert python_of(interval) == duration


def test_months_have_thirty_days() -> None:
    assert python_of(Interval(-1, -2, -0.0)) == timedelta(days=-32)
