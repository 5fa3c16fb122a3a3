"""Datasets that a parameter describes instead of naming one: they go with what they were made for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Making:
    """Something under way that may make datasets. ``lasting``: it is restored by their ids, not made anew."""

    lasting: bool
    ids: list[str] = field(default_factory=list)


_making: ContextVar[Making | None] = ContextVar("making", default=None)


def current() -> Making | None:
    """What the thread is making, if anything that inline datasets belong to."""
    return _making.get()


@contextmanager
def making(*, lasting: bool = False) -> Iterator[list[str]]:
    """Collects the ids of the inline datasets that are made in the block."""
    made = Making(lasting)
    token = _making.set(made)
    try:
        yield made.ids
    finally:
        _making.reset(token)
