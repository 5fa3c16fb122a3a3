import os
import shutil

import pytest

from tests.conftest import ROOT, RunningServer
from tests.waiting import PATIENCE, until

FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="package")
def chromium():
    """Path of the browser; without one the tests are skipped, on CI they fail."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("CI") == "true":
        pytest.fail("the browser tests need Chromium: apt-get install chromium")
    return pytest.skip("no Chromium: apt-get install chromium")


@pytest.fixture(scope="package")
def browser(chromium):
    """Playwright runs an event loop in this thread as long as it lives: it ends before the tests of other folders."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, "--no-first-run"])
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory, graphs, chromium):
    """A server with the reference plugin, whose network is a small one with random weights; its address."""
    data = tmp_path_factory.mktemp("data")
    models = data / "models" / "image_classifier"
    models.mkdir(parents=True)
    shutil.copy(graphs / "inception.pb", models / "inception_random.pb")
    environment = {"INCEPTION_WEIGHTS": str(data / "none.h5")}
    running = RunningServer(
        data, "--plugin-directory", str(ROOT / "plugins" / "image_classifier"), environment=environment
    )
    with running.client() as client:
        until(
            lambda: client.get("/readyz").status_code == 200
        )  # folders of plugins are loaded after the first requests
    yield running.url
    running.stop()
