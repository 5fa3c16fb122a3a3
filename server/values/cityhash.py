"""CityHash64 of version 1.0.3: the hash of row and column paths (sql-dialect.md §3.3).

Everything works on whole arrays: texts lie in one byte buffer and are hashed class by class of length, so one text
costs some tens of microseconds and a million short ones about a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from server.values import compute as pc
from server.values.arrow import pa
from server.values.batches import one_array
from server.values.paths import Path, parse_path

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

_K0 = np.uint64(0xC3A5C85C97CB3127)
_K1 = np.uint64(0xB492B66FBE98F273)
_K2 = np.uint64(0x9AE16A3B2F90404F)
_K3 = np.uint64(0xC949D7C7509E6557)  # versions after 1.0.3 have lost it
_MIX = np.uint64(0x9DDFEA08EB382D69)


def hash_path(path: Path) -> int:
    """Hash of a path: the elements' hashes folded from the left; 0 for the empty path."""
    if not path:
        return 0
    elements = hash_bytes([element.encode("utf-8", "surrogatepass") for element in path])
    folded = elements[:1]
    for at in range(1, len(path)):
        folded = _mix128(folded, elements[at : at + 1])
    return int(folded[0])


def hash_path_texts(texts: pa.Array | pa.ChunkedArray) -> Hashes:
    """Hashes of canonical path texts; only those with dots or quotes are taken apart."""
    texts = _short_texts(texts)
    hashes = hash_texts(texts)
    hashes[_indices(pc.equal(texts, ""))] = 0
    quoted = pc.fill_null(pc.match_substring(texts, '"'), False)
    dotted = pc.and_not(pc.fill_null(pc.match_substring(texts, "."), False), quoted)
    _hash_dotted(texts, _indices(dotted), hashes)
    _hash_quoted(texts, _indices(quoted), hashes)
    return hashes


def _hash_dotted(texts: pa.Array, where: Positions, hashes: Hashes) -> None:
    if len(where):
        lists = pc.split_pattern(texts.take(pa.array(where)), ".")
        hashes[where] = _fold(hash_texts(lists.flatten()), lists.value_lengths().to_numpy().astype(np.int64))


def _hash_quoted(texts: pa.Array, where: Positions, hashes: Hashes) -> None:
    """One quoted element without inner quotes is the usual case (file names, addresses): cut the quotes off."""
    if not len(where):
        return
    chosen = texts.take(pa.array(where))
    plain = pc.match_substring_regex(chosen, '^"[^"]*"$')
    single = _indices(plain)
    if len(single):
        hashes[where[single]] = hash_texts(pc.utf8_slice_codeunits(chosen.take(pa.array(single)), 1, -1))
    several = _indices(pc.invert(plain))
    if len(several):
        paths = [parse_path(text) for text in chosen.take(pa.array(several)).to_pylist()]
        elements = pa.array([element for path in paths for element in path], pa.string())
        hashes[where[several]] = _fold(hash_texts(elements), np.array([len(path) for path in paths], np.int64))


def _fold(elements: Hashes, lengths: Positions) -> Hashes:
    """Fold runs of element hashes, ``lengths`` (all positive) elements each."""
    starts = np.cumsum(lengths) - lengths
    folded: Hashes = elements[starts]
    for position in range(1, int(lengths.max())):
        longer = np.flatnonzero(lengths > position)
        folded[longer] = _mix128(folded[longer], elements[starts[longer] + position])
    return folded


def hash_texts(texts: pa.Array | pa.ChunkedArray) -> Hashes:
    """CityHash64 of the UTF-8 bytes of each text (or the bytes of each blob); 0 for NULL."""
    array = _short_texts(texts)
    if not len(array):
        return np.empty(0, np.uint64)
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, len(array) + 1, array.offset * 4).astype(np.int64)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
    hashes = _hash_slices(data, offsets[:-1], np.diff(offsets))
    if array.null_count:
        hashes[_indices(array.is_null())] = 0
    return hashes


def hash_numbers(numbers: npt.NDArray[np.int64]) -> Hashes:
    """CityHash64 of the decimal texts of whole numbers; the texts of those that are not negative are never made."""
    hashes = np.empty(len(numbers), np.uint64)
    if not len(numbers):
        return hashes
    shortest, longest = (len(str(max(number, 0))) for number in (int(numbers.min()), int(numbers.max())))
    negative = np.flatnonzero(numbers < 0)
    if len(negative):
        hashes[negative] = hash_texts(pa.array(numbers[negative]).cast(pa.string()))
    elif shortest == longest:
        return _hash_digits(numbers, longest)
    for length in range(shortest, longest + 1):
        least, most = 10 ** (length - 1) if length > 1 else 0, min(10**length - 1, _INT64_MAX)
        chosen = np.flatnonzero((numbers >= least) & (numbers <= most))
        hashes[chosen] = _hash_digits(numbers[chosen], length)
    return hashes


def _hash_digits(numbers: npt.NDArray[np.int64], length: int) -> Hashes:
    function = next(function for low, high, function in _CLASSES if low <= length <= high)
    return function(_Digits(numbers, length), np.zeros(1, np.int64), np.array([length]))


def hash_bytes(blobs: Sequence[bytes]) -> Hashes:
    """CityHash64 of each of some byte strings."""
    lengths = np.array([len(blob) for blob in blobs], np.int64)
    return _hash_slices(np.frombuffer(b"".join(blobs), np.uint8), np.cumsum(lengths) - lengths, lengths)


def _short_texts(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Texts or blobs as one array with offsets of 32 bits."""
    array = one_array(texts)
    return array if pa.types.is_string(array.type) or pa.types.is_binary(array.type) else array.cast(pa.string())


def _indices(mask: pa.Array) -> Positions:
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))


class _Words(Protocol):
    """Texts that 8 and 4 byte words are fetched from, many at a time."""

    def word(self, at: Positions) -> Hashes: ...
    def half(self, at: Positions) -> Hashes: ...
    def byte(self, at: Positions) -> Hashes: ...


class _Digits:
    """The decimal texts of numbers that all have ``length`` digits, not written out; one position for all."""

    def __init__(self, numbers: npt.NDArray[np.int64], length: int) -> None:
        self._numbers = numbers
        self._length = length

    def word(self, at: Positions) -> Hashes:
        return self.half(at) | (self.half(at + 4) << np.uint64(32))

    def half(self, at: Positions) -> Hashes:
        return _FOUR_DIGITS[self._ending(int(at[0]) + 4) % 10_000]

    def byte(self, at: Positions) -> Hashes:
        return (self._ending(int(at[0]) + 1) % 10 + ord("0")).astype(np.uint64)

    def _ending(self, at: int) -> npt.NDArray[np.int64]:
        """What stands before a position."""
        before: npt.NDArray[np.int64] = self._numbers // 10 ** (self._length - at)
        return before


class _Buffer:
    """Bytes in one piece, each text at a position of its own."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        padded = np.concatenate([data, np.zeros(8, np.uint8)])
        self._bytes = padded
        self._words = np.ndarray((len(padded) - 7,), np.dtype("<u8"), padded.data, strides=(1,))
        self._halves = np.ndarray((len(padded) - 7,), np.dtype("<u4"), padded.data, strides=(1,))

    def word(self, at: Positions) -> Hashes:
        return self._words[at].astype(np.uint64)

    def half(self, at: Positions) -> Hashes:
        return self._halves[at].astype(np.uint64)

    def byte(self, at: Positions) -> Hashes:
        return self._bytes[at].astype(np.uint64)


def _hash_slices(data: npt.NDArray[np.uint8], starts: Positions, lengths: Positions) -> Hashes:
    hashes = np.full(len(lengths), _K2, np.uint64)
    buffer = _Buffer(data)
    for low, high, function in _CLASSES:
        chosen = np.flatnonzero((lengths >= low) & (lengths <= high))
        if len(chosen):
            hashes[chosen] = function(buffer, starts[chosen], lengths[chosen])
    for chosen in _by_blocks(lengths):
        hashes[chosen] = _hash_long(buffer, starts[chosen], lengths[chosen])
    return hashes


def _by_blocks(lengths: Positions) -> Iterable[Positions]:
    """Indices of the texts over 64 bytes, in groups with the same number of 64-byte blocks."""
    long = np.flatnonzero(lengths > 64)
    blocks = (lengths[long] - 1) >> 6
    return [long[blocks == count] for count in np.unique(blocks)]


def _rotate(value: Hashes, shift: int) -> Hashes:
    return (value >> np.uint64(shift)) | (value << np.uint64(64 - shift))


def _shift_mix(value: Hashes) -> Hashes:
    return value ^ (value >> np.uint64(47))


def _mix128(low: Hashes, high: Hashes) -> Hashes:
    """The library's 128 to 64 bit mixer."""
    a = _shift_mix((low ^ high) * _MIX)
    return _shift_mix((high ^ a) * _MIX) * _MIX


def _hash_1_to_3(s: _Words, at: Positions, length: Positions) -> Hashes:
    y = s.byte(at) + (s.byte(at + (length >> 1)) << np.uint64(8))
    z = length.astype(np.uint64) + (s.byte(at + length - 1) << np.uint64(2))
    return _shift_mix(y * _K2 ^ z * _K3) * _K2


def _hash_4_to_8(s: _Words, at: Positions, length: Positions) -> Hashes:
    return _mix128(length.astype(np.uint64) + (s.half(at) << np.uint64(3)), s.half(at + length - 4))


def _hash_9_to_16(s: _Words, at: Positions, length: Positions) -> Hashes:
    size = length.astype(np.uint64)
    last = s.word(at + length - 8)
    turned = last + size
    turned = (turned >> size) | (turned << (np.uint64(64) - size))
    return _mix128(s.word(at), turned) ^ last


def _hash_17_to_32(s: _Words, at: Positions, length: Positions) -> Hashes:
    a = s.word(at) * _K1
    b = s.word(at + 8)
    c = s.word(at + length - 8) * _K2
    d = s.word(at + length - 16) * _K0
    return _mix128(
        _rotate(a - b, 43) + _rotate(c, 30) + d,
        a + _rotate(b ^ _K3, 20) - c + length.astype(np.uint64),
    )


def _half_of_33_to_64(a: Hashes, z: Hashes, second: Hashes, third: Hashes) -> tuple[Hashes, Hashes]:
    b = _rotate(a + z, 52)
    c = _rotate(a, 37)
    a = a + second
    c = c + _rotate(a, 7)
    a = a + third
    return a + z, b + _rotate(a, 31) + c


def _hash_33_to_64(s: _Words, at: Positions, length: Positions) -> Hashes:
    end = at + length
    first = s.word(at) + (length.astype(np.uint64) + s.word(end - 16)) * _K0
    vf, vs = _half_of_33_to_64(first, s.word(at + 24), s.word(at + 8), s.word(at + 16))
    wf, ws = _half_of_33_to_64(s.word(at + 16) + s.word(end - 32), s.word(end - 8), s.word(end - 24), s.word(end - 16))
    r = _shift_mix((vf + ws) * _K2 + (wf + vs) * _K0)
    return _shift_mix(r * _K0 + vs) * _K2


def _weak_hash_32(s: _Words, at: Positions, a: Hashes, b: Hashes) -> tuple[Hashes, Hashes]:
    w, x, y, z = (s.word(at + 8 * number) for number in range(4))
    a = a + w
    b = _rotate(b + a + z, 21)
    c = a
    a = a + x + y
    return a + z, b + _rotate(a, 44) + c


def _hash_long(s: _Words, at: Positions, length: Positions) -> Hashes:
    """Over 64 bytes; all of the texts have the same number of blocks."""
    end, size = at + length, length.astype(np.uint64)
    x = s.word(end - 40)
    y = s.word(end - 16) + s.word(end - 56)
    z = _mix128(s.word(end - 48) + size, s.word(end - 24))
    v = _weak_hash_32(s, end - 64, size, z)
    w = _weak_hash_32(s, end - 32, y + _K1, x)
    x = x * _K1 + s.word(at)
    for _ in range((int(length[0]) - 1) >> 6):
        x = _rotate(x + y + v[0] + s.word(at + 8), 37) * _K1
        y = _rotate(y + v[1] + s.word(at + 48), 42) * _K1
        x = x ^ w[1]
        y = y + v[0] + s.word(at + 40)
        z = _rotate(z + w[0], 33) * _K1
        v = _weak_hash_32(s, at, v[1] * _K1, x + w[0])
        w = _weak_hash_32(s, at + 32, z + w[1], y + s.word(at + 16))
        z, x = x, z
        at = at + 64
    return _mix128(_mix128(v[0], w[0]) + _shift_mix(y) * _K1 + z, _mix128(v[1], w[1]) + x)


_INT64_MAX = 2**63 - 1
_FOUR_DIGITS = np.array([int.from_bytes(b"%04d" % number, "little") for number in range(10_000)], np.uint64)
_CLASSES = (
    (1, 3, _hash_1_to_3),
    (4, 8, _hash_4_to_8),
    (9, 16, _hash_9_to_16),
    (17, 32, _hash_17_to_32),
    (33, 64, _hash_33_to_64),
)
