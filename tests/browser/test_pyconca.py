"""The public plugin mldbai/pyconca-2016, unchanged, in a real browser: its page, both of its buttons, its own `.cls`.

The plugin is not part of this project: the environment variable PYCONCA names a checkout of it. Only the address of
its model is another, a small graph on loopback; its page gets jQuery from our lock instead of the web.
"""

from __future__ import annotations

import os
import zipfile

import pytest
from playwright.sync_api import expect

from tests.checkouts import server_with, site_of
from tests.conftest import ROOT
from tests.images.conftest import picture

CHECKOUT = os.environ.get("PYCONCA", "")
MODELS = "http://public.mldb.ai/models"  # where its main.py loads the graph from
JQUERY = ROOT / "static" / "console" / "node_modules" / "jquery" / "dist" / "jquery.min.js"
PAGE = "/v1/plugins/pycon/routes/static/index.html"
BRANDS = ("audi", "bmw", "tesla")
PICTURES = 4

pytestmark = [
    pytest.mark.skipif(
        not CHECKOUT, reason="set PYCONCA to a checkout of the plugin mldbai/pyconca-2016 to run it against this server"
    ),
    pytest.mark.browser,
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory, graphs):
    """The model in its archive, and pictures."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(folder / "inception_dec_2015.zip", "w") as archive:
        archive.write(graphs / "wide.pb", "tensorflow_inception_graph.pb")
    for number in range(PICTURES):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    with site_of(folder) as address:
        yield address


@pytest.fixture(scope="module")
def client(tmp_path_factory, site):
    copy = tmp_path_factory.mktemp("plugin") / "pyconca-2016"
    with server_with("pycon", CHECKOUT, copy, MODELS, site) as client:
        yield client


@pytest.fixture
def page(browser, client):
    """The plugin's page; nothing but loopback is reached."""
    context = browser.new_context()
    page = context.new_page()
    page.outside = []
    page.troubles = []

    def guard(route):
        page.outside.append(route.request.url)
        if route.request.url == "https://ajax.googleapis.com/ajax/libs/jquery/2.2.4/jquery.min.js":
            route.fulfill(path=JQUERY, content_type="text/javascript")
        else:
            route.abort()

    context.route(lambda url: not url.startswith("http://127.0.0.1"), guard)
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("dialog", lambda dialog: (page.troubles.append(dialog.message), dialog.accept()))
    assert page.goto(str(client.base_url) + PAGE).ok
    yield page
    context.close()


def best(client, url):
    """The brand with the highest score, asked for without the page."""
    answer = client.get_json("/v1/functions/brand_predictor/application", {"input": {"url": url}})
    assert answer.status_code == 200, answer.text
    scores = {name.strip('"'): cell[0] for name, cell in answer.json()["output"]["scores"]}
    assert sorted(scores) == sorted(BRANDS)
    return max(scores, key=scores.__getitem__)


@pytest.mark.parametrize("button", ["Score", "Score using PyRoute"])
def test_both_buttons_show_the_brand_and_the_picture(page, client, site, button):
    expect(page).to_have_title("Pycon Car Image Classifier")
    found = set()
    for number in range(PICTURES):
        url = f"{site}/{number}.jpg"
        expected = best(client, url)
        found.add(expected)
        page.locator("#url").fill(url)
        page.get_by_role("button", name=button, exact=True).click()
        shown = page.locator(f'#displayZone img[src="{url}"]')
        expect(shown).to_be_visible()
        heading = page.locator("#displayZone h2").inner_text().replace('"', "")
        assert heading == f"Your new car is a {expected}"
        assert shown.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 40
    assert len(found) > 1, "the pictures do not tell the brands apart"
    assert page.evaluate("document.querySelector('img[src=\"logo.jpg\"]').naturalWidth") > 0
    assert len(page.outside) == 1  # jQuery
    assert page.troubles == []


@pytest.mark.parametrize("button", ["Score", "Score using PyRoute"])
def test_both_buttons_tell_of_a_picture_that_is_not_there(page, site, button):
    page.locator("#url").fill(f"{site}/none.jpg")
    with page.expect_event("dialog") as told:
        page.get_by_role("button", name=button, exact=True).click()
    assert "An exception occured" in told.value.message
    assert "Unable to run model: the value of 'DecodeJpeg/contents' is null" in told.value.message
    expect(page.locator("#displayZone")).to_be_empty()
