"""The documentation at ``/doc``, the pages of types, and the viewer of the API at ``/reference``."""

from __future__ import annotations

from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from server.declarations import EntityType
from server.entities.types import KINDS
from server.http import docpages
from server.http.host import Host
from server.templating import rendered


def routes(host: Host) -> list[BaseRoute]:
    """Routes for the page application, which runs them in threads: they wait for the disk."""
    return [
        Route("/doc", lambda _: RedirectResponse("/doc/")),
        Route("/doc/builtin/{plural}/{name}.md.html", partial(_type_page, host)),
        Mount("/doc/images", StaticFiles(directory=docpages.DOCS / "images", check_dir=False)),
        Route("/doc/search.json", _search_index),
        Route("/doc/rest.html", lambda _: RedirectResponse("/reference", 302)),
        Route("/doc/{path:path}", _page),
        # Where MLDB's API browser was.
        Route("/autodoc", lambda _: RedirectResponse("/reference", 302)),
        Route("/autodoc/autodoc", lambda _: RedirectResponse("/v1/help?autodoc", 302)),
        Route("/autodoc/{path:path}", lambda _: RedirectResponse("/reference", 302)),
        # Where the notebooks of MLDB's container were.
        Route("/ipy", lambda _: RedirectResponse(_NOTEBOOKS, 302)),
        Route("/ipy/{path:path}", lambda _: RedirectResponse(_NOTEBOOKS, 302)),
        Route("/reference", lambda _: HTMLResponse(rendered("reference.html"))),
    ]


def _page(request: Request) -> Response:
    path = request.path_params["path"]
    return _notebook(path) if path.endswith(".ipynb") else _named(path)


def _named(path: str) -> Response:
    name = (path or "index.html").removesuffix(".html")
    if not name.endswith((".md", ".ipynb")):
        name += ".md"
    text = docpages.text_of(name)
    if text is None:
        successor = next((page for start, page in OF_MLDB.items() if name.startswith(start)), None)
        if successor is not None:
            return RedirectResponse(f"/doc/{successor}", 302)
        index = f"{name.removesuffix('.md').strip('/')}/index.md"
        if index in docpages.TITLES:
            return RedirectResponse(f"/doc/{index}.html")
        return HTMLResponse(_served(_MISSING), 404)
    return HTMLResponse(_served(text, name), headers={"Cache-Control": "no-cache"})


def _notebook(name: str) -> Response:
    file = docpages.source(name)
    if file is None:
        return HTMLResponse(_served(_MISSING), 404)
    return FileResponse(file, media_type="application/x-ipynb+json", filename=file.name)


def _search_index(_: Request) -> Response:
    return Response(docpages.search_index(), media_type="application/json")


def _served(text: str, name: str = "") -> bytes:
    """A page of the documentation with the navigation of the console."""
    return docpages.page(text, name, root="/doc/", static="/static/", served=True)


def _type_page(host: Host, request: Request) -> Response:
    kind = KINDS.get(request.path_params["plural"])
    declared = host.types.find(kind, request.path_params["name"]) if kind is not None else None
    if declared is None:
        return _named("builtin/{plural}/{name}.md".format(**request.path_params))
    return HTMLResponse(_served(type_markdown(declared)))


def type_markdown(declared: EntityType) -> str:
    """What a type is, and its parameters as a table."""
    from server.http.doc_macros import parameters

    title = f"# {declared.kind.capitalize()} type {declared.name}"
    parts = [title, declared.summary, declared.doc.strip(), parameters(declared)]
    return "\n\n".join([*parts, "[All types](../../reference/types.md)"])


# Where what MLDB's pages of these addresses told is told here; the first that fits.
OF_MLDB: Final = {
    "builtin/sql/QueryAPI": "sql-guide.md.html#output-formats",
    "builtin/sql/ValueExpression": "reference/functions.md.html",
    "builtin/sql/": "sql-guide.md.html",
    "builtin/datasets/": "reference/types.md.html#datasets",
    "builtin/procedures/": "reference/types.md.html#procedures",
    "builtin/functions/": "reference/types.md.html#functions",
    "builtin/lang/": "plugin-guide.md.html",
    "builtin/plugins/": "plugin-guide.md.html",
    "builtin/DocumentationServing": "plugin-guide.md.html",
    "builtin/Algorithms": "reference/types.md.html",
    "builtin/ClassifierConf": "reference/learners.md.html",
    "builtin/Notebooks": "notebooks/index.md.html",
    "builtin/Demos": "notebooks/index.md.html",
    "nblink": "notebooks/index.md.html",
    "builtin/Url": "operations.md.html#storage-services",
    "builtin/Running": "operations.md.html",
    "builtin/BatchMode": "operations.md.html#start",
    "builtin/": "migrating-from-mldb.md.html",
}
_NOTEBOOKS: Final = "/doc/notebooks/index.md.html"
_MISSING: Final = "# There is no such page\n\n[All pages](/doc/)\n"
