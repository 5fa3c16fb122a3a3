"""Recorded rows that are read in pieces are what they are as a whole, and so are their errors."""

import gc
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.collector import held_off
from server.errors import MldbError
from server.http import recording
from tests.effort import cases

TEXTS = st.text(st.sampled_from(list('ab"\\[],{} \n]')), max_size=12)
VALUES = st.none() | st.integers(-5, 5) | st.floats(-1, 1) | TEXTS
ROWS = st.lists(st.tuples(TEXTS.filter(lambda text: '"' not in text), st.lists(st.tuples(TEXTS, VALUES, st.just(0)))))


def outcome(read, body):
    try:
        return read(body)
    except MldbError as error:
        return error.message


def compare(monkeypatch, body, piece=16):
    monkeypatch.setattr(recording, "_PIECE", len(body))
    whole = outcome(recording.several, body)
    monkeypatch.setattr(recording, "_PIECE", piece)
    assert outcome(recording.several, body) == whole
    return whole


@settings(max_examples=cases(60))
@given(ROWS, st.sampled_from([None, 1]))
def test_pieces_are_the_whole(rows, indent):
    with pytest.MonkeyPatch.context() as monkeypatch:
        compare(monkeypatch, json.dumps(rows, indent=indent).encode())


ROW = '["r",[["x",1,0],["y","]]],[",0]]]'


@pytest.mark.parametrize(
    "body",
    [
        f"[{ROW},{ROW},]",
        f"[{ROW},{ROW},,{ROW}]",
        f"[{ROW},{ROW}",
        f"{ROW},{ROW}",
        f"{ROW},{ROW}]",
        f"[{ROW},{ROW}]]",
        f"[{ROW},{ROW}] x",
        f"[[{ROW},{ROW}],{ROW}]",
        f'{{"a": [{ROW},{ROW}]}}',
        f"[{ROW},{ROW},5]",
        f'[{ROW},{ROW},["z",[["x",1]]]]',
        f'[{ROW},{ROW},["z",[["x",{{"odd": 1}},0]]]]',
        f'[{ROW},{ROW},["z",[["x",{"[" * 300}{"]" * 300},0]]]]',
        f"[{ROW},{ROW},{'[' * 3000}",
        f'"{ROW}'.replace('"', "'"),
    ],
)
def test_errors_are_those_of_the_whole(monkeypatch, body):
    assert isinstance(compare(monkeypatch, body.encode()), str)


def test_many_rows_are_read_in_pieces(monkeypatch):
    pieces = []
    parse = recording.jsontext.parse
    monkeypatch.setattr(recording.jsontext, "parse", lambda body: pieces.append(len(body)) or parse(body))
    body = json.dumps(
        [[f"row{number}", [["x", number, 0], ["t", "é]] ," * 9, 5]]] for number in range(60_000)]
    ).encode()
    found = recording.several(body)
    assert len(found) == 60_000
    assert found[-1] == (("row59999",), [(("x",), 59_999, 0.0), (("t",), "é]] ," * 9, 5.0)])
    assert len(pieces) > 3
    assert max(pieces) < 1.01 * recording._PIECE


def test_the_collector_is_held_off_until_the_last_block_has_ended():
    first, second = held_off(), held_off()
    with first:
        with second:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
