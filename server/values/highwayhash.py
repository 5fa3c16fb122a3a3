"""HighwayHash-64, the hash of values in ``hash(x)`` (sql-dialect.md §3.4), on whole arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from server.values.atoms import Atom, Interval, PathValue, Timestamp, collapse
from server.values.cityhash import hash_path
from server.values.paths import Path

Hashes = npt.NDArray[np.uint64]
Key = tuple[int, int, int, int]

ATOM_KEY: Key = (0x1958DF94340E7CBA, 0x00008928FC8B84A0, 0xB4DE473517BB7B44, 0xEE14868F2037839C)
ROW_KEY: Key = (ATOM_KEY[0], ATOM_KEY[1], 0, 0)

_MUL0 = (0xDBE6D5D5FE4CCE2F, 0xA4093822299F31D0, 0x13198A2E03707344, 0x243F6A8885A308D3)
_MUL1 = (0x3BD39E10CB0EF593, 0xC0ACF169B5F18A8C, 0xBE5466CF34E90C6C, 0x452821E638D01377)
_32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def hash_blobs(blobs: Sequence[bytes], key: Key = ATOM_KEY) -> Hashes:
    """Hashes of byte strings, those of one length together."""
    hashes = np.empty(len(blobs), np.uint64)
    lengths = np.array([len(blob) for blob in blobs], np.int64)
    for length in np.unique(lengths):
        chosen = np.flatnonzero(lengths == length)
        joined = b"".join(blobs[index] for index in chosen.tolist())
        hashes[chosen] = _hash_equal_lengths(np.frombuffer(joined, np.uint8).reshape(len(chosen), int(length)), key)
    return hashes


def hash_atoms(atoms: Sequence[Atom]) -> list[int | None]:
    """``hash(x)`` of many atoms; None for null."""
    hashes: list[int | None] = [hash_path(atom.path) if isinstance(atom, PathValue) else None for atom in atoms]
    plain = [at for at, atom in enumerate(atoms) if atom is not None and not isinstance(atom, PathValue)]
    found = hash_blobs([_atom_bytes(atoms[at]) for at in plain])
    for at, value in zip(plain, found.tolist(), strict=True):
        hashes[at] = value
    return hashes


def hash_row(columns: Iterable[tuple[Path, int]]) -> int:
    """``hash(x)`` of a row or embedding: its columns, in order, with the hash of each value."""
    data = bytearray()
    for path, value in columns:
        data += hash_path(path).to_bytes(8, "little") + value.to_bytes(8, "little")
    return int(hash_blobs([bytes(data)], ROW_KEY)[0])


def _atom_bytes(atom: Atom) -> bytes:
    match atom:
        case float():
            whole = collapse(atom)
            return np.float64(atom).tobytes() if isinstance(whole, float) else whole.to_bytes(8, "little", signed=True)
        case int():
            return (atom & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
        case Timestamp(seconds):
            return np.float64(seconds).tobytes()
        case Interval(months, days, seconds):
            signed = math.copysign(seconds, -1 if atom.negative else 1)  # upstream keeps the sign there
            return np.uint16(abs(months)).tobytes() + np.uint16(abs(days)).tobytes() + np.float64(signed).tobytes()
        case str():
            return atom.encode("utf-8", "surrogatepass")
        case bytes():
            return atom
    raise TypeError(f"no bytes to hash in {atom!r}")


class _State:
    """The four vectors of four lanes, each lane an array over the inputs."""

    def __init__(self, key: Key, count: int) -> None:
        self.mul0 = [np.full(count, word, np.uint64) for word in _MUL0]
        self.mul1 = [np.full(count, word, np.uint64) for word in _MUL1]
        self.v0 = [lane ^ np.uint64(word) for lane, word in zip(self.mul0, key, strict=True)]
        turned = [np.uint64((word >> 32 | word << 32) & 0xFFFFFFFFFFFFFFFF) for word in key]
        self.v1 = [lane ^ word for lane, word in zip(self.mul1, turned, strict=True)]

    def update(self, lanes: Sequence[Hashes]) -> None:
        v0, v1, mul0, mul1 = self.v0, self.v1, self.mul0, self.mul1
        for i in range(4):
            v1[i] = v1[i] + mul0[i] + lanes[i]
            mul0[i] = mul0[i] ^ (v1[i] & _LOW) * (v0[i] >> _32)
            v0[i] = v0[i] + mul1[i]
            mul1[i] = mul1[i] ^ (v0[i] & _LOW) * (v1[i] >> _32)
        for source, target in ((v1, v0), (v0, v1)):
            for even in (0, 2):
                low, high = _zipper(source[even + 1], source[even])
                target[even] = target[even] + low
                target[even + 1] = target[even + 1] + high

    def remainder(self, tail: npt.NDArray[np.uint8]) -> None:
        """The last 1 to 31 bytes of each input."""
        size = tail.shape[1]
        self.v0 = [lane + np.uint64((size << 32) + size) for lane in self.v0]
        self.v1 = [_rotate_halves(lane, size) for lane in self.v1]
        self.update(_lanes(_padded(tail)))

    def finish(self) -> Hashes:
        for _ in range(4):
            self.update([_swap_halves(self.v0[i]) for i in (2, 3, 0, 1)])
        total: Hashes = self.v0[0] + self.v1[0] + self.mul0[0] + self.mul1[0]
        return total


def _hash_equal_lengths(data: npt.NDArray[np.uint8], key: Key) -> Hashes:
    """``data``: one input per row, all of the same length."""
    count, length = data.shape
    state = _State(key, count)
    whole = length - length % 32
    for start in range(0, whole, 32):
        state.update(_lanes(data[:, start : start + 32]))
    if length % 32:
        state.remainder(data[:, whole:])
    return state.finish()


def _lanes(packet: npt.NDArray[np.uint8]) -> list[Hashes]:
    words = np.ascontiguousarray(packet).view("<u8").astype(np.uint64)
    return [words[:, lane] for lane in range(4)]


def _padded(tail: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The tail as a packet: whole words first, the odd bytes where the algorithm puts them."""
    count, size = tail.shape
    packet = np.zeros((count, 32), np.uint8)
    words, odd = size & ~3, size & 3
    packet[:, :words] = tail[:, :words]
    if size & 16:
        packet[:, 28:32] = tail[:, size - 4 : size]
    elif odd:
        for place, index in ((16, 0), (17, odd >> 1), (18, odd - 1)):
            packet[:, place] = tail[:, words + index]
    return packet


def _rotate_halves(lane: Hashes, count: int) -> Hashes:
    """Each 32-bit half rotated left by ``count`` (1 to 31)."""
    low, high = (_rotate_half(half, count) for half in (lane & _LOW, lane >> _32))
    return low | (high << _32)


def _rotate_half(half: Hashes, count: int) -> Hashes:
    return ((half << np.uint64(count)) & _LOW) | (half >> np.uint64(32 - count))


def _swap_halves(lane: Hashes) -> Hashes:
    return (lane >> _32) | (lane << _32)


# Where each byte of the two results comes from: (source, byte), the lowest byte first; source 0 is the even lane.
_ZIP_LOW = ((0, 3), (1, 4), (0, 2), (0, 5), (1, 6), (0, 1), (1, 7), (0, 0))
_ZIP_HIGH = ((1, 3), (0, 4), (1, 2), (1, 5), (1, 1), (0, 6), (1, 0), (0, 7))


def _zipper(odd: Hashes, even: Hashes) -> tuple[Hashes, Hashes]:
    """The byte permutation between neighbouring lanes: what to add to the even and to the odd lane."""
    sources = (even, odd)
    return _gather(sources, _ZIP_LOW), _gather(sources, _ZIP_HIGH)


def _gather(sources: tuple[Hashes, Hashes], places: tuple[tuple[int, int], ...]) -> Hashes:
    total = np.zeros(len(sources[0]), np.uint64)
    for target, (source, byte) in enumerate(places):
        total = total | ((sources[source] >> np.uint64(8 * byte)) & np.uint64(0xFF)) << np.uint64(8 * target)
    return np.asarray(total, np.uint64)
