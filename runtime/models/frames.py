"""Frames between host and model worker: a length, then a msgpack map. Plain data only, in both directions.

    request   {id, op: "describe" | "run" | "warm", …}      answer   {id, ok: …} or {id, error: text}

A tensor travels as ``{dtype, shape, data}`` with its bytes row-major, a tensor of byte strings as
``{dtype: "bytes", shape, items}``.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgpack
import numpy as np

MAX_FRAME = 1 << 31  # bytes: far above a batch of pictures or features, far below what a forged length could claim
_LENGTH = struct.Struct(">I")
_NUMBERS = "biuf"  # numpy kinds that may travel


class FrameError(Exception):
    """Raised by ``receive`` and ``decode_tensor`` when the other side sent what is no frame or tensor."""


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    body = msgpack.packb(message)
    if len(body) > MAX_FRAME:
        raise FrameError(f"a frame of {len(body)} bytes is too large")
    connection.sendall(_LENGTH.pack(len(body)))
    connection.sendall(body)


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """The next message, None when the other side has closed."""
    header = _read(connection, _LENGTH.size)
    if header is None:
        return None
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length} bytes is too large")
    body = _read(connection, length)
    if body is None:
        return None
    message = msgpack.unpackb(body, max_bin_len=MAX_FRAME, max_str_len=MAX_FRAME)
    if not isinstance(message, dict):
        raise FrameError("a frame must hold a map")
    return message


def _read(connection: socket.socket, size: int) -> bytearray | None:
    buffer = bytearray(size)
    view = memoryview(buffer)
    at = 0
    while at < size:
        try:
            count = connection.recv_into(view[at:])
        except ConnectionResetError:
            return None  # how the end shows of one who had not read everything
        if not count:
            return None
        at += count
    return buffer


def encode_tensor(array: np.ndarray) -> dict[str, Any]:
    """``TypeError`` for a tensor that is neither numbers nor byte strings."""
    shape = list(array.shape)
    if array.dtype == object:
        return {"dtype": "bytes", "shape": shape, "items": [_as_bytes(item) for item in array.ravel().tolist()]}
    if array.dtype.kind not in _NUMBERS:
        raise TypeError("Can't return tensor of this type from TensorFlow")
    return {"dtype": array.dtype.str, "shape": shape, "data": np.ascontiguousarray(array).tobytes()}


def _as_bytes(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()


def decode_tensor(tensor: dict[str, Any]) -> np.ndarray:
    shape = tuple(tensor["shape"])
    if tensor["dtype"] == "bytes":
        items = np.empty(len(tensor["items"]), object)
        items[:] = tensor["items"]
        return items.reshape(shape)
    dtype = np.dtype(tensor["dtype"])
    if dtype.kind not in _NUMBERS:
        raise FrameError(f"tensors of {dtype} do not travel")
    return np.frombuffer(tensor["data"], dtype).reshape(shape)
