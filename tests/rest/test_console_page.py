"""The page of the console: what it says when nothing was bundled, and how its files are cached."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
from starlette.applications import Starlette

from server.http import console


def get(bundle: Path, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=console.routes(bundle)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_a_missing_bundle_says_what_to_do(tmp_path):
    answer = get(tmp_path / "none", "/console/query")
    assert answer.status_code == 503
    assert "make console" in answer.text
    (tmp_path / "manifest.json").write_text("{ half")
    assert get(tmp_path, "/").status_code == 503


def test_the_page_loads_what_the_manifest_names_and_files_never_change(tmp_path):
    manifest = {"script": "/static/console/main-1.js", "style": "/static/console/main-2.css", "preload": []}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "main-1.js").write_text("export {}")
    page = get(tmp_path, "/console/datasets/a")
    assert 'src="/static/console/main-1.js"' in page.text
    assert page.headers["cache-control"] == "no-cache"
    assert "immutable" in get(tmp_path, "/static/console/main-1.js").headers["cache-control"]
    assert get(tmp_path, "/static/console/package.json").status_code == 404
