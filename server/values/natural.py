"""The natural order (sql-dialect.md §3.2) of many names at once: what ``natural_key`` says, without a key for each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from server.values import compute as pc
from server.values.arrow import pa
from server.values.paths import element_key, natural_key_of

_WORD_AND_NUMBER = r'^(?P<word>[^\x00-\x1f".0-9]*)(?P<digits>0|[1-9][0-9]{0,17})$'


def natural_order(texts: pa.Array) -> npt.NDArray[np.int64]:
    """The places of path texts in natural order; equal ones keep theirs."""
    parts = pc.extract_regex(texts, _WORD_AND_NUMBER)
    if parts.null_count:
        keys = list(map(natural_key_of, texts.to_pylist()))
        return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    words = parts.field("word").dictionary_encode()
    known = words.dictionary.to_pylist()
    ranks = np.empty(len(known), np.int64)
    ranks[sorted(range(len(known)), key=lambda place: element_key(known[place] + "1"))] = np.arange(len(known))
    numbers = pc.cast(parts.field("digits"), pa.int64()).to_numpy()
    return np.lexsort((numbers, ranks[np.asarray(words.indices)]))
