"""SipHash-2-4 (Aumasson and Bernstein, 2012) of many byte strings at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Key = tuple[int, int]

_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def sip_hashes(blobs: Sequence[bytes], key: Key) -> Hashes:
    """Hashes of byte strings, those of one length together."""
    hashes = np.empty(len(blobs), np.uint64)
    lengths = np.array([len(blob) for blob in blobs], np.int64)
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        # The last word is filled up with zeros, its highest byte is the length.
        end = bytes(7 - length % 8) + bytes([length & 0xFF])
        joined = b"".join(blobs[index] + end for index in chosen.tolist())
        hashes[chosen] = _of_words(np.frombuffer(joined, "<u8").reshape(len(chosen), -1).astype(np.uint64), key)
    return hashes


def _of_words(words: Hashes, key: Key) -> Hashes:
    state = [np.full(len(words), start ^ part, np.uint64) for start, part in zip(_START, key * 2, strict=True)]
    for at in range(words.shape[1]):
        state[3] ^= words[:, at]
        _rounds(state, 2)
        state[0] ^= words[:, at]
    state[2] ^= np.uint64(0xFF)
    _rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _rounds(state: list[Hashes], count: int) -> None:
    v0, v1, v2, v3 = state
    for _ in range(count):
        v0 = v0 + v1
        v1 = _turned(v1, 13) ^ v0
        v0 = _turned(v0, 32)
        v2 = v2 + v3
        v3 = _turned(v3, 16) ^ v2
        v0 = v0 + v3
        v3 = _turned(v3, 21) ^ v0
        v2 = v2 + v1
        v1 = _turned(v1, 17) ^ v2
        v2 = _turned(v2, 32)
    state[:] = [v0, v1, v2, v3]


def _turned(words: Hashes, bits: int) -> Hashes:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))
