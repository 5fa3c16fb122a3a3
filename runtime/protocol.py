"""Frames between host and worker: a big-endian length, then a msgpack array ``[kind, …]`` of plain typed data.

Nothing but numbers, texts, bytes, lists and maps crosses the socket, so neither side can make the other run code.
What comes from a worker is checked against ``TO_HOST``: a worker that sends anything else is killed.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Any, Final

import msgpack

PROTOCOL_VERSION: Final = 5

# Uploads of pictures reach routes.py as one body; anything larger belongs into a file or a dataset.
FRAME_LIMIT: Final = 256 * 2**20

# from the worker
HELLO: Final = 0  # version, pid
ANSWER: Final = 1  # request, outcome, code, body, logs, exception, file (None, or content type and name), begun, ended
CALL: Final = 2  # call, request (0: none), verb, path, params, body, headers
LOG: Final = 3  # stream, seconds, text, request (0: none)
OFFER: Final = 4  # call, kind (static or doc), route, folder
PONG: Final = 5  # ping, names of imported third-party modules, of modules of the plugin's own folder
DECLARE: Final = 6  # verb, path, summary, arguments (name, place, JSON type, required) of a route that main.py declares
STATUS: Final = 7  # JSON of what the plugin tells of itself (JavaScript)
# from the host
START: Final = 10  # request, launch
# request, whether one of this worker's waits for it, verb, path, remaining, params, body, headers, content type, length
REQUEST: Final = 11
RETURN: Final = 12  # call, status, body, content type, headers
PING: Final = 13  # ping
CANCEL: Final = 14  # request

# outcomes of running plugin code
RETURNED: Final = 0  # set_return was called
RAISED: Final = 1
UNSET: Final = 2  # no return, by code of MLDB's later generation (plugin-runtime.md §1)
UNROUTED: Final = 3  # no return, by code of the talk's generation
EXHAUSTED: Final = 4  # out of memory
SENT: Final = 5  # send_file was called

_TEXT_OR_NONE = (str, NoneType)
TO_HOST: Final[dict[int, tuple[Any, ...]]] = {
    HELLO: (int, int),
    ANSWER: (int, int, int, bytes, list, (dict, NoneType), (list, NoneType), float, float),
    CALL: (int, int, str, str, list, bytes, list),
    LOG: (str, float, _TEXT_OR_NONE, int),
    OFFER: (int, str, str, str),
    PONG: (int, list, list),
    DECLARE: (str, str, str, list),
    STATUS: (bytes,),
}

_SMALL: Final = 64 * 1024  # bytes: copying a frame of so many takes less than looking at it where it lies

Frame = Sequence[Any]
_LENGTH = struct.Struct(">I")


class _Packers(threading.local):
    """A packer for each thread: making one takes longer than packing a frame."""

    def __init__(self) -> None:
        self.packer = msgpack.Packer(unicode_errors="replace")


_packers = _Packers()


class ProtocolError(Exception):
    """Raised by ``FrameReader`` and ``check`` for bytes that are no frame of this protocol."""


def encode(frame: Frame) -> bytes:
    """The bytes of a frame; ``ValueError`` when it is over the limit."""
    packed: bytes = _packers.packer.pack(frame)
    if len(packed) > FRAME_LIMIT:
        raise ValueError(
            f"{len(packed)} bytes are more than the {FRAME_LIMIT} that pass between the server and a plugin at once: "
            "put large data into a file or a dataset"
        )
    return _LENGTH.pack(len(packed)) + packed


def decode(packed: bytes | bytearray | memoryview) -> list[Any]:
    """The frame in ``packed``, without its length."""
    try:
        frame = msgpack.unpackb(packed, unicode_errors="replace", ext_hook=_refuse_extension)
    except (ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"malformed frame: {error}") from None
    if type(frame) is not list or not frame or type(frame[0]) is not int:
        raise ProtocolError("a frame is a list that starts with its kind")
    return frame


def _refuse_extension(code: int, _data: bytes) -> Any:
    raise ValueError(f"extension type {code} is not allowed")


def check(frame: list[Any]) -> None:
    """Refuse a frame that a worker may not send."""
    shape = TO_HOST.get(frame[0])
    if shape is None or len(frame) != len(shape) + 1:
        raise ProtocolError(f"unexpected frame of kind {frame[0]}")
    if not all(map(isinstance, frame[1:], shape)):
        kinds = ", ".join(type(value).__name__ for value in frame[1:])
        raise ProtocolError(f"frame of kind {frame[0]} holds what is out of place: {kinds}")


def text_pairs(items: list[Any]) -> list[tuple[str, str]]:
    """``[[name, value], …]`` as typed pairs."""
    pairs: list[tuple[str, str]] = []
    for item in items:
        if type(item) is not list or len(item) != 2 or not all(isinstance(part, str) for part in item):
            raise ProtocolError("pairs of texts expected")
        pairs.append((item[0], item[1]))
    return pairs


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[list[Any]]:
        """Take bytes as they came; yields the frames that are complete now."""
        pending = self._pending
        pending += data
        at = 0
        end = len(pending)
        try:
            while end - at >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(pending, at)
                if size > FRAME_LIMIT:
                    raise ProtocolError(f"frame of {size} bytes is over the limit of {FRAME_LIMIT}")
                start = at + _LENGTH.size
                if end - start < size:
                    break
                at = start + size
                if size <= _SMALL:
                    yield decode(bytes(pending[start:at]))
                    continue
                with memoryview(pending) as whole, whole[start:at] as packed:
                    frame = decode(packed)
                yield frame
        finally:
            del pending[:at]
