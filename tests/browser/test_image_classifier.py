"""The reference plugin's page as its users drive it: from drop to label, from own classes to a trained model.

``MLDB_SCREENSHOTS=<folder>`` keeps pictures of what was seen.
"""

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

PAGE = "/v1/plugins/image_classifier/routes/static/"
DROP = """([selector, text, name]) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, {type: name.endsWith("jpg") ? "image/jpeg" : "text/plain"}));
  const target = document.querySelector(selector);
  for (const kind of ["dragenter", "dragover", "drop"]) {
    target.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
  }
}"""


def jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def coloured(number, channel):
    """A noisy picture, mostly of one colour."""
    pixels = np.random.default_rng(number).integers(0, 70, (60, 80, 3))
    pixels[..., channel] += 150
    return jpeg(pixels)


def digit(number):
    from sklearn.datasets import load_digits

    digits = load_digits()
    return jpeg(np.kron(digits.images[number] * 255 / 16, np.ones((16, 16)))), str(digits.target[number])


def drop(page, selector, content, name="picture.jpg"):
    page.evaluate(DROP, [selector, base64.b64encode(content).decode(), name])


def keep(page, name):
    if folder := os.environ.get("MLDB_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def until_it_answers(page, url):
    """Plugins are loaded in the background: the page is there a moment after the server."""
    for _ in range(300):
        if page.request.get(url).ok:
            break
        page.wait_for_timeout(100)
    assert page.goto(url).ok


def opened(browser, server, **options):
    context = browser.new_context(**options)
    page = context.new_page()
    page.troubles = []
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("console", lambda line: page.troubles.append(line.text) if line.type == "error" else None)
    until_it_answers(page, server + PAGE)
    expect(page.locator("#status-text")).to_have_text("ready · random weights", timeout=200_000)
    expect(page.locator("#model option")).not_to_have_count(0, timeout=200_000)
    return page


@pytest.fixture(scope="module")
def page(browser, server):
    page = opened(browser, server, viewport={"width": 1200, "height": 900})
    yield page
    page.context.close()


def test_from_drop_to_label(page):
    picture, label = digit(240)
    drop(page, "#drop", picture)
    expect(page.locator("#result li:first-child .name")).to_have_text(label, timeout=20_000)
    assert float(page.locator("#result li:first-child .share").inner_text().rstrip(" %")) > 20
    keep(page, "label")
    assert page.troubles == []


def test_samples_and_quality_of_the_first_classifier(page):
    expect(page.locator("#samples button")).to_have_count(15)
    page.locator("#samples button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#result li:first-child .name")).to_have_text("0", timeout=20_000)
    assert float(page.locator("#accuracy").inner_text().rstrip(" %")) > 90
    expect(page.locator("#confusion tbody tr")).to_have_count(10)


def test_random_weights_are_told(page):
    expect(page.locator("#banner")).to_be_visible()
    page.locator("#banner summary").click()
    expect(page.locator("#banner-remedy")).to_contain_text("INCEPTION_WEIGHTS")
    expect(page.locator("#banner-reason")).to_contain_text("none.h5")
    page.locator("#banner summary").click()
    assert page.locator("#model option[value=imagenet]").count() == 0


def test_what_is_no_picture_is_an_error_on_the_page(page):
    drop(page, "#drop", b"plain text", "notes.txt")
    expect(page.locator("#result-error")).to_have_text("notes.txt is not a picture that can be read")
    page.locator("#url").fill("http://127.0.0.1:1/picture.jpg")
    page.keyboard.press("Enter")
    expect(page.locator("#result-error")).to_contain_text("could not be fetched", timeout=20_000)
    page.troubles.clear()  # the browser logs the refusal


def test_from_own_classes_to_a_trained_model(page):
    expect(page.locator("#train")).to_be_disabled()
    for number, name in enumerate(["reddish", 'blue "ish" <b>']):
        bucket = page.locator(".bucket").nth(number)
        bucket.locator(".label").fill(name)
        files = [{"name": f"{i}.jpg", "mimeType": "image/jpeg", "buffer": coloured(i, 2 * number)} for i in range(9)]
        bucket.locator("input[type=file]").set_input_files(files)
        expect(bucket.locator(".count")).to_have_text("9 pictures", timeout=20_000)
    page.locator("#title").fill("Colours")
    keep(page, "buckets")
    page.locator("#train").click()
    expect(page.locator("#training")).to_be_visible()
    expect(page.locator("#model option:checked")).to_have_text("Colours", timeout=200_000)
    assert page.locator("#train-error").inner_text() == ""
    assert page.locator("#accuracy").inner_text() == "100 %"
    expect(page.locator("#confusion tbody th")).to_have_text(['blue "ish" <b>', "reddish"])
    drop(page, "#drop", coloured(77, 2))
    expect(page.locator("#result li:first-child .name")).to_have_text('blue "ish" <b>', timeout=20_000)
    expect(page.locator("#result-note")).to_contain_text("random weights")
    keep(page, "trained")
    assert page.troubles == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 390), ("dark", 1200)])
def test_phones_and_dark_rooms(browser, server, scheme, width):
    page = opened(browser, server, viewport={"width": width, "height": 844}, color_scheme=scheme)
    drop(page, "#drop", coloured(5, 0))
    expect(page.locator("#result li")).not_to_have_count(0, timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(16, 18, 27)") == (scheme == "dark")
    keep(page, f"{scheme}-{width}")
    page.context.close()


def test_documentation(browser, server):
    page = browser.new_page()
    page.goto(server + "/v1/plugins/image_classifier/doc/index.md.html")
    expect(page.locator("h1")).to_have_text("Image classifier")
    page.close()
