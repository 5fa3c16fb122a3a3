"""What opens on the pages of the console, and the pages of the documentation: accessible, and as wide as the window.

The pages themselves as they first show are looked at in ``test_console.py``.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from server.http.docpages import CONTENTS
from tests.browser.console import DESK, PHONE, closed, fill, findings, fits, opened
from tests.conftest import RunningServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOOKS = pytest.mark.parametrize(
    ("scheme", "size"), [("dark", DESK), ("light", PHONE)], ids=["desk dark", "phone light"]
)


@pytest.fixture(scope="module")
def server(tmp_path_factory, chromium):
    running = RunningServer(tmp_path_factory.mktemp("accessible") / "data")
    fill(running)
    with running.client() as client:
        client.put("/v1/plugins/torn", json={"type": "python", "params": {"source": {"main": "1 / 0"}}})
        source = {"main": "value = 1", "routes": "value / 0"}
        client.put("/v1/plugins/hasty", json={"type": "python", "params": {"source": source}})
        assert client.get("/v1/plugins/hasty/routes/sum").status_code == 400
    yield running
    running.stop()


@LOOKS
def test_what_opens_on_the_pages(browser, server, scheme, size):
    page = opened(browser, server, viewport=size, color_scheme=scheme, tour=True)

    def looked(at: str) -> None:
        assert (findings(page), fits(page)) == ([], True), at

    tour = page.get_by_role("region", name="Tour")
    for _ in range(3):
        tour.get_by_role("button", name="Next").click()
    expect(page.get_by_text("GET /sum")).to_be_visible()
    looked("the tour, a plugin that failed, a request that failed")
    tour.get_by_role("button", name="Done").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    looked("the keys")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    looked("a question")
    page.keyboard.press("Escape")
    page.get_by_label("Name of a new plugin").fill("torn")
    page.get_by_label("Git address").fill("git://127.0.0.1:1/x")
    page.get_by_role("button", name="Install from git").click()
    expect(page.locator(".notice.error").last).to_be_visible()
    looked("an installation that failed")
    page.goto(f"{server.url}/console/functions/broken")
    expect(page.get_by_role("heading", name="broken")).to_be_visible()
    looked("a function that could not be made")
    page.troubles.clear()  # the browser notes what was refused
    closed(page)


@LOOKS
def test_what_a_query_shows(browser, server, scheme, size):
    page = opened(browser, server, "/console/query?q=SELECT+*+FROM+demo", viewport=size, color_scheme=scheme)
    page.get_by_label("With times").check()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="301 rows")).to_be_visible()
    for view in ("Table", "Plot", "Pictures", "Compiled"):
        page.get_by_role("tab", name=view).click()
        assert (findings(page), fits(page)) == ([], True), view
    page.locator("summary", has_text="Saved").click()
    assert (findings(page), fits(page)) == ([], True), "saved queries"
    closed(page)


@LOOKS
@pytest.mark.parametrize("group", CONTENTS)
def test_the_documentation(browser, server, group, scheme, size):
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    for name in CONTENTS[group]:
        page.goto(f"{server.url}/doc/{name}.html")
        page.wait_for_selector("h1")
        assert (findings(page), fits(page)) == ([], True), name
    context.close()
