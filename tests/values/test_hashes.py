from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from server.values.atoms import PathValue
from server.values.cityhash import hash_bytes, hash_numbers, hash_path, hash_path_texts, hash_texts
from server.values.highwayhash import hash_atoms, hash_blobs, hash_row
from server.values.numberhashes import NumberHashes
from server.values.paths import format_path
from server.values.siphash import sip_hashes

PUBLISHED = {
    "x": 0x4FC82888D13DE398,
    "y": 0x75C422100F18A043,
    "z": 0x5E7AD9221C640E96,
    "ex1": 0x397DE880D5F0376E,
    "ex2": 0xED64A202CEF7CCF1,
    "ex3": 0x418B8CE19E0DE7A3,
    "ex4": 0x213CA5902E95224E,
    "myrow": 0xFBDBA4C9BE68F633,
    "row_1": 0xF156570C0871DBCE,
    "row_2": 0x0EA93BE3F94D4404,
    "row1": 0x86065FEEC3521ACC,
    "[]": 0x9DE462D40469D853,
    '["cat"]': 0x554F96C80EA05DDB,
    '["dog"]': 0xD55E0E284796F79E,
    "result": 0xD54892B736CAC3AB,
    "0": 0x9071C92BAA458312,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_row_hashes(name):
    assert hash_path((name,)) == PUBLISHED[name]
    assert int(hash_path_texts(pa.array([format_path((name,))]))[0]) == PUBLISHED[name]


def test_numbers_hash_as_their_texts():
    edges = [10**power + step for power in range(19) for step in (-1, 0, 1)] + [-(2**63), -1, 0, 2**63 - 1]
    random = np.random.default_rng(5).integers(-(2**63), 2**63 - 1, 2000)
    for numbers in (np.array(edges), random, np.arange(-20, 1200), np.arange(5000, 5100), np.array([], np.int64)):
        assert hash_numbers(numbers).tolist() == hash_texts(pa.array(numbers).cast(pa.string())).tolist()
        assert NumberHashes().of(numbers).tolist() == hash_numbers(numbers).tolist()


def test_hashes_of_numbers_are_remembered_up_to_a_limit():
    hashes = NumberHashes(100_000)
    for numbers in ([99_999, 0], [65_535, 65_536], [0, 131_071], [131_072, 5], [-1, 3]):
        assert hashes.of(np.array(numbers)).tolist() == hash_numbers(np.array(numbers)).tolist()


def test_hashes_of_numbers_from_several_threads():
    hashes, numbers = NumberHashes(), np.random.default_rng(5).integers(0, 1 << 20, (64, 2048))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(hashes.of, numbers))
    assert np.concatenate(found).tolist() == hash_numbers(numbers.reshape(-1)).tolist()


def test_several_elements_and_the_empty_path():
    assert hash_path(("a", "b")) == 0x67A4D5F337C91C13
    assert hash_path(()) == 0
    assert hash_path(("",)) == 0x9AE16A3B2F90404F


def test_path_texts_equal_paths():
    paths = [
        ("a",),
        ("a", "b"),
        ("a.b",),
        ("a", "b.c", "d"),
        ("",),
        ('say "hi"',),
        ("é", "日本語", "x" * 200),
        (),
        ("a", ""),
    ]
    texts = pa.chunked_array(
        [
            pa.array([format_path(path) for path in paths]).slice(0, 4),
            pa.array([format_path(path) for path in paths]).slice(4),
        ]
    )
    assert hash_path_texts(texts).tolist() == [hash_path(path) for path in paths]


def test_each_length_alone_equals_the_batch():
    texts = [("abcdefghijklmnopqrstuvwxyz0123456789" * 10)[:length] for length in range(300)]
    alone = [int(hash_bytes([text.encode()])[0]) for text in texts]
    assert hash_texts(pa.array(texts)).tolist() == alone
    assert len(set(alone)) == 300
    assert hash_texts(pa.array(["q", *texts]).slice(1)).tolist() == alone


def test_nulls_and_no_texts():
    assert hash_texts(pa.array([None, "x"], pa.string())).tolist() == [0, PUBLISHED["x"]]
    assert len(hash_texts(pa.array([], pa.string()))) == 0
    assert hash_texts(pa.array(["", ""])).tolist() == [0x9AE16A3B2F90404F] * 2


def test_highway_reference_vector():
    words = np.frombuffer(bytes(range(32)), np.uint64).tolist()
    assert int(hash_blobs([b""], tuple(words))[0]) == 0x907A56DE22C26E53


def test_published_value_hashes():
    one, whole, text, word, null = hash_atoms([1, 1.0, "1", "abc", None])
    assert (one, whole, text) == (6057722525893115906, 6057722525893115906, 10592438303399217743)
    assert (word, null) == (17130090052465147157, None)
    twelve, coco, path = hash_atoms([12, "coco", PathValue(("a", "b"))])
    assert hash_row([(("a",), twelve), (("b",), coco)]) == 4703301921268040991
    assert path == hash_path(("a", "b"))


def test_value_hashes_of_arrays():
    texts = [("0123456789" * 10)[:length] for length in range(100)]
    assert hash_atoms([*texts, None]) == [*(hash_atoms([text])[0] for text in texts), None]


def test_siphash():
    # The vectors of the authors' reference implementation: bytes 0, 1, … under the key 0, 1, … 15
    key = tuple(int.from_bytes(bytes(range(at, at + 8)), "little") for at in (0, 8))
    known = {0: 0x726FDB47DD0E0E31, 8: 0x93F5F5799A932462, 15: 0xA129CA6149BE45E5, 63: 0x958A324CEB064572}
    assert sip_hashes([bytes(range(length)) for length in known], key).tolist() == list(known.values())
