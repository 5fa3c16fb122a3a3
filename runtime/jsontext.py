"""JSON text as MLDB writes free-form values (rest-api.md §1.1, plugin-runtime.md §8): compact, members sorted by name.

``encode`` is for what plugin code returns: only plain JSON types, 16 significant digits. ``encode_payload`` is for
what plugin code sends: members in their order, floats that read back the same, bytes as blobs.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

import orjson

_LOWEST = -(2**63)
_HIGHEST = 2**64 - 1


def float_text(value: float) -> str:
    """16 significant digits, always with a fraction; ``null`` for what JSON cannot say."""
    if value - value != 0.0:
        return "null"
    text = f"{value:#.16g}"
    if "e" in text:
        return text
    text = text.rstrip("0")
    return text + "0" if text.endswith(".") else text


def _shortest(value: float) -> str:
    return "null" if value - value != 0.0 else float.__repr__(value)


def encode(value: Any) -> str:
    """Free-form text; ``TypeError`` for what is no JSON."""
    if type(value) is str:
        return _string(value)
    parts: list[str] = []
    _write(value, parts.append, _RETURNED)
    return "".join(parts)


def encode_payload(value: Any) -> str:
    """Text of a request's body; ``TypeError`` for what is no JSON."""
    parts: list[str] = []
    _write(value, parts.append, _SENT)
    return "".join(parts)


def blob(value: bytes | bytearray) -> dict[str, Any]:
    """Bytes as a JSON value that MLDB reads as a blob."""
    return {"blob": {"base64": b2a_base64(value, newline=False).decode()}}


Emit = Callable[[str], None]


@dataclass(frozen=True)
class _Style:
    number: Callable[[float], str]
    order: Callable[[Iterable[str]], list[str]]
    blobs: bool


_RETURNED = _Style(float_text, sorted, blobs=False)
_SENT = _Style(_shortest, list, blobs=True)


def _write(value: Any, emit: Emit, style: _Style) -> None:
    if isinstance(value, str):
        emit(_string(value))
    elif value is None:
        emit("null")
    elif isinstance(value, bool):
        emit("true" if value else "false")
    elif isinstance(value, int):
        emit(_integer(value))
    elif isinstance(value, float):
        emit(style.number(value))
    elif isinstance(value, dict):
        _write_object(value, emit, style)
    elif isinstance(value, list | tuple):
        _write_array(value, emit, style)
    elif style.blobs and isinstance(value, bytes | bytearray):
        _write_object(blob(value), emit, style)
    else:
        raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def _string(value: str) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # lone surrogates
        return encode_basestring(value)


def _integer(value: int) -> str:
    if not _LOWEST <= value <= _HIGHEST:
        raise TypeError("an integer of more than 64 bits has no JSON form")
    return int.__repr__(value)


def _write_object(value: dict[Any, Any], emit: Emit, style: _Style) -> None:
    members = {str(key): member for key, member in value.items()}
    emit("{")
    comma = ""
    for name in style.order(members):
        emit(f"{comma}{_string(name)}:")
        _write(members[name], emit, style)
        comma = ","
    emit("}")


def _write_array(value: Iterable[Any], emit: Emit, style: _Style) -> None:
    emit("[")
    comma = ""
    for item in value:
        if comma:
            emit(comma)
        _write(item, emit, style)
        comma = ","
    emit("]")


def to_bytes(text: str) -> bytes:
    """UTF-8; what Unicode cannot encode (lone surrogates) becomes ``?``."""
    return text.encode("utf-8", "replace")


def log_text(values: tuple[Any, ...]) -> str | None:
    """What ``mldb.log`` shows: values joined with blanks, containers as indented JSON; None for no value."""
    if not values:
        return None
    return " ".join(map(_log_piece, values))


def _log_piece(value: Any) -> str:
    if isinstance(value, dict | list):
        try:
            return json.dumps(value, indent=4, ensure_ascii=False)
        except (TypeError, ValueError):
            return str(value)
    return str(value)
