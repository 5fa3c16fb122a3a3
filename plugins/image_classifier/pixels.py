"""A picture as 8 × 8 grey levels, all that the classifier of handwritten digits looks at: no network is needed."""

import io

SIDE = 8
NAMES = [f"p{number}" for number in range(SIDE * SIDE)]
MOST_POINTS = 50_000_000


class Unreadable(ValueError):
    """Raised by ``levels``."""


def levels(picture: bytes) -> dict[str, float]:
    """Row by row from 0 to 16: bright ink on dark ground, whatever it was drawn with."""
    from PIL import Image, UnidentifiedImageError  # who asks about no digits need not wait for it

    Image.MAX_IMAGE_PIXELS = None  # checked below, before anything is decoded
    try:
        with Image.open(io.BytesIO(picture)) as image:
            if image.width * image.height > MOST_POINTS:
                raise ValueError(f"it has {image.width} x {image.height} pixels, which is too large")
            image.draft("L", (64 * SIDE, 64 * SIDE))  # a large JPEG need not be decoded in full
            small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    except (OSError, ValueError, SyntaxError, EOFError, ArithmeticError) as error:
        reason = "it is in no known format" if isinstance(error, UnidentifiedImageError) else error
        raise Unreadable(f"the picture cannot be read: {reason}") from None
    darkest, spread = min(small), max(1, max(small) - min(small))
    scaled = [(value - darkest) / spread for value in small]
    dark_ink = sum(scaled) > len(scaled) / 2
    return {name: round(16 * (1 - part if dark_ink else part), 2) for name, part in zip(NAMES, scaled, strict=True)}
