"""pyarrow as ``pa``, loaded at its first use: a server that has nothing to do yet need not carry 35 MB of it.

For modules that an idle server imports; all others import pyarrow as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["pa"]

if TYPE_CHECKING:
    import pyarrow as pa
else:

    class _Arrow:
        def __getattr__(self, name: str) -> object:
            import pyarrow

            value = getattr(pyarrow, name)
            setattr(self, name, value)
            return value

    pa = _Arrow()
