"""Static and documentation files of plugins (plugin-runtime.md §6): read from the disk per request."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final

from runtime.folders import RefusedPath, decode_path, open_inside
from server.errors import MldbError
from server.messages import Request, Response

# Plugin pages may use inline code and libraries from elsewhere (the talk's page does); they may not be framed by
# other sites, send forms away or load plug-ins.
PLUGIN_POLICY: Final = (
    "default-src 'self' https: data: blob: 'unsafe-inline' 'unsafe-eval'; img-src * data: blob:; "
    "connect-src 'self' https: http: ws: wss: data: blob:; media-src * data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS: Final = [
    ("Content-Security-Policy", PLUGIN_POLICY),
    ("Cache-Control", "no-cache"),
]

# MLDB's own choices, by a part of the name; all else by its ending.
_TYPES_BY_PART: Final = (
    (".html", "text/html"),
    (".js", "application/javascript"),
    (".css", "text/css"),
    (".svg", "image/svg+xml"),
    (".pdf", "application/pdf"),
)
_TYPES_BY_SUFFIX: Final = {".json": "application/json", ".md": "text/plain", ".wasm": "application/wasm",
    ".webp": "image/webp", ".woff2": "font/woff2", ".mjs": "application/javascript", ".map": "application/json",
    ".ipynb": "application/json"}  # fmt: skip
_TEXT_TYPES: Final = ("text/", "application/javascript", "image/svg+xml")
_BASE_URL: Final = b"{{HTTP_BASE_URL}}"
_WHOLE_FILE: Final = 4 * 2**20  # larger files are streamed
_CHUNK: Final = 256 * 1024


def content_type(name: str) -> str:
    """The type of a file; text/plain for what is unknown."""
    lowered = name.lower()
    suffix = Path(lowered).suffix
    if suffix in _TYPES_BY_SUFFIX:
        return _TYPES_BY_SUFFIX[suffix]
    for part, kind in _TYPES_BY_PART:
        if part in lowered:
            return kind
    return mimetypes.guess_type(lowered, strict=False)[0] or "text/plain"


async def serve(folder: Path, path: str, request: Request) -> Response:
    """Answer for the file that a path (as sent) below the folder names."""
    try:
        name = decode_path(path)
    except RefusedPath as error:
        raise MldbError(f"{error}: {request.path[:200]}") from None
    return await asyncio.to_thread(_serve, folder, name, request)


def _serve(folder: Path, name: str, request: Request) -> Response:
    target = folder / name
    try:
        if target.is_dir() and target.resolve().is_relative_to(folder):
            if name and not name.endswith("/"):
                return Response(301, b"", "", [("Location", request.path + "/"), *HEADERS])
            return _index(folder, name)
        return _file(folder, name)
    except (OSError, ValueError):
        return _text(404, f"File 'file://{target}' doesn't exist")


def _index(folder: Path, name: str) -> Response:
    for index in ("index.html", "index.md"):
        if (folder / name / index).is_file():
            return _file(folder, name + index)
    return _text(403, "Directory listing not allowed")


def _file(folder: Path, name: str) -> Response:
    page = _markdown_source(folder, name)
    if page is not None:
        with open_inside(folder, page) as stream:
            from server.entities.markdown import render

            text = stream.read().decode("utf-8", "replace")
            return Response(200, render(text, Path(page).stem), "text/html; charset=utf-8", list(HEADERS))
    stream = open_inside(folder, name)
    kind = content_type(name)
    if os.fstat(stream.fileno()).st_size > _WHOLE_FILE:
        return Response(200, _chunks(stream), kind, list(HEADERS))
    with stream:
        content = stream.read()
    if kind.startswith(_TEXT_TYPES):
        content = content.replace(_BASE_URL, b"")
    return Response(200, content, kind, list(HEADERS))


def _markdown_source(folder: Path, name: str) -> str | None:
    """The Markdown file that ``x.md`` or ``x.md.html`` means."""
    if name.endswith(".md"):
        return name
    if name.endswith(".md.html") and not (folder / name).exists():
        return name.removesuffix(".html")
    return None


async def _chunks(stream: BinaryIO) -> AsyncIterator[bytes]:
    with stream:
        while chunk := await asyncio.to_thread(stream.read, _CHUNK):
            yield chunk


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode("utf-8", "replace"), "text/plain", list(HEADERS))
