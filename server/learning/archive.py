"""Model files: a zip of JSON members and ``.npy`` arrays. Nothing in them is ever executed or unpickled.

    model.json       {"format": "mldb-model", "version": 2, "kind": …, "digest": …}
    body.json        what the kind of model keeps beside its arrays
    origin.json      where the model comes from: ``server.learning.origin``
    arrays/<name>.npy

``digest`` is the SHA-256 of all members but the first: it names the content and its origin, whatever wrote the file,
and is checked whenever the file is read. Files of version 1 keep the body in ``model.json`` and have no origin.
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.saved import REMEDY, checked, damaged

FORMAT = "mldb-model"
VERSION = 2
_SAMPLE, _PAYS = 1 << 16, 0.9  # bytes looked at, and the share of their size below which they are compressed
_KINDS = "fiub"  # of arrays that may be in a file
_OF_ZIP = (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, RuntimeError, MemoryError, zlib.error)
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

    def get(self, name: str, kinds: str, *shape: int | None) -> NDArray[Any]:
        """An array of one of these kinds of numbers (``server.learning.saved``) and of this shape, None being any size.

        ``MldbError`` when there is none such.
        """
        name = self.prefix + name
        if name not in self.arrays:
            raise damaged(f"it lacks the array '{name}'")
        return checked(name, self.arrays[name], kinds, shape)


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds."""

    body: dict[str, Any]
    archive: Archive
    origin: dict[str, Any]
    digest: str

    def details(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """The ``details`` of a function: its model as the type tells it, and what the file says of its origin."""
        return {"model": dict(model), "origin": self.origin, "digest": self.digest}


def pack(kind: str, body: Mapping[str, Any], archive: Archive, origin: Mapping[str, Any] | None = None) -> bytes:
    """A model file. Equal content gives equal bytes."""
    members = {"body.json": orjson.dumps(body), "origin.json": orjson.dumps(origin or {})}
    members |= {f"arrays/{name}.npy": _npy(array) for name, array in sorted(archive.arrays.items())}
    head = {"format": FORMAT, "version": VERSION, "kind": kind, "digest": _digest(kind, members)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in {"model.json": orjson.dumps(head), **members}.items():
            file.writestr(zipfile.ZipInfo(name, _EPOCH), data, _compression(data), compresslevel=1)
    return out.getvalue()


def _compression(data: bytes) -> int:
    """Deflated where a sample says that it pays: arrays of numbers in full precision hardly become smaller."""
    middle = len(data) // 2
    sample = data[middle : middle + _SAMPLE]
    pays = len(data) <= _SAMPLE or len(zlib.compress(sample, 1)) < _PAYS * len(sample)
    return zipfile.ZIP_DEFLATED if pays else zipfile.ZIP_STORED


def _npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=False)
    return out.getvalue()


def _digest(kind: str, members: Mapping[str, bytes]) -> str:
    total = hashlib.sha256(kind.encode())
    for name, data in sorted(members.items()):
        total.update(f"{name}\0{len(data)}\0".encode() + data)
    return total.hexdigest()


def _first_digest(kind: str, body: Mapping[str, Any], arrays: Mapping[str, bytes]) -> str:
    """The digest of a file of version 1."""
    total = hashlib.sha256(kind.encode() + orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    for name, data in sorted(arrays.items()):
        total.update(_array_name(name).encode() + b"\0" + data)
    return total.hexdigest()


def is_archive(data: bytes) -> bool:
    return data[:4] == b"PK\x03\x04"


def unpack(kind: str, data: bytes, limit: int | None = None) -> ModelFile:
    """What a model file holds; ``MldbError`` (400) for anything that is not one of this kind, or not as it was.

    ``limit``: bytes that a file from elsewhere may unpack to.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            size = sum(info.file_size for info in file.infolist())
            if limit is not None and size > limit:
                raise MldbError(f"The model file is {size} bytes when unpacked; the setting is model_size")
            members = {name: file.read(name) for name in file.namelist()}
        head = orjson.loads(members.pop("model.json"))
        _check_head(kind, head)
        body, origin = _described(head, members)
        arrays = {name: content for name, content in members.items() if _is_array(name)}
        digest = _first_digest(kind, body, arrays) if head["version"] == 1 else _digest(kind, members)
        if digest != head.get("digest"):
            raise MldbError(f"The model file is damaged: its content is not what its digest says. {REMEDY}")
        archive = Archive({_array_name(name): _array(content) for name, content in arrays.items()})
    except _OF_ZIP as error:
        raise MldbError(f"Not a model file of this server, or a damaged one: {error}. {REMEDY}") from None
    return ModelFile(body, archive, origin, digest)


def _described(head: Mapping[str, Any], members: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Body and origin."""
    if head["version"] == 1:
        body = head["body"]
        origin = body.get("origin", {}) if isinstance(body, dict) else {}
    else:
        body, origin = orjson.loads(members["body.json"]), orjson.loads(members["origin.json"])
    if not isinstance(body, dict) or not isinstance(origin, dict):
        raise ValueError("its body is no JSON object")
    return body, origin


def _is_array(name: str) -> bool:
    return name.startswith("arrays/") and name.endswith(".npy")


def _array_name(name: str) -> str:
    return name.removeprefix("arrays/").removesuffix(".npy")


def _array(content: bytes) -> NDArray[Any]:
    """The array of a ``.npy`` member: of numbers, and as large as its head says, before any memory is taken for it."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, type_ = read_head(stream)
    if type_.kind not in _KINDS:
        raise ValueError(f"an array of {type_}")
    if math.prod(shape) * type_.itemsize != len(content) - stream.tell():
        raise ValueError("an array is not as large as it says")
    array = np.frombuffer(content, type_, math.prod(shape), stream.tell())
    return array.reshape(shape, order="F" if by_column else "C").copy()


def _check_head(kind: str, head: Any) -> None:
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise MldbError("Not a model file of this server")
    if head.get("version") not in (1, VERSION):
        raise MldbError(
            f"The model file has format version {head.get('version')}; this server reads versions 1 to {VERSION}"
        )
    if head.get("kind") != kind:
        raise MldbError(f"The model file holds a model of kind '{head.get('kind')}', not '{kind}'")
