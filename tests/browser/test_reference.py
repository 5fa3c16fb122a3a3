"""The API reference in a browser: found by a word, opened and tried with the keyboard, on a phone too."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [390, 1200])
def test_a_route_is_found_and_tried(browser, server, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    problems = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{server}/reference")
    expect(page.locator("#state")).to_contain_text("routes")
    page.get_by_label("Search").fill("get /v1/query run an sql")
    expect(page.locator("#state")).to_have_text("1 route")
    route = page.locator("section > details:not([hidden])")
    route.locator("summary").first.press("Enter")
    route.get_by_text("Answers", exact=True).press("Enter")
    expect(route.get_by_text("QueryResult =")).to_be_visible()
    route.locator("input[name=q]").fill("SELECT 6 * 7 AS answer")
    route.locator("input[name=format]").fill("atom")
    route.locator("input[name=format]").press("Enter")
    expect(page.locator(".answer")).to_contain_text("42")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("(nav => nav.scrollWidth - nav.clientWidth)(document.querySelector('nav.site'))") == 0
    assert problems == []
    page.close()


@pytest.mark.parametrize("width", [390, 1400])
def test_the_documentation_is_searched_by_keyboard(browser, server, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    problems = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{server}/doc/tutorial.md.html")
    expect(page.get_by_role("link", name="Tutorial")).to_be_visible(visible=width > 1000)
    page.keyboard.press("/")
    page.keyboard.insert_text("zebras")
    expect(page.locator("#found")).to_have_text("No page has zebras.")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("flag variable default --port")
    found = page.locator("#found a")
    expect(found.first).to_contain_text("Settings")
    expect(found.first.locator("mark").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/doc/.+\.md\.html#settings$"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("(nav => nav.scrollWidth - nav.clientWidth)(document.querySelector('nav.site'))") == 0
    assert problems == []
    page.close()


def test_links_of_mldbs_notebooks_to_its_documentation_hold(browser, server):
    page = browser.new_page()
    page.goto(f"{server}/doc/#builtin/procedures/Classifier.md.html")
    expect(page).to_have_url(f"{server}/doc/reference/types.md.html#procedures")
    page.close()


def test_code_of_the_documentation_is_copied(browser, server):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{server}/doc/tutorial.md.html")
    block = page.locator("main .block").first
    block.hover()
    block.get_by_role("button", name="Copy").click()
    expect(block.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith(
        "mkdir -p mldb_data/plugins/flowers/static\ncat >"
    )
    context.close()
