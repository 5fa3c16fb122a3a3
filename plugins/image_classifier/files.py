"""What leaves the server: a classifier as a file, and back; answers that a link shows again."""

import base64
import json
import re
import secrets
from typing import Any

from classifiers import described, forget, keep, make_function
from inception import ADDRESS, FOLDER
from mldb import HTTPException, ResponseException, mldb

TOLD = {"title": str, "network": str, "weights": str, "labels": list, "pictures": int, "accuracy": float}
MOST = 1_000_000_000  # pictures
SHARED = FOLDER / "shared"
MOST_SHARED = 200


def pack(id: str) -> tuple[bytes, str, str]:
    """A file for ``load``: its content, type and name."""
    about = described(id)
    if about["accuracy"] is None:
        raise HTTPException(409, "it is still being tested")
    model = base64.b64encode((FOLDER / f"{id}.cls").read_bytes()).decode()
    return json.dumps({**about, "model": model}).encode(), "application/json", f"{about['title']}.json"


def load(content: bytes) -> dict[str, Any]:
    """The description of a classifier that ``pack`` wrote, here or elsewhere; the pictures did not travel with it."""
    id = f"loaded_{secrets.token_hex(4)}"
    file = FOLDER / f"{id}.cls"
    try:
        told = json.loads(content)
        about = {name: kind(told[name]) for name, kind in TOLD.items()}
        about["confusion"] = [[str(actual), str(said), float(count)] for actual, said, count in told["confusion"]]
        if not all(0 <= number <= MOST for number in (*(row[2] for row in about["confusion"]), about["pictures"])):
            raise ValueError("its numbers of pictures cannot be")
        if not 0 <= about["accuracy"] <= 1:
            raise ValueError("its accuracy is no share")
        file.write_bytes(base64.b64decode(told["model"]))
        model = {"modelFileUrl": f"{ADDRESS}/{file.name}"}
        mldb.put(f"/v1/functions/{id}_scorer", {"type": "classifier", "params": model})
        if about["network"]:
            make_function(id)
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError, ResponseException) as error:
        forget(id)
        raise HTTPException(400, f"this is no classifier that was downloaded here ({error})") from None
    return keep(id, **about)


def share(picture: bytes, answer: dict[str, Any]) -> str:
    """A name that cannot be guessed, under which ``shared`` gives the answer with its picture; the oldest go first."""
    SHARED.mkdir(exist_ok=True)
    name = secrets.token_urlsafe(16)
    (SHARED / name).write_text(json.dumps({**answer, "picture": data_url(picture)}))
    newest_first = sorted(SHARED.iterdir(), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in newest_first[MOST_SHARED:]:
        file.unlink(missing_ok=True)
    return name


def shared(name: str) -> dict[str, Any]:
    if not re.fullmatch(r"[\w-]{22}", name, re.ASCII) or not (SHARED / name).exists():
        raise HTTPException(404, "what was shared is no longer there: the oldest are dropped")
    return json.loads((SHARED / name).read_text())


def data_url(picture: bytes) -> str:
    return f"data:image;base64,{base64.b64encode(picture).decode()}"
