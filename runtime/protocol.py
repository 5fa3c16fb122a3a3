"""Frames between host and worker: a big-endian length, then a msgpack array ``[kind, …]`` of plain typed data.

Nothing but numbers, texts, bytes, lists and maps crosses the socket, so neither side can make the other run code.
What comes from a worker is checked against ``TO_HOST``: a worker that sends anything else is killed. A large body goes
ahead of its frame in parts: copying it at once would hold up everybody else.
"""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Any, Final

import msgpack

PROTOCOL_VERSION: Final = 6

# Uploads of pictures reach routes.py as one body; anything larger belongs into a file or a dataset. No setting: each of
# the two processes holds the body whole, and what is refused is told so with the way around it.
FRAME_LIMIT: Final = 256 * 2**20

# Without its body a frame of a worker is small: output has its own limits, and of objects it is to make few.
FROM_WORKER: Final = 24 * 2**20
_MOST_OBJECTS: Final = 100_000
PART_SIZE: Final = 2**20

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

# both ways
PART: Final = 20  # body, bytes
LAST: Final = 21  # body, place, frame: the body whose parts came belongs there
DROP: Final = 22  # body: it is given up

_BODY_AT: Final = {ANSWER: 4, CALL: 6, REQUEST: 7, RETURN: 3}

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


def encode(frame: Frame, limit: int = FRAME_LIMIT) -> bytes:
    """The bytes of a frame; ``ValueError`` when it is over the limit."""
    packed: bytes = _packers.packer.pack(frame)
    _check_size(len(packed), limit)
    return _LENGTH.pack(len(packed)) + packed


def in_parts(frame: Frame, number: int, limit: int = FRAME_LIMIT) -> tuple[Iterator[bytes], bytes] | None:
    """The parts of a large body, to be sent one after another, and what follows them; None when there is none.

    ``number`` tells it from others that are on their way. ``ValueError`` when it is over the limit.
    """
    place = _BODY_AT.get(frame[0], 0)
    if not place or len(frame[place]) <= PART_SIZE:
        return None
    body = memoryview(frame[place])
    _check_size(len(body), FRAME_LIMIT)
    last = encode([LAST, number, place, [*frame[:place], b"", *frame[place + 1 :]]], limit)
    return (encode([PART, number, body[at : at + PART_SIZE]]) for at in range(0, len(body), PART_SIZE)), last


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(
            f"{size} bytes are more than the {limit} that pass between the server and a plugin at once: "
            "put large data into a file or a dataset"
        )


class _Counter:
    """Refuses to make more lists and maps than a frame of use has."""

    def __init__(self) -> None:
        self._left = _MOST_OBJECTS

    def count(self, made: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it holds more than {_MOST_OBJECTS} lists and maps")
        return made


def decode(packed: bytes | bytearray | memoryview, *, trusted: bool = True) -> list[Any]:
    """The frame in ``packed``, without its length."""
    count = None if trusted or len(packed) <= _SMALL else _Counter().count
    try:
        frame = msgpack.unpackb(
            packed, unicode_errors="replace", ext_hook=_refuse_extension, list_hook=count, object_hook=count
        )
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
    """Cuts a byte stream into frames, with their bodies. One of a worker is not trusted to keep to limits."""

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self._pending = bytearray()
        self._limit = limit
        self._trusted = limit != FROM_WORKER
        self._bodies: dict[int, io.BytesIO] = {}

    @property
    def unfinished(self) -> int:
        """Bytes of bodies whose frames are still to come."""
        return sum(body.tell() for body in self._bodies.values())

    def feed(self, data: bytes) -> Iterator[list[Any]]:
        """Take bytes as they came; yields the frames that are complete now."""
        pending = self._pending
        pending += data
        at = 0
        end = len(pending)
        try:
            while end - at >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(pending, at)
                if size > self._limit:
                    raise ProtocolError(f"frame of {size} bytes is over the limit of {self._limit}")
                start = at + _LENGTH.size
                if end - start < size:
                    break
                at = start + size
                if size <= _SMALL:
                    frame = decode(bytes(pending[start:at]))
                else:
                    with memoryview(pending) as all_pending, all_pending[start:at] as packed:
                        frame = decode(packed, trusted=self._trusted)
                complete = self._assembled(frame) if PART <= frame[0] <= DROP else frame
                if complete is not None:
                    yield complete
        finally:
            del pending[:at]

    def _assembled(self, frame: list[Any]) -> list[Any] | None:
        """The frame that is complete now, None while parts come."""
        kind = frame[0]
        match frame[1:]:
            case [int(number), bytes(part)] if kind == PART:
                self._bodies.setdefault(number, io.BytesIO()).write(part)
                if not self._trusted and self.unfinished > FRAME_LIMIT:
                    raise ProtocolError(f"bodies of more than {FRAME_LIMIT} bytes")
                return None
            case [int(number)] if kind == DROP:
                self._bodies.pop(number, None)
                return None
            case [int(number), int(place), [int(of), *members]] if kind == LAST and _BODY_AT.get(of) == place:
                if number in self._bodies and place <= len(members):
                    members[place - 1] = self._bodies.pop(number).getvalue()
                    return [of, *members]
        raise ProtocolError("parts of a body are out of place")
