"""The reference plugin's page as its users drive it: from drop to label, from own classes to a trained model, rounds of
questions, many pictures at once, the map, files of models, links to answers. Each test has a page of its own; the
server and a classifier that is made over REST are shared.

``MLDB_SCREENSHOTS=<folder>`` keeps pictures of what was seen.
"""

import base64
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.console import findings, fits
from tests.conftest import Client
from tests.images.test_image_classifier import Plugin, coloured, text
from tests.waiting import PATIENCE, until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

CLASSES = {"reddish": 0, 'blue "ish" <b>': 2}  # and the channels of their colours
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


def digit(number):
    from sklearn.datasets import load_digits

    digits = load_digits()
    return jpeg(np.kron(digits.images[number] * 255 / 16, np.ones((16, 16)))), str(digits.target[number])


def files(numbers, channel):
    return [{"name": f"{n}.jpg", "mimeType": "image/jpeg", "buffer": coloured(n, channel)} for n in numbers]


def fill_buckets(page, count):
    """Two classes with so many pictures each."""
    for number, (name, channel) in enumerate(CLASSES.items()):
        bucket = page.locator(".bucket").nth(number)
        bucket.locator(".label").fill(name)
        bucket.locator("input[type=file]").set_input_files(files(range(count), channel))
        expect(bucket.locator(".count")).to_have_text(f"{count} pictures")


def drop(page, selector, content, name="picture.jpg"):
    page.evaluate(DROP, [selector, base64.b64encode(content).decode(), name])


def keep(page, name):
    if folder := os.environ.get("MLDB_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def until_it_answers(page, url):
    """Plugins are loaded in the background: the page is there a moment after the server."""
    until(lambda: page.request.get(url).ok)
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


@pytest.fixture
def page(browser, server):
    page = opened(browser, server, viewport={"width": 1200, "height": 900})
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def colours(browser, server):
    """The title of a classifier of sixteen reddish and bluish pictures."""
    opened(browser, server).context.close()  # it is ready for trainings now
    classes = {name: [text(coloured(n, channel)) for n in range(8)] for name, channel in CLASSES.items()}
    with Client(base_url=server, timeout=PATIENCE) as client:
        plugin = Plugin(client)
        plugin.wait(plugin.post("train", json.dumps({"title": "Colours", "classes": classes})))
    return "Colours"


def test_from_drop_to_label(page):
    picture, label = digit(240)
    drop(page, "#drop", picture)
    expect(page.locator("#result li:first-child .name")).to_have_text(label)
    assert float(page.locator("#result li:first-child .share").inner_text().rstrip(" %")) > 20
    keep(page, "label")
    assert page.troubles == []


def test_samples_and_quality_of_the_first_classifier(page):
    expect(page.locator("#samples button")).to_have_count(15)
    page.locator("#samples button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#result li:first-child .name")).to_have_text("0")
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
    expect(page.locator("#result-error")).to_contain_text("could not be fetched")
    page.troubles.clear()  # the browser logs the refusal


def test_from_own_classes_to_a_trained_model(page):
    expect(page.locator("#train")).to_be_disabled()
    fill_buckets(page, 9)
    page.locator("#title").fill("Own")
    keep(page, "buckets")
    page.locator("#train").click()
    expect(page.locator("#training")).to_be_visible()
    expect(page.locator("#model option:checked")).to_have_text("Own", timeout=200_000)
    assert page.locator("#train-error").inner_text() == ""
    expect(page.locator("#accuracy")).to_have_text("100 %")
    expect(page.locator("#confusion tbody th")).to_have_text(['blue "ish" <b>', "reddish"])
    drop(page, "#drop", coloured(77, 2))
    expect(page.locator("#result li:first-child .name")).to_have_text('blue "ish" <b>')
    expect(page.locator("#result-note")).to_contain_text("random weights")
    keep(page, "trained")
    assert page.troubles == []


def test_many_pictures_at_once(page, colours):
    page.locator("#model").select_option(label=colours)
    broken = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"plain text"}
    page.locator("#file").set_input_files([*files(range(20, 24), 0), broken, *files(range(30, 34), 2)])
    expect(page.locator("#batch-text")).to_have_text("8 of 9 pictures classified, 1 could not be")
    expect(page.locator("#batch-progress")).to_be_hidden()
    names = page.locator("#batch-list li.card .bars li:first-child .name").all_inner_texts()
    assert names == ["reddish"] * 4 + ['blue "ish" <b>'] * 4
    expect(page.locator("#batch-list li.card").nth(4)).to_contain_text("notes.txt is not a picture that can be read")
    assert findings(page) == []
    keep(page, "batch")
    assert page.troubles == []


def test_a_link_shares_one_prediction(page, browser, colours):
    page.locator("#model").select_option(label=colours)
    drop(page, "#drop", coloured(79, 0))
    expect(page.locator("#result li:first-child .name")).to_have_text("reddish")
    shares = page.locator("#result .share").all_inner_texts()
    page.locator("#share").click()
    expect(page.locator("#share-address")).to_be_visible()
    link = page.locator("#share-address").input_value()
    visitor = browser.new_page()
    visitor.goto(link)
    expect(visitor.locator("#result li:first-child .name")).to_have_text("reddish")
    assert visitor.locator("#result .share").all_inner_texts() == shares
    assert visitor.locator("#preview").evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 80
    expect(visitor.locator("#share")).to_be_hidden()
    visitor.goto(link[:-4] + "AAAA")
    visitor.reload()
    expect(visitor.locator("#result-error")).to_contain_text("no longer there")
    visitor.close()


def test_the_model_asks_and_the_user_answers_by_key(page):
    """Own pictures and a heap: the classifier asks about what it is least sure of until nothing is left."""
    fill_buckets(page, 4)
    page.locator("#heap input").set_input_files(files(range(40, 45), 0) + files(range(50, 53), 2))
    expect(page.locator("#heap .count")).to_have_text("8 pictures")
    page.locator("#title").fill("Taught")
    page.locator("#train").click()
    expect(page.locator("#questions")).to_be_visible(timeout=200_000)
    expect(page.locator("#question-count")).to_have_text("Picture 1 of 6 · 8 without a label")
    expect(page.locator("#question-labels button")).to_have_text(['1blue "ish" <b>', "2reddish"])
    expect(page.locator("#question-guess li")).to_have_count(2)
    keep(page, "questions")
    page.locator("#questions").focus()
    for _ in range(6):
        page.keyboard.press("0")
    expect(page.locator("#question-error")).to_contain_text("no picture was answered")
    expect(page.locator("#question-count")).to_contain_text("Picture 1 of 6")
    page.keyboard.press(key(page))
    expect(page.locator("#question-count")).to_contain_text("Picture 2 of 6")
    page.keyboard.press("Backspace")
    expect(page.locator("#question-count")).to_contain_text("Picture 1 of 6")
    for at in range(6):
        expect(page.locator("#question-count")).to_contain_text(f"Picture {at + 1} of 6")
        page.keyboard.press(key(page))
    expect(page.locator("#question-count")).to_have_text("Picture 1 of 2 · 2 without a label", timeout=100_000)
    expect(page.locator("#questions")).to_be_focused()
    expect(page.locator("#history-text")).to_contain_text("with 8 labelled pictures")
    expect(page.locator("#history-text")).to_contain_text("with 14")
    assert findings(page) == []
    for at in range(2):
        expect(page.locator("#question-count")).to_contain_text(f"Picture {at + 1} of 2")
        page.locator("#question-labels button").nth(int(key(page)) - 1).click()
    expect(page.locator("#questions")).to_be_hidden(timeout=100_000)
    expect(page.locator("#history circle")).to_have_count(3)
    assert "16 labelled pictures" in page.locator("#history").get_attribute("aria-label")
    expect(page.locator("#accuracy")).to_have_text("100 %")
    assert page.troubles == []


def key(page):
    """The right answer's key for the picture that is asked about, by its colour."""
    channel = page.locator("#question-picture").evaluate("""async (image) => {
      await image.decode();
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 1;
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0, 1, 1);
      const [red, , blue] = context.getImageData(0, 0, 1, 1).data;
      return red > blue ? "2" : "1";
    }""")
    return str(channel)


def test_the_map_of_the_pictures(page, colours):
    page.locator("#model").select_option(label=colours)
    page.locator("#map-draw").click()
    expect(page.locator("#map-plane img")).to_have_count(16, timeout=100_000)
    expect(page.locator("#map-legend li")).to_have_text(['blue "ish" <b>', "reddish", "no label"])

    def now():
        return page.locator("#map-plane").evaluate("(plane) => plane.clientWidth")

    width = now()
    page.locator("#map-frame").focus()
    page.keyboard.press("+")
    until(lambda: now() == pytest.approx(2 * width, abs=2))
    page.locator("#map-frame").press("ArrowRight")
    keep(page, "map")
    assert findings(page) == []
    page.locator("#map-out").click()
    until(lambda: now() == pytest.approx(width, abs=2))
    for picture in page.locator("#map-plane img").all():
        assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 80
    page.locator('#map-plane img[alt="reddish"]').first.click(force=True)
    expect(page.locator("#result li")).to_have_count(2)
    assert page.troubles == []


def test_a_model_is_downloaded_loaded_and_removed(page, tmp_path, colours):
    page.locator("#model").select_option(label=colours)
    expect(page.locator("#quality-text")).to_contain_text(colours)
    with page.expect_download() as downloading:
        page.locator("#download").click()
    assert downloading.value.suggested_filename == "Colours.json"
    downloading.value.save_as(tmp_path / "Colours.json")
    assert json.loads((tmp_path / "Colours.json").read_text())["labels"] == ['blue "ish" <b>', "reddish"]
    count = page.locator("#model option").count()
    page.locator("#load").set_input_files(tmp_path / "Colours.json")
    expect(page.locator("#model option")).to_have_count(count + 1)
    expect(page.locator("#model")).to_have_value(re.compile("^loaded_"))
    drop(page, "#drop", coloured(81, 2))
    expect(page.locator("#result li:first-child .name")).to_have_text('blue "ish" <b>')
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#forget").click()
    expect(page.locator("#model option")).to_have_count(count)
    expect(page.locator("#model option:checked")).to_have_text("Handwritten digits")
    page.locator("#load").set_input_files({"name": "x.json", "mimeType": "application/json", "buffer": b"no JSON"})
    expect(page.locator("#model-error")).to_contain_text("this is no classifier")
    page.troubles.clear()  # the browser logs the refusal


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 390), ("dark", 1200)])
def test_phones_and_dark_rooms(browser, server, colours, scheme, width):
    page = opened(browser, server, viewport={"width": width, "height": 844}, color_scheme=scheme)
    drop(page, "#drop", coloured(5, 0))
    expect(page.locator("#result li")).not_to_have_count(0)
    page.locator("#model").select_option(label=colours)
    page.locator("#map-draw").click()
    expect(page.locator("#map-plane img")).to_have_count(16, timeout=100_000)
    assert fits(page)
    assert findings(page) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(16, 18, 27)") == (scheme == "dark")
    keep(page, f"{scheme}-{width}")
    page.context.close()


def test_documentation(browser, server):
    page = browser.new_page()
    page.goto(server + "/v1/plugins/image_classifier/doc/index.md.html")
    expect(page.locator("h1")).to_have_text("Image classifier")
    page.close()
