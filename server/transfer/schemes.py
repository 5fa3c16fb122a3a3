"""What a scheme of URLs can offer, and how URLs are taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from server.errors import MldbError
from server.transfer.streams import Sink, Source
from server.values.atoms import NEVER, timestamp_text

ARCHIVE = "archive+"
SCHEMES = ("file", "http", "https", "mem", "s3", "sftp")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


@dataclass(frozen=True)
class UrlStat:
    """What is known of a resource without reading it. ``size`` is -1 when unknown."""

    exists: bool
    size: int = -1
    last_modified: float = NEVER
    etag: str = ""

    def json(self) -> dict[str, Any]:
        """The object that ``mldb.ls`` shows (plugin-runtime.md §5)."""
        return {
            "exists": self.exists,
            "lastModified": timestamp_text(self.last_modified),
            "size": self.size,
            "etag": self.etag,
            "storageClass": "",
            "ownerId": "",
            "ownerName": "",
            "contentType": "",
            "objectMetadata": {},
            "userMetadata": {},
        }


class Scheme:
    """How the URLs of a scheme are used; what a scheme says nothing of, it refuses. Errors are ``MldbError``."""

    def open_read(self, url: str, *, patient: bool = False) -> Source:
        """The content as it is stored. ``patient``: slow servers are waited for."""
        raise _cannot("read", url)

    def open_write(self, url: str) -> Sink:
        raise _cannot("written", url)

    def make_room(self, url: str) -> None:
        """Make what must be there before something is written, such as folders."""

    def stat(self, url: str) -> UrlStat:
        with self.open_read(url).stream:
            return UrlStat(True)

    def entries(self, url: str) -> Iterable[tuple[str, UrlStat | None]]:
        """The URLs directly below one, None for folders."""
        raise _cannot("listed", url)

    def delete(self, url: str) -> None:
        raise _cannot("deleted", url)


def _cannot(done: str, url: str) -> MldbError:
    return MldbError(f"a URL of scheme '{split_scheme(url)[0]}' cannot be {done}")


def split_scheme(url: str) -> tuple[str, str]:
    """Scheme in lower case and what follows ``://``; errors for a URL without one and for unknown ones."""
    found = _SCHEME.match(url)
    if found is None:
        raise MldbError(f"Attempt to create a URL without a scheme: '{url}'. A local file is written {_as_url(url)}")
    scheme, rest = found[1].lower(), url[found.end() :].removeprefix("//")
    if scheme.startswith(ARCHIVE):
        split_scheme(url[len(ARCHIVE) :])
        return "archive", url[len(ARCHIVE) :]
    if scheme not in SCHEMES:
        raise MldbError(f"Uri handler not found for scheme '{scheme}' of '{url}'")
    return scheme, rest


def _as_url(path: str) -> str:
    if path.startswith("/"):
        return f"file://{path}"
    return f"file:///mldb_data/{path} (below the data root) or file://{path} (below the server's working directory)"


def split_archive(url: str) -> tuple[str, str]:
    """URL of the archive and name of the member. Each ``archive+`` at the front takes one ``#``, from the left."""
    depth, rest = 0, url
    while rest.startswith(ARCHIVE):
        depth, rest = depth + 1, rest[len(ARCHIVE) :]
    parts = rest.split("#", depth)
    if len(parts) <= depth:
        raise MldbError("Extracting a file from an archive requires a # between archive URI and path within archive")
    return ARCHIVE * (depth - 1) + "#".join(parts[:-1]), parts[-1]


def has_scheme(text: str) -> bool:
    """Whether a text is a URL rather than the name of a file."""
    return text.startswith(ARCHIVE) or "://" in text[:64]
