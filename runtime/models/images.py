"""Refuses pictures that would not fit into memory, before anything decodes them."""

from __future__ import annotations

import io
import warnings
from typing import Any


class BadImage(Exception):
    """Raised by ``check_image`` for bytes that are no picture, or one of too many pixels."""


def check_image(content: bytes, max_pixels: int) -> None:
    """Read no more of a picture than its width, height and number of frames."""
    width, height, frames = _dimensions(content)
    if width * height * frames > max_pixels:
        times = f"{frames} frames of " if frames > 1 else ""
        raise BadImage(f"a picture of {times}{width} x {height} pixels exceeds the limit of {max_pixels} pixels")


def _dimensions(content: bytes) -> tuple[int, int, int]:
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked right after, in our own words
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                return *image.size, _frames(image)
    except UnidentifiedImageError:
        raise BadImage("the content is not a picture in a known format") from None
    except (OSError, ValueError, SyntaxError, EOFError, ArithmeticError) as error:
        raise BadImage(f"the picture cannot be read: {error}") from None


def _frames(image: Any) -> int:
    """TensorFlow decodes every frame of a GIF, and one frame of anything else."""
    return image.n_frames if image.format == "GIF" else 1
