"""``Resource("http://localhost:8080")``: paths of a server by its address, as old notebooks wrote them."""

from __future__ import annotations

from typing import Any

from .connection import Connection
from .segments import Segments


class Resource(Segments):
    """A path of the server at an address, or of a ``Connection``."""

    def __init__(self, host: str | Any, path: str = "") -> None:
        super().__init__(Connection(host) if isinstance(host, str) else host, path)
