"""The Python client of the server, with the interface that pymldb 0.8.1 had: ``from pymldb import Connection``.

It needs the extra ``client`` (``uv sync --inexact --extra client``, or ``pip install '.[client]'``) for data frames
and for widgets in notebooks;
``%load_ext pymldb`` brings the magics.
"""

from __future__ import annotations

from typing import Any

from .aio import AsyncConnection
from .connection import Connection
from .failures import ResourceError

__version__ = "0.8.1"  # of the interface
__all__ = ["AsyncConnection", "Connection", "ResourceError"]


def load_ipython_extension(shell: Any) -> None:
    """What ``%load_ext pymldb`` calls."""
    from .magic import dispatcher

    shell.register_magic_function(dispatcher, "line_cell", "mldb")
