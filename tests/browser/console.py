"""What the journeys through the console share: opening pages with every trouble noted, and the accessibility check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, RunningServer
from tests.waiting import PATIENCE, until

AXE = ROOT / "static" / "console" / "node_modules" / "axe-core" / "axe.min.js"
BUNDLE = ROOT / "static" / "console" / "dist" / "manifest.json"
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 860}
SERIOUS = ("serious", "critical")
# Kept: nothing moves that ends by itself, and nothing was changed for a while.
STILL = """() => new Promise((done) => {
  let timer;
  const wait = () => { clearTimeout(timer); timer = setTimeout(look, 200); };
  const ends = (each) => Number.isFinite(each.effect?.getComputedTiming().endTime ?? 0);
  const look = () => {
    if (document.getAnimations().some((each) => each.playState === 'running' && ends(each))) return wait();
    observer.disconnect();
    done();
  };
  const observer = new MutationObserver(wait);
  observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
  wait();
})"""


def opened(browser: Any, server: RunningServer, path: str = "/", *, tour: bool = False, **options: Any) -> Any:
    """A page of the console in a context of its own. ``page.troubles`` collects errors of scripts and the console."""
    assert BUNDLE.is_file(), "the console is not built: make console"
    context = browser.new_context(**{"viewport": DESK, **options})
    context.set_default_timeout(1000 * PATIENCE)
    if not tour:
        context.add_init_script("localStorage.setItem('mldb.tour', 'seen')")
    page = context.new_page()
    page.troubles = []
    page.awaited = set()
    page.on("request", lambda request: page.awaited.add(request) if "/events" not in request.url else None)
    page.on("requestfinished", lambda request: page.awaited.discard(request))
    page.on("requestfailed", lambda request: page.awaited.discard(request))
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("console", lambda line: page.troubles.append(line.text) if line.type in ("error", "warning") else None)
    page.goto(server.url + path)
    page.wait_for_selector("main h1")
    return page


def closed(page: Any) -> None:
    """Nothing may have gone wrong on the way."""
    assert page.troubles == []
    page.context.close()


def settled(page: Any) -> None:
    """Everything that the page asked for is there and shown."""
    until(lambda: page.wait_for_timeout(20) or not getattr(page, "awaited", ()), "the page waits for something")
    page.evaluate(STILL)


def findings(page: Any) -> list[str]:
    """What axe finds serious or worse on the settled page, each with the first element concerned."""
    settled(page)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]


def fits(page: Any) -> bool:
    """Whether the page is no wider than its window."""
    width: int = page.evaluate("document.documentElement.scrollWidth")
    return width <= page.viewport_size["width"]


def keep(page: Any, name: str) -> None:
    """A picture for people, where MLDB_SCREENSHOTS names a folder."""
    if folder := os.environ.get("MLDB_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def fill(server: RunningServer) -> None:
    """A dataset with numbers, texts, gaps and times, a function, a procedure that has run, and a broken function."""
    moments = ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")
    rows = [
        [f"row {i}", [["x", i / 10, moments[0]], ["x", i, moments[1]], ["label", "abc"[i % 3], moments[i % 2]]]]
        for i in range(300)
    ]
    with server.client() as client:
        client.put("/v1/datasets/demo", json={"type": "sparse.mutable"})
        client.post("/v1/datasets/demo/multirows", json=[*rows, ["last", [["rare <b>", "ü", moments[0]]]]])
        client.post("/v1/datasets/demo/commit")
        client.put("/v1/functions/double", json={"type": "sql.expression", "params": {"expression": "x * 2 AS y"}})
        client.put("/v1/functions/broken", json={"type": "sql.expression", "params": {"expression": "1 +"}})
        client.put("/v1/procedures/quick", json={"type": "null"})
