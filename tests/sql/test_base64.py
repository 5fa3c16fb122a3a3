"""What the engine decodes of base64 is what Python decodes, and Python does the rest."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.errors import MldbError
from server.sql.functions.strings import decode_base64
from tests.effort import cases

alphabet = st.text("ABab01+/==-_ \n.é", max_size=9)
whole = st.binary(max_size=40).map(lambda data: duckdb.execute("SELECT base64(?)", [data]).fetchall()[0][0])


@settings(max_examples=cases(400))
@given(alphabet | whole)
@example("")
@example("YQ==\n")
@example("bB=A")
@example("YWI")
def test_decoding(cursor: duckdb.DuckDBPyConnection, text: str) -> None:
    try:
        wanted = decode_base64(text)
    except MldbError:
        with pytest.raises(duckdb.Error, match="not base64"):
            cursor.execute("SELECT m_base64_decode(?)", [text])
    else:
        assert cursor.execute("SELECT m_base64_decode(?)", [text]).fetchall() == [(wanted,)]


def test_null(cursor: duckdb.DuckDBPyConnection) -> None:
    assert cursor.execute("SELECT m_base64_decode(NULL)").fetchall() == [(None,)]
