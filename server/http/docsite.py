"""The documentation at ``/doc``, the pages of types, and the viewer of the API at ``/reference``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from server.declarations import EntityType
from server.entities.markdown import render
from server.entities.types import KINDS
from server.http.host import Host
from server.http.site import HEAD, navigation

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
HOME: Final = "index.md"
_SUFFIXES: Final = (".md", ".ipynb")
_REPOSITORY_PAGES: Final = {"../README.md": "index.md", "../CONTRIBUTING.md": "index.md", "../CHANGELOG.md": "index.md"}


def routes(host: Host) -> list[BaseRoute]:
    """Routes for the page application, which runs them in threads: they wait for the disk."""
    return [
        Route("/doc", lambda _: RedirectResponse("/doc/")),
        Route("/doc/builtin/{plural}/{name}.md.html", partial(_type_page, host)),
        Mount("/doc/images", StaticFiles(directory=DOCS / "images", check_dir=False)),
        Route("/doc/{path:path}", _page),
        Route("/reference", lambda _: HTMLResponse(_viewer())),
    ]


def _page(request: Request) -> Response:
    found = page(request.path_params["path"] or "index.html")
    if found is None:
        return HTMLResponse(_served(render(_MISSING, "Not found")), 404)
    return HTMLResponse(_served(found), headers={"Cache-Control": "no-cache"})


def _served(page: bytes) -> bytes:
    """A page of the documentation with the navigation of the console."""
    page = page.replace(b"<title>", f"{HEAD}\n<title>".encode(), 1)
    return page.replace(b"<body>", f"<body>{navigation('/doc/')}".encode(), 1)


def page(path: str) -> bytes | None:
    """The HTML of a page by the name of its file, with ``.html`` behind it or in place of ``.md``; None without one."""
    name = path.removesuffix(".html")
    file = (DOCS / (name if name.endswith(_SUFFIXES) else f"{name}.md")).resolve()
    if not file.is_relative_to(DOCS) or not file.is_file():
        return None
    return page_html(file)


def page_html(file: Path) -> bytes:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        text = notebook_markdown(json.loads(text))
    for outside, inside in _REPOSITORY_PAGES.items():
        text = text.replace(f"]({outside}", f"]({inside}")
    return render(text, file.stem)


def notebook_markdown(notebook: dict[str, Any]) -> str:
    """The cells of a notebook and the text of their outputs."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [f"```\n{text.rstrip()}\n```" for text in map(_output, cell.get("outputs", ())) if text]
    return "\n\n".join(parts)


def _output(output: dict[str, Any]) -> str:
    return "".join(output.get("text") or output.get("data", {}).get("text/plain") or ())


def site() -> Iterator[tuple[str, bytes]]:
    """Every page as a file of a static site: its path and its content."""
    for file in sorted(file for file in DOCS.rglob("*") if file.suffix in _SUFFIXES):
        content = page_html(file)
        depth = len(file.relative_to(DOCS).parts) - 1
        style = f'"{"../" * depth}markdown.css"'.encode()
        name = str(file.relative_to(DOCS)) + ".html"
        yield name, content.replace(b'"/static/markdown.css"', style).replace(b'.ipynb"', b'.ipynb.html"')
        if name == f"{HOME}.html":
            yield "index.html", content.replace(b'"/static/markdown.css"', style)
    for picture in sorted(DOCS.rglob("images/*.png")):
        yield str(picture.relative_to(DOCS)), picture.read_bytes()
    yield "markdown.css", (DOCS.parent / "static" / "markdown.css").read_bytes()


def _type_page(host: Host, request: Request) -> Response:
    kind = KINDS.get(request.path_params["plural"])
    declared = host.types.find(kind, request.path_params["name"]) if kind is not None else None
    if declared is None:
        return HTMLResponse(_served(render(_MISSING, "Not found")), 404)
    return HTMLResponse(_served(render(type_markdown(declared), declared.name)))


def type_markdown(declared: EntityType) -> str:
    """What a type is, and its parameters as a table."""
    from server.http.describe import describe_params

    fields = describe_params(declared.params)["fields"]
    rows = [
        f"| `{field['name']}` | {field['type']['typeName']} | {_default(field)} | {_cell(field['comment'])} |"
        for field in fields
    ]
    table = (
        "\n".join(["| parameter | type | default | meaning |", "|---|---|---|---|", *rows])
        if rows
        else "No parameters."
    )
    title = f"# {declared.kind.capitalize()} type {declared.name}"
    return "\n\n".join([title, declared.summary, declared.doc.strip(), table, "[All types](../../reference/types.md)"])


def _default(field: dict[str, Any]) -> str:
    if "default" not in field:
        return "required"
    return "" if field["default"] is None else f"`{_cell(field['default'])}`"


def _cell(value: Any) -> str:
    return escape(str(value), quote=False).replace("|", "\\|").replace("\n", " ")


_MISSING: Final = "# There is no such page\n\n[All pages](/doc/)\n"


def _viewer() -> str:
    return _VIEWER.format(head=HEAD, navigation=navigation("/reference"))


_VIEWER: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>API · MLDB</title>
{head}
<link rel="stylesheet" href="/static/markdown.css">
<link rel="stylesheet" href="/static/reference/reference.css">
<script src="/static/reference/reference.js" type="module"></script>
</head>
<body>
{navigation}
<main>
<h1>API</h1>
<p>Every route of the server and of its plugins, as <a href="/openapi.json">OpenAPI 3.1</a>.</p>
<label>Search <input id="search" type="search" placeholder="a path, a verb or a word" autocomplete="off"></label>
<p id="state" role="status">loading</p>
<div id="routes"></div>
</main>
</body>
</html>
"""
