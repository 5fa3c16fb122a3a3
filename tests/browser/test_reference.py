"""The API reference in a browser: found by a word, opened and tried with the keyboard, on a phone too."""

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
    expect(page.locator("#state")).to_contain_text("routes", timeout=30_000)
    page.get_by_label("Search").fill("get /v1/query run an sql")
    expect(page.locator("#state")).to_have_text("1 route")
    route = page.locator("section > details:not([hidden])")
    route.locator("summary").first.press("Enter")
    route.get_by_text("Answers", exact=True).press("Enter")
    expect(route.get_by_text("QueryResult =")).to_be_visible()
    route.locator("input[name=q]").fill("SELECT 6 * 7 AS answer")
    route.locator("input[name=format]").fill("atom")
    route.locator("input[name=format]").press("Enter")
    expect(page.locator(".answer")).to_contain_text("42", timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert problems == []
    page.close()
