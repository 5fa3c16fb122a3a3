import io

import numpy as np
import pytest
from PIL import Image

from server.learning.model_worker import ModelWorker

PICTURE_INPUT = "DecodeJpeg/contents"


@pytest.fixture(scope="session")
def models():
    """One worker for the session: its start takes seconds."""
    worker = ModelWorker(pixels=4_000_000)
    yield worker
    worker.close()


def picture(seed: int, size: tuple[int, int] = (40, 30), form: str = "JPEG") -> bytes:
    """A picture of noise: two seeds give two different ones."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(noise)
    image.paste((seed * 40 % 256, seed * 90 % 256, 120), (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()
