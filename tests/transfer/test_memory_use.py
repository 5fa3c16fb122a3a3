"""How much memory long transfers need: a few blocks, whatever the length of the file."""

from __future__ import annotations

import functools
import gzip
import threading

import pyarrow as pa
import pytest

from server.storage.database import Database, arrow_view
from server.transfer import import_json, import_text
from server.transfer.lines import LineSource

MIB = 1 << 20


class Watch:
    """The most memory that Arrow held while it was watched."""

    def __enter__(self):
        self.most = 0
        self._before = pa.total_allocated_bytes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self):
        while not self._ended.wait(0.002):
            self.most = max(self.most, pa.total_allocated_bytes() - self._before)

    def __exit__(self, *error):
        self._ended.set()
        self._thread.join()


def test_a_dropped_view_holds_nothing():
    database = Database()
    before = pa.total_allocated_bytes()
    with database.transaction() as cursor:
        cursor.execute("CREATE TABLE numbers (n BIGINT)")
        for _ in range(20):
            table = pa.table({"n": pa.array(range(130_000))})
            with arrow_view(cursor, "given", table):
                cursor.execute("INSERT INTO numbers SELECT n FROM given")
            del table
            assert pa.total_allocated_bytes() - before < MIB
        assert cursor.execute("SELECT count(*) FROM numbers").fetchone() == (20 * 130_000,)
    database.close()


@pytest.mark.parametrize("query", [{}, {"select": "a, b", "where": "a % 2 = 0"}])
def test_import_in_blocks(bench, monkeypatch, query):
    """Forty blocks of a mebibyte, packed to a hundredth of it: never more than a few at once."""
    monkeypatch.setattr(import_text, "LineSource", functools.partial(LineSource, block_bytes=MIB))
    lines = "".join(f"{n},text {n % 100},{n / 7:.3f}\n" for n in range(50_000))
    size = len(lines)
    url = bench.file("long.csv.gz", gzip.compress(("a,b,c\n" + lines * (40 * MIB // size)).encode(), 1))
    with Watch() as watch:
        bench.run("import.text", dataFileUrl=url, outputDataset="d", named="lineNumber()", **query)
    assert 0 < watch.most < 16 * MIB


@pytest.mark.parametrize("query", [{}, {"select": "a, c", "where": "a % 2 = 0"}])
def test_json_in_blocks(bench, monkeypatch, query):
    monkeypatch.setattr(import_json, "BLOCK_BYTES", MIB)
    lines = "".join(f'{{"a":{n},"b":{{"c":"text {n % 100}"}},"d":[{n / 7:.3f}]}}\n' for n in range(25_000))
    url = bench.file("long.json.gz", gzip.compress((lines * (20 * MIB // len(lines))).encode(), 1))
    with Watch() as watch:
        bench.run("import.json", dataFileUrl=url, outputDataset="d", **query)
    assert 0 < watch.most < 16 * MIB
