"""The console: one page for every path below ``/`` and ``/console``, and the bundle that it loads."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from server import __version__
from server.templating import rendered

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
        return HTMLResponse(rendered("console_missing.html", folder=bundle), 503, {"Cache-Control": "no-store"})
    text = rendered(
        "console.html",
        version=__version__,
        script=manifest["script"],
        style=manifest["style"],
        preload=manifest["preload"],
    )
    return HTMLResponse(text, headers={"Cache-Control": "no-cache"})
