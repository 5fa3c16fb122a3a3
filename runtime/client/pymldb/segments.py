"""Paths of the API as attributes and calls: ``connection.v1.datasets("iris").rows``, as old notebooks wrote them."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import quote


class Segments:
    """A path. An attribute is the next segment, a call an id, which is percent-encoded."""

    def __init__(self, connection: Any, path: str = "") -> None:
        self._connection = connection
        self._path = path

    @property
    def uri(self) -> str:
        return f"{self._connection.uri}{self._path}"

    def __getattr__(self, segment: str) -> Self:
        if segment.startswith("_"):
            raise AttributeError(segment)
        return type(self)(self._connection, f"{self._path}/{segment}")

    def __call__(self, id: Any) -> Self:
        return type(self)(self._connection, f"{self._path}/{quote(str(id), safe='')}")

    def get(self, data: Any = None, **kwargs: Any) -> Any:
        return self._connection.get(self._path, data, **kwargs)

    def put(self, payload: Any = None) -> Any:
        return self._connection.put(self._path, payload)

    def post(self, payload: Any = None) -> Any:
        return self._connection.post(self._path, payload)

    def delete(self) -> Any:
        return self._connection.delete(self._path)

    get_query = get
    get_json = get
    put_json = put
    post_json = post

    def __str__(self) -> str:
        return self.uri

    def __repr__(self) -> str:
        return f"<{self.uri}>"
