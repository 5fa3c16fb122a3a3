"""The console: one page for every path below ``/`` and ``/console``, and the bundle that it loads."""

from __future__ import annotations

import json
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from server import __version__

_ONE_YEAR: Final = "public, max-age=31536000, immutable"
MANIFEST: Final = "manifest.json"


def routes(bundle: Path) -> list[BaseRoute]:
    """Routes for the page application. ``bundle`` is the folder that ``make console`` fills."""
    page = partial(_page, bundle)
    assets = Mount("/static/console", _Bundle(directory=bundle, check_dir=False))
    return [Route("/", page), Route("/console", page), Route("/console/{path:path}", page), assets]


class _Bundle(StaticFiles):
    """Files whose names carry a hash of their content: a browser never needs to ask again."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = _ONE_YEAR
        return answer


def _page(bundle: Path, _: Request) -> Response:
    try:
        manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return HTMLResponse(_MISSING.format(folder=escape(str(bundle))), 503, {"Cache-Control": "no-store"})
    preload = "".join(f'<link rel="modulepreload" href="{escape(name)}">\n' for name in manifest["preload"])
    text = _PAGE.format(
        version=escape(__version__), script=escape(manifest["script"]), style=escape(manifest["style"]), preload=preload
    )
    return HTMLResponse(text, headers={"Cache-Control": "no-cache"})


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="mldb-version" content="{version}">
<title>MLDB</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{style}">
{preload}<script type="module" src="{script}"></script>
</head>
<body>
<div id="console"></div>
<noscript><p class="unscripted">The console needs JavaScript; the <a href="/v1/help">API</a> does not.</p></noscript>
</body>
</html>
"""

_MISSING: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The console is not built · MLDB</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/landing.css">
</head>
<body>
<main>
<h1>MLDB</h1>
<p>The server is running, but its console has not been built: there is nothing in <code>{folder}</code>.</p>
<p>Run <code>make console</code> in the source tree and load this page again; <code>make run</code> does it for you.</p>
<p>Until then: the <a href="/v1/help">API</a>, the <a href="/logs/mldb">log</a>.</p>
</main>
</body>
</html>
"""
