"""Predictions that a link shows again: each a file whose name cannot be guessed, the oldest going first."""

import base64
import json
import secrets

from jobs import Refused
from preparation import FOLDER

MOST_SHARED = 200
SHARED = FOLDER / "shared"


def data_url(picture: bytes) -> str:
    return f"data:image;base64,{base64.b64encode(picture).decode()}"


def keep(picture: bytes, answer: dict[str, object]) -> str:
    """The name under which ``find`` gives the answer with its picture."""
    SHARED.mkdir(parents=True, exist_ok=True)
    name = secrets.token_urlsafe(16)
    (SHARED / name).write_text(json.dumps({**answer, "picture": data_url(picture)}))
    newest_first = sorted(SHARED.iterdir(), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in newest_first[MOST_SHARED:]:
        file.unlink(missing_ok=True)
    return name


def find(name: str) -> dict[str, object]:
    files = {file.name: file for file in SHARED.glob("*")}
    if name not in files:  # looked up, so that no name leads elsewhere
        raise Refused("what was shared is no longer there: the oldest are dropped", 404)
    return json.loads(files[name].read_text())
