"""Static and documentation files of plugins (plugin-runtime.md §6): looked at on the disk for every request.

A browser asks each time, and gets what has changed (RFC 9110: ETag, If-None-Match), or the part that it wants (Range).
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from runtime.folders import RefusedPath, decode_path, open_inside
from server.errors import MldbError
from server.messages import Request, Response

if TYPE_CHECKING:
    from server.entities.markdown import Macros

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
_TEXT_TYPES: Final = ("text/", "application/javascript", "application/json", "image/svg+xml")
_BASE_URL: Final = b"{{HTTP_BASE_URL}}"
_WHOLE_FILE: Final = 4 * 2**20  # larger files are streamed
_CHUNK: Final = 256 * 1024
_BACKTICKS: Final = re.compile("`+")
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")

Headers = list[tuple[str, str]]


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


async def serve(folder: Path, path: str, request: Request, macros: Macros) -> Response:
    """Answer for the file that a path (as sent) below the folder names; ``macros`` are those of Markdown pages."""
    try:
        name = decode_path(path)
    except RefusedPath as error:
        raise MldbError(f"{error}: {request.path[:200]}") from None
    return await asyncio.to_thread(_serve, folder, name, request, partial(_expand, folder, macros))


def _serve(folder: Path, name: str, request: Request, macros: Macros) -> Response:
    target = folder / name
    try:
        if target.is_dir() and target.resolve().is_relative_to(folder):
            if name and not name.endswith("/"):
                return Response(301, b"", "", [("Location", request.path + "/"), *HEADERS])
            return _index(folder, name, request, macros)
        return _file(folder, name, request, macros)
    except (OSError, ValueError):
        return _text(404, f"File 'file://{target}' doesn't exist")


def _index(folder: Path, name: str, request: Request, macros: Macros) -> Response:
    for index in ("index.html", "index.md"):
        if (folder / name / index).is_file():
            return _file(folder, name + index, request, macros)
    return _text(403, "Directory listing not allowed")


def _expand(folder: Path, macros: Macros, name: str, arguments: str) -> str | None:
    """The macros, and the one that shows a file of the folder: ``![](%%codeexample example.py python)``."""
    if name != "codeexample":
        return macros(name, arguments)
    file, _, language = arguments.partition(" ")
    try:
        with open_inside(folder, decode_path(file)) as stream:
            text = stream.read().decode("utf-8", "replace")
    except (OSError, ValueError, RefusedPath):
        return f"Error running codeexample macro: there is no file `{file}`"
    fence = "`" * (1 + max(2, *map(len, _BACKTICKS.findall(text)), 0))
    return f"{fence}{language.strip()}\n{text.rstrip()}\n{fence}"


def _file(folder: Path, name: str, request: Request, macros: Macros) -> Response:
    page = _markdown_source(folder, name)
    if page is not None:
        with open_inside(folder, page) as stream:
            from server.entities.markdown import render

            text = stream.read().decode("utf-8", "replace")
            return Response(200, render(text, Path(page).stem, macros), "text/html; charset=utf-8", list(HEADERS))
    stream = open_inside(folder, name)
    kind = content_type(name)
    status = os.fstat(stream.fileno())
    tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    headers = [*HEADERS, ("ETag", tag), ("Accept-Ranges", "bytes")]
    if _is_known(tag, request.headers.get("if-none-match", "")):
        stream.close()
        return Response(304, b"", "", headers)
    if status.st_size > _WHOLE_FILE:
        return _stream(stream, status.st_size, kind, headers, request)
    with stream:
        content = stream.read()
    if kind.startswith(_TEXT_TYPES):
        content = content.replace(_BASE_URL, b"")
    part = wanted_part(request, tag, len(content))
    if part is None:
        return Response(200, content, kind, headers)
    return _partial(content[part.start : part.stop], part, len(content), kind, headers)


def _stream(stream: BinaryIO, size: int, kind: str, headers: Headers, request: Request) -> Response:
    part = wanted_part(request, dict(headers)["ETag"], size)
    if part is None:
        return Response(200, _chunks(stream, size), kind, [*headers, ("Content-Length", str(size))])
    stream.seek(part.start)
    length = [("Content-Length", str(len(part)))] if part else []
    return _partial(_chunks(stream, len(part)), part, size, kind, [*headers, *length])


def _partial(content: bytes | AsyncIterator[bytes], part: range, size: int, kind: str, headers: Headers) -> Response:
    if not part:
        return Response(416, b"", "", [*headers, ("Content-Range", f"bytes */{size}")])
    return Response(206, content, kind, [*headers, ("Content-Range", f"bytes {part.start}-{part.stop - 1}/{size}")])


def _is_known(tag: str, known: str) -> bool:
    return known.strip() == "*" or tag in (each.strip().removeprefix("W/") for each in known.split(","))


def wanted_part(request: Request, tag: str, size: int) -> range | None:
    """The bytes that a request wants of a file of that size: none when it has no such bytes, None for all of it.

    Several ranges at once are not made: the whole is an answer too.
    """
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or request.headers.get("if-range", tag) != tag:
        return None
    first, last = found.groups()
    if not first:
        return None if not last else range(max(0, size - int(last)), size)
    end = size if not last else min(int(last) + 1, size)
    if last and int(last) < int(first):
        return None
    return range(int(first), max(int(first), end)) if int(first) < size else range(0)


def _markdown_source(folder: Path, name: str) -> str | None:
    """The Markdown file that ``x.md`` or ``x.md.html`` means."""
    if name.endswith(".md"):
        return name
    if name.endswith(".md.html") and not (folder / name).exists():
        return name.removesuffix(".html")
    return None


async def _chunks(stream: BinaryIO, size: int) -> AsyncIterator[bytes]:
    """The first ``size`` bytes, as Content-Length has said: what is appended meanwhile waits for the next request."""
    with stream:
        while size and (chunk := await asyncio.to_thread(stream.read, min(_CHUNK, size))):
            size -= len(chunk)
            yield chunk


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode("utf-8", "replace"), "text/plain", list(HEADERS))
