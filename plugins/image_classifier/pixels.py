"""A picture as 8 × 8 grey levels, all that the classifier of handwritten digits looks at: no network is needed."""

import io

from PIL import Image, UnidentifiedImageError

SIDE = 8
MOST_POINTS = 50_000_000

Image.MAX_IMAGE_PIXELS = None  # read() checks, before anything is decoded


class NoPicture(Exception):
    """Raised by ``read`` for bytes that are no picture, or too large a one; the text is for the user."""


def read(content: bytes) -> Image.Image:
    """The picture in grey."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MOST_POINTS:
                raise NoPicture(f"a picture of {image.width} x {image.height} pixels is too large")
            image.draft("L", (64 * SIDE, 64 * SIDE))  # a large JPEG need not be decoded in full
            return image.convert("L")
    except UnidentifiedImageError:
        raise NoPicture("the picture cannot be read: it is in no known format") from None
    except (OSError, ValueError, SyntaxError, EOFError, ArithmeticError) as error:
        raise NoPicture(f"the picture cannot be read: {error}") from None


def levels(picture: Image.Image) -> dict[str, float]:
    """Row by row from 0 to 1: bright ink on dark ground, whatever it was drawn with."""
    small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    darkest, spread = min(small), max(1, max(small) - min(small))
    scaled = [(value - darkest) / spread for value in small]
    dark_ink = sum(scaled) > len(scaled) / 2
    return {f"p{number}": round(1 - value if dark_ink else value, 4) for number, value in enumerate(scaled)}
