"""The natural order of many names at once is that of their keys."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from server.values.natural import natural_order
from server.values.paths import format_path, natural_key, natural_key_of, parse_path

pieces = st.sampled_from(["a", "ab", "b", "é", "_", " ", "A", "", "~"])
numbered = st.builds(lambda word, number: f"{word}{number}", pieces, st.integers(0, 10**18 - 1))
names = st.lists(st.text(st.sampled_from('ab.01290" é'), max_size=6), min_size=1, max_size=3).map(
    lambda path: format_path(tuple(path))
)


@given(st.lists(numbered) | st.lists(names | numbered))
def test_many_names_are_ordered_as_one_by_one(texts: list[str]) -> None:
    keys = [natural_key(parse_path(text)) for text in texts]
    assert list(map(natural_key_of, texts)) == keys
    assert natural_order(pa.array(texts, pa.string())).tolist() == sorted(range(len(texts)), key=keys.__getitem__)
