"""Credentials for storage services (rest-api.md §11): kept in a file of the data root that only its owner reads."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server.entities import jsontext
from server.entities.documents import read_document, write_document
from server.entities.entry import exists, missing
from server.errors import MldbError

_REMOVED = {"secret": "<<credentials removed>>"}


class Credentials:
    """Stored credentials by id. They are never shown again, and never overwritten."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._stored: dict[str, dict[str, Any]] = read_document(file, {})

    def ids(self) -> list[str]:
        return sorted(self._stored)

    def add(self, id: str, config: Any) -> tuple[str, dict[str, Any]]:
        """Enter a credential; its id and status. 409 when the id is taken."""
        store = config.get("store") if isinstance(config, dict) else None
        if not isinstance(store, dict) or not isinstance(store.get("credential"), dict):
            raise MldbError("a credential needs a 'store' object with a 'credential' object")
        id = id or hashlib.blake2b(jsontext.free_form(config), digest_size=8).hexdigest()
        with self._lock:
            if id in self._stored:
                raise exists("credential", id)
            self._write({**self._stored, id: store})
        return id, self.status(id)

    def status(self, id: str) -> dict[str, Any]:
        store = self._stored.get(id)
        if store is None:
            raise missing("credential", id)
        shown = {name: store[name] for name in ("resourceType", "resource") if name in store}
        return {"stored": {**shown, "credential": _REMOVED}}

    def remove(self, id: str) -> None:
        with self._lock:
            if id in self._stored:
                self._write({other: store for other, store in self._stored.items() if other != id})

    def lookup(self, resource_type: str, url: str) -> dict[str, Any] | None:
        """The credential with the longest ``resource`` that the URL begins with."""
        fitting = [
            store
            for store in self._stored.values()
            if store.get("resourceType") == resource_type and _covers(str(store.get("resource", "")), url)
        ]
        best = max(fitting, key=lambda store: len(str(store.get("resource", ""))), default=None)
        credential: dict[str, Any] | None = None if best is None else best["credential"]
        return credential

    def _write(self, stored: dict[str, dict[str, Any]]) -> None:
        write_document(self._file, stored)
        self._stored = stored


def _covers(resource: str, url: str) -> bool:
    """Does a URL begin with a resource, the name of its host whole?

    Else a password for sftp://host would go to host.example.org too. Buckets are no hosts: their names may be begun.
    """
    begun = urlsplit(resource)
    if not url.startswith(resource) or not begun.netloc or begun.path or begun.scheme == "s3":
        return url.startswith(resource)
    host, wanted = (text.rpartition("@")[2] for text in (urlsplit(url).netloc, begun.netloc))
    return host == wanted or host.startswith(f"{wanted}:")
