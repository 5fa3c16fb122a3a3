"""A classifier as a file: a zip of its description and of the model as MLDB has written it."""

import io
import json
import secrets
import time
import zipfile
import zlib
from typing import Any

import classifiers
from jobs import Refused
from mldb import ResponseException, mldb
from preparation import FOLDER

DESCRIPTION, MODEL = "classifier.json", "model.cls"
TOLD = {"title": str, "network": str, "weights": str, "labels": list, "pictures": int, "accuracy": float}
LARGEST = 100_000_000  # bytes, unpacked
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, RuntimeError, TypeError, ValueError, ResponseException)


def pack(about: dict[str, Any]) -> bytes:
    if about["accuracy"] is None:
        raise Refused("it is still being tested", 409)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as zip:
        zip.writestr(DESCRIPTION, json.dumps(about, indent=1))
        zip.write(FOLDER / f"{about['id']}.cls", MODEL)
    return content.getvalue()


def load(content: bytes) -> dict[str, Any]:
    """The description of a classifier that ``pack`` wrote, here or elsewhere; the pictures did not travel with it."""
    id = f"loaded_{secrets.token_hex(4)}"
    file = FOLDER / f"{id}.cls"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as zip:
            if sum(part.file_size for part in zip.infolist()) > LARGEST:
                raise Refused("this is larger than a classifier", 413)
            told = json.loads(zip.read(DESCRIPTION))
            about = {name: kind(told[name]) for name, kind in TOLD.items()}
            confusion = [[str(actual), str(predicted), float(count)] for actual, predicted, count in told["confusion"]]
            file.write_bytes(zip.read(MODEL))
        about |= {"id": id, "made": time.time(), "confusion": confusion, "history": []}
        mldb.put(f"/v1/functions/{id}_scorer", {"type": "classifier", "params": {"modelFileUrl": f"file://{file}"}})
        classifiers.make_function(id, about["network"])
    except BROKEN as error:
        classifiers.forget(id)
        raise Refused(f"this is no classifier that was downloaded here ({error})") from None
    classifiers.keep(about)
    return about
