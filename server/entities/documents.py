"""Small JSON documents in the data root: read once, replaced whole in one step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from server import durable


def read_document(file: Path, otherwise: Any) -> Any:
    """The value in the file, ``otherwise`` without one; ``OSError`` names a file that is no JSON."""
    if not file.exists():
        return otherwise
    try:
        return orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise OSError(f"{file} is damaged ({error}): mend it, or move it away") from None


def write_document(file: Path, value: Any) -> None:
    """Replace the file, readable by its owner only from the start; it is on the disk when this returns."""
    fresh = file.with_name(file.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(orjson.dumps(value))
        durable.replace(fresh, file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
