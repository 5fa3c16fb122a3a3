"""In which order a sparse dataset lists its rows (conformance/README.md §4, rest-api.md §15)."""

from __future__ import annotations

import numpy as np

from server.values.cityhash import Hashes

# Bucket counts that a std::unordered_map of libstdc++ goes through as keys are inserted one by one.
_BUCKETS = (
    13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10273, 20753, 42043, 85229, 172933, 351061, 712697, 1447153,
    2938679, 5967347, 12117689, 24607243, 49969847, 101473717, 206062531, 418449917, 849733367, 1725517829,
)  # fmt: skip


def listing_order(hashes: Hashes, batches: int) -> Hashes:
    """Sort keys (UBIGINT) of rows given in the order in which they were first recorded.

    One committed batch is listed as upstream's hash map iterates; anything else by ascending row hash.
    """
    if batches != 1:
        return hashes
    order = map_iteration_order(hashes)
    keys = np.empty(len(hashes), np.uint64)
    keys[order] = np.arange(len(hashes), dtype=np.uint64)
    return keys


def map_iteration_order(keys: Hashes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Indices of distinct keys, hashed to themselves, in the iteration order of the map they were inserted into.

    A new key goes in front of its bucket's nodes, or to the head of the list when the bucket is empty. Growing
    relinks the nodes in list order by the same rule, so each size of the table is one pass over
    "what was there, then what comes".
    """
    order = np.arange(0, dtype=np.int64)
    for buckets in _BUCKETS:
        sequence = np.concatenate([order, np.arange(len(order), min(buckets, len(keys)), dtype=np.int64)])
        order = _link(sequence, keys[sequence] % np.uint64(buckets))
        if len(order) == len(keys):
            return order
    raise OverflowError(f"no bucket count for {len(keys)} rows")


def _link(
    sequence: np.ndarray[tuple[int], np.dtype[np.int64]], buckets: Hashes
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Buckets in reverse order of their first key; the keys of one bucket in reverse order."""
    _, first, bucket = np.unique(buckets, return_index=True, return_inverse=True)
    places = np.arange(len(sequence))
    return sequence[np.lexsort((-places, -first[bucket]))]
