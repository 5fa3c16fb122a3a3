"""Makes the pictures of the console in docs/images: a server with data of its own, looked at by a real browser.

python docs/screenshots.py [Chromium]
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Page, sync_playwright  # noqa: E402

from tests.conftest import Client, RunningServer  # noqa: E402

IMAGES = ROOT / "docs" / "images"
QUERY = "SELECT petal_length, petal_width, kind FROM flowers ORDER BY petal_length"
FLAGS = ["--no-sandbox", "--disable-background-networking"]


def main() -> None:
    browser = sys.argv[1] if len(sys.argv) > 1 else shutil.which("chromium") or shutil.which("google-chrome")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = RunningServer(Path(folder) / "data")
        try:
            with server.client() as client:
                furnish(client)
            look(server.url, browser)
        finally:
            server.stop()


def furnish(client: Client) -> None:
    """Data, a trained model and a plugin, all made here."""
    rng = random.Random(7)
    rows = [[f"flower {i}", flower(i, rng)] for i in range(300)]
    client.put("/v1/datasets/flowers", json={"type": "sparse.mutable"})
    client.post("/v1/datasets/flowers/multirows", json=rows)
    client.post("/v1/datasets/flowers/commit")
    train = {
        "type": "kmeans.train",
        "params": {
            "trainingData": "SELECT petal_length, petal_width FROM flowers",
            "modelFileUrl": "file:///mldb_data/models/flowers.kms",
            "outputDataset": {"id": "flower_groups", "type": "embedding"},
            "numClusters": 3,
            "functionName": "group_of",
        },
    }
    client.put("/v1/procedures/group flowers", json=train)
    client.post("/v1/plugin-folders/garden")


def flower(number: int, rng: random.Random) -> list[list[Any]]:
    kind = number % 3
    length = 1.5 + 2 * kind + rng.gauss(0, 0.35)
    values = {"petal_length": length, "petal_width": length / 3 + rng.gauss(0, 0.15), "kind": "abc"[kind]}
    return [[name, round(value, 2) if isinstance(value, float) else value, 0] for name, value in values.items()]


def look(url: str, browser: str | None) -> None:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
            context = opened.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            context.add_init_script("localStorage.setItem('mldb.tour', 'seen')")
            page = context.new_page()
            for name, prepare in SCENES.items():
                if (width > 1000 and scheme == "light") or name in ("plugins", "query"):
                    prepare(page, url)
                    page.wait_for_timeout(1500)
                    suffix = "" if (scheme, width) == ("light", 1280) else "-phone" if width < 1000 else "-dark"
                    page.screenshot(path=IMAGES / f"{name}{suffix}.png")
            context.close()
        opened.close()


def at(path: str) -> Callable[[Page, str], None]:
    def go(page: Page, url: str) -> None:
        page.goto(url + path)
        page.wait_for_selector("main h1")

    return go


def plot(page: Page, url: str) -> None:
    at(f"/console/query?q={QUERY.replace(' ', '+')}")(page, url)
    page.get_by_role("button", name="Run").click()
    page.get_by_role("tab", name="Plot").click()
    page.locator("label.field select").nth(3).select_option("kind")


SCENES: dict[str, Callable[[Page, str], None]] = {
    "plugins": at("/"),
    "query": plot,
    "datasets": at("/console/datasets"),
    "dataset": at("/console/datasets/flowers"),
    "functions": at("/console/functions"),
    "procedures": at("/console/procedures"),
    "log": lambda page, url: (page.goto(f"{url}/logs/mldb"), None)[1],
}

if __name__ == "__main__":
    main()
