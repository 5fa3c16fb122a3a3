"""The graceful end of a server: requests in flight may end, new ones are not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uvicorn


class Shutdown:
    """Anybody may ask for it; what would stream for ever ends once it has begun. Signals begin it too."""

    def __init__(self) -> None:
        self._server: uvicorn.Server | None = None

    def attach(self, server: uvicorn.Server) -> None:
        """What is to end. Before that nothing can."""
        self._server = server

    def begin(self) -> None:
        if self._server is not None:
            self._server.should_exit = True

    @property
    def begun(self) -> bool:
        return self._server is not None and self._server.should_exit
