"""Model files: a zip of one JSON member and ``.npy`` arrays. Nothing in them is ever executed or unpickled.

    model.json       {"format": "mldb-model", "version": 1, "kind": …, "digest": …, "body": {…}}
    arrays/<name>.npy

``digest`` is the SHA-256 of the body and the arrays: it names the model's content, whatever wrote the file.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from server.errors import MldbError

FORMAT = "mldb-model"
VERSION = 1
_MAX_BYTES = 8 << 30  # unpacked size of a model file; a larger one is a mistake or an attack
_EPOCH = (1980, 1, 1, 0, 0, 0)  # members carry no time, so that equal models are equal files


@dataclass
class Archive:
    """Named arrays; ``child`` gives each part of a composite model names of its own."""

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    prefix: str = ""

    def child(self, name: str) -> Archive:
        return Archive(self.arrays, f"{self.prefix}{name}.")

    def put(self, name: str, array: NDArray[Any]) -> None:
        self.arrays[self.prefix + name] = np.ascontiguousarray(array)

    def get(self, name: str) -> NDArray[Any]:
        try:
            return self.arrays[self.prefix + name]
        except KeyError:
            raise MldbError(f"The model file lacks the array '{self.prefix + name}'") from None


def pack(kind: str, body: Mapping[str, Any], archive: Archive) -> bytes:
    """A model file. Equal content gives equal bytes."""
    members = {name: _npy(array) for name, array in sorted(archive.arrays.items())}
    head = {
        "format": FORMAT, "version": VERSION, "kind": kind, "digest": _digest(kind, body, members), "body": body,
    }  # fmt: skip
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr(zipfile.ZipInfo("model.json", _EPOCH), orjson.dumps(head), zipfile.ZIP_DEFLATED)
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(f"arrays/{name}.npy", _EPOCH), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=False)
    return out.getvalue()


def _digest(kind: str, body: Mapping[str, Any], members: Mapping[str, bytes]) -> str:
    total = hashlib.sha256(kind.encode() + orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    for name, data in sorted(members.items()):
        total.update(name.encode() + b"\0" + data)
    return total.hexdigest()


def is_archive(data: bytes) -> bool:
    return data[:4] == b"PK\x03\x04"


def unpack(kind: str, data: bytes) -> tuple[dict[str, Any], Archive]:
    """Body and arrays of a model file; ``MldbError`` (400) for anything that is not one of this kind."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            if sum(info.file_size for info in file.infolist()) > _MAX_BYTES:
                raise MldbError("The model file is too large when unpacked")
            head = orjson.loads(file.read("model.json"))
            _check_head(kind, head)
            archive = Archive({name: _array(file, name) for name in _array_names(file)})
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise MldbError(f"Not a model file of this server, or a damaged one: {error}") from None
    body: dict[str, Any] = head["body"]
    return body, archive


def _array_names(file: zipfile.ZipFile) -> list[str]:
    return [
        name.removeprefix("arrays/").removesuffix(".npy")
        for name in file.namelist()
        if name.startswith("arrays/") and name.endswith(".npy")
    ]


def _array(file: zipfile.ZipFile, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(io.BytesIO(file.read(f"arrays/{name}.npy")), allow_pickle=False)
    return array


def _check_head(kind: str, head: Any) -> None:
    if not isinstance(head, dict) or head.get("format") != FORMAT or not isinstance(head.get("body"), dict):
        raise MldbError("Not a model file of this server")
    if head.get("version") != VERSION:
        raise MldbError(f"The model file has format version {head.get('version')}; this server reads {VERSION}")
    if head.get("kind") != kind:
        raise MldbError(f"The model file holds a model of kind '{head.get('kind')}', not '{kind}'")
