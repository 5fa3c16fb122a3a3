"""Makes the pictures in docs/images: servers with data of their own, looked at by a real browser.

python docs/screenshots.py [Chromium]
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Page, sync_playwright  # noqa: E402

from tests.browser.models import FEATURES, furnish  # noqa: E402
from tests.conftest import Client, RunningServer  # noqa: E402

IMAGES = ROOT / "docs" / "images"
QUERY = "SELECT petal_length, petal_width, kind FROM flowers ORDER BY petal_length"
RIVALS: dict[str, dict[str, Any]] = {
    "trees": {"type": "bagging", "num_bags": 10, "weak_learner": {"type": "decision_tree"}},
    "boosted": {"type": "boosting", "max_iter": 20, "weak_learner": {"type": "decision_tree", "max_depth": 2}},
    "linear": {"type": "glz"},
}
FLAGS = ["--no-sandbox", "--disable-background-networking"]
PATIENCE_MS = 180_000  # the network of the image classifier is built meanwhile


def main() -> None:
    browser = sys.argv[1] if len(sys.argv) > 1 else shutil.which("chromium") or shutil.which("google-chrome")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        server = RunningServer(Path(folder) / "data")
        try:
            with server.client() as client:
                client.timeout = 120
                furnish(client, count=300)
                add_rivals(client)
                client.post("/v1/plugin-folders/garden")
            look(server.url, browser)
        finally:
            server.stop()
    with tempfile.TemporaryDirectory() as folder:
        server = RunningServer(Path(folder) / "data", "--plugin-directory", str(ROOT / "plugins" / "image_classifier"))
        try:
            look_at_digits(server, browser)
        finally:
            server.stop()


def add_rivals(client: Client) -> None:
    """Experiments over the same rows by learners of different kinds."""
    rows = f"SELECT {FEATURES} AS features, kind = 'versicolor' AS label FROM flowers"
    for name, configuration in RIVALS.items():
        params = {
            "experimentName": name, "mode": "boolean", "kfold": 3, "inputData": rows, "configuration": configuration,
            "modelFileUrlPattern": "file:///mldb_data/models/$runid.cls",
        }  # fmt: skip
        client.must("PUT", f"/v1/procedures/{name}", {"type": "classifier.experiment", "params": params})


def save(page: Page, name: str) -> None:
    """With a palette of its own, which is a third of the bytes."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    palette.save(IMAGES / f"{name}.png", optimize=True)


def look(url: str, browser: str | None) -> None:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        for scheme, width in (("light", 1280), ("dark", 1280), ("light", 360)):
            context = opened.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            context.set_default_timeout(PATIENCE_MS)
            context.add_init_script("localStorage.setItem('mldb.tour', 'seen')")
            page = context.new_page()
            for name, prepare in SCENES.items():
                if (width > 1000 and scheme == "light") or name in ("plugins", "query", "report", "map"):
                    prepare(page, url)
                    page.wait_for_timeout(1500)
                    suffix = "" if (scheme, width) == ("light", 1280) else "-phone" if width < 1000 else "-dark"
                    save(page, f"{name}{suffix}")
            context.close()
        opened.close()


def look_at_digits(server: RunningServer, browser: str | None) -> None:
    """The reference plugin's page, with many digits at once."""
    from sklearn.datasets import load_digits

    files = []
    for number, levels in enumerate(load_digits().images[1300:1310]):
        content = io.BytesIO()
        Image.fromarray((np.kron(levels, np.ones((16, 16))) * 255 / 16).astype(np.uint8)).save(content, "PNG")
        files.append({"name": f"digit {number + 1}.png", "mimeType": "image/png", "buffer": content.getvalue()})
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        page = opened.new_page(viewport={"width": 1280, "height": 1180})
        page.set_default_timeout(PATIENCE_MS)
        address = f"{server.url}/v1/plugins/image_classifier/routes/static/"
        while not page.request.get(address).ok:
            page.wait_for_timeout(100)
        page.goto(address)
        page.locator("#samples button").nth(3).click()
        page.wait_for_selector("#result li")
        page.locator("#file").set_input_files(files)
        page.get_by_text("10 of 10 pictures classified").wait_for()
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(1500)
        save(page, "classifier")
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


def filled_form(page: Page, url: str) -> None:
    at("/console/new/procedure?type=kmeans.train")(page, url)
    page.get_by_label("Name", exact=True).fill("group flowers by size")
    page.get_by_label("trainingData").click()
    page.keyboard.insert_text("SELECT petal_length, petal_width FROM flowers")
    page.keyboard.press("Escape")
    page.get_by_label("outputDataset", exact=True).fill("flower_groups")
    page.get_by_label("functionName").fill("group_of")
    page.get_by_label("Configuration as JSON").click()


def tried(page: Page, url: str) -> None:
    at("/console/functions/kinds_scorer?try=row&dataset=flowers&row=flower+2")(page, url)
    page.get_by_role("button", name="Apply").click()


def run_of(procedure: str) -> Callable[[Page, str], None]:
    def go(page: Page, url: str) -> None:
        runs = f"{url}/v1/procedures/{quote(procedure)}/runs"
        (run,) = page.request.get(runs).json()
        at(f"/console/procedures/{quote(procedure)}/runs/{run}")(page, url)
        page.get_by_role("region", name="Report").wait_for()

    return go


def compared(page: Page, url: str) -> None:
    keys = []
    for procedure in (*RIVALS, "test versicolor"):
        (run,) = page.request.get(f"{url}/v1/procedures/{quote(procedure)}/runs").json()
        keys.append(("run", f"{procedure}/{run}"))
    at(f"/console/compare?{urlencode(keys)}")(page, url)
    page.locator("g[stroke^='var(--run-']").last.wait_for()


SCENES: dict[str, Callable[[Page, str], None]] = {
    "plugins": at("/"),
    "query": plot,
    "datasets": at("/console/datasets"),
    "dataset": at("/console/datasets/flowers"),
    "functions": at("/console/functions"),
    "function": tried,
    "procedures": at("/console/procedures"),
    "new-procedure": filled_form,
    "report": run_of("test versicolor"),
    "labels": run_of("test kinds"),
    "compare": compared,
    "map": run_of("group flowers"),
    "log": lambda page, url: (page.goto(f"{url}/logs/mldb"), None)[1],
}

if __name__ == "__main__":
    main()
