"""Limits of what is read from the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLOWEST: Final = 10 * 1024  # bytes per second, of a server that nobody has said to be patient with


@dataclass(frozen=True)
class WebLimits:
    """Limits of a request, in seconds and bytes. ``slow_rate`` bytes per second over ``slow_window`` is too slow;
    a rate of 0 only asks for a sign of life within ``read``."""

    connect: float = 20.0
    read: float = 60.0
    total: float = 3600.0
    size: int = 1 << 40
    redirects: int = 20
    slow_rate: int = 0
    slow_window: float = 5.0
