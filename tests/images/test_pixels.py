"""What the reference plugin's classifier of digits sees of a picture."""

import importlib.util
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.images.conftest import picture


@pytest.fixture(scope="module")
def pixels():
    file = Path(__file__).parents[2] / "plugins" / "image_classifier" / "pixels.py"
    limit = Image.MAX_IMAGE_PIXELS
    spec = importlib.util.spec_from_file_location("image_classifier_pixels", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    Image.MAX_IMAGE_PIXELS = limit


def encoded(image, form="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF"])
@pytest.mark.parametrize(("ink", "side"), [(255, 80), (0, 80), (0, 4000), (200, 8)])
def test_bright_ink_on_dark_ground(pixels, form, ink, side):
    image = Image.new("L", (side, side), 255 - ink)
    image.paste(ink, (2 * side // 8, 0, 3 * side // 8, side))
    levels = pixels.levels(encoded(image, form))
    assert list(levels) == [f"p{number}" for number in range(64)]
    rows = [list(levels.values())[start : start + 8] for start in range(0, 64, 8)]
    for row in rows:
        assert row[2] == pytest.approx(16, abs=0.8)
        assert max(row[:2] + row[3:]) < 0.8


def test_one_colour_is_no_ink(pixels):
    assert set(pixels.levels(encoded(Image.new("L", (30, 30), 90))).values()) == {0.0}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "I;16"])
def test_every_kind_of_picture(pixels, mode):
    form = "JPEG" if mode == "CMYK" else "PNG"
    assert len(pixels.levels(encoded(Image.new(mode, (20, 10)), form))) == 64


@pytest.mark.parametrize("content", [b"", b"text", picture(1)[:100], picture(1)[:-300], b"GIF89a"])
def test_what_is_no_picture(pixels, content):
    with pytest.raises(ValueError, match="the picture cannot be read"):
        pixels.levels(content)


def test_a_picture_that_would_fill_the_memory(pixels):
    content = encoded(Image.new("1", (8000, 7000)))
    with pytest.raises(ValueError, match="8000 x 7000 pixels, which is too large"):
        pixels.levels(content)
