"""What was committed survives the death of the process at any point; what was not leaves no trace."""

import subprocess
import sys
import time

import pytest

from server.storage.cells import CellTables
from server.storage.database import Database, new_table
from server.storage.pending import Pending
from server.storage.wide import read_wide
from tests.storage.results import cells_of

# Commits batch after batch and says so after each; batch n has rows r<n>.0 to r<n>.499 with one value n.
WRITER = """
import sys
from pathlib import Path
from server.storage.cells import CellTables
from server.storage.database import Database
from server.storage.pending import Pending

database = Database(Path(sys.argv[1]))
tables = CellTables(database, "d_writer")
for number in range(tables.rows // 500, 10_000):
    pending = Pending()
    for row in range(500):
        pending.add_row((f"r{number}", str(row)), [(("n",), number, 1.0), ((f"c{number}",), "text", float(number))])
    tables.append(pending)
    print(number, flush=True)
"""

WIDE_WRITER = """
import sys
from pathlib import Path
from server.datasets.tabular import TabularDataset
from tests.datasets.parts import Parts

parts = Parts(Path(sys.argv[1]).parent, Path(sys.argv[1]))
number = 0
while True:
    dataset = TabularDataset(parts, f"d_table{number}")
    dataset.record_rows([((str(row),), [(("x",), number, 1.0), (("y",), "t" * 100, 1.0)]) for row in range(2000)])
    dataset.commit()
    print(number, flush=True)
    number += 1
"""

# An import whose column held numbers first and texts then.
WIDENING = """
import sys
import time
from pathlib import Path
import numpy as np
import pyarrow as pa
from server.storage.database import Database
from server.transfer.csvblocks import Block
from server.transfer.staging import Staging
from server.values.kinds import Kind

database = Database(Path(sys.argv[1]))
with database.transaction() as cursor:
    staging = Staging(cursor, "d_widened", [("a",)], 0.0)
    staging.append(Block(np.array([1, 2]), [(Kind.INTEGER, pa.array([7, 8]))]))
    staging.append(Block(np.array([3]), [(Kind.STRING, pa.array(["nine"]))]))
print(0, flush=True)
time.sleep(60)
"""


def run_and_kill(code, file, after, delay):
    """Start a writer, wait until it has reported ``after`` commits, wait ``delay`` more and kill it; its reports."""
    process = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        reported = [int(process.stdout.readline()) for _ in range(after)]
        time.sleep(delay)
    finally:
        process.kill()
        rest, _ = process.communicate()
    return reported + [int(line) for line in rest.splitlines()]


@pytest.mark.parametrize("delay", [0.0, 0.007, 0.03])
def test_sparse_batches_are_whole_after_a_kill(tmp_path, delay):
    file = tmp_path / "data.duckdb"
    for _ in range(2):  # the second life begins on what the first one left
        reported = run_and_kill(WRITER, file, 3, delay)
    database = Database(file)
    tables = CellTables(database, "d_writer")
    batches, odd = divmod(tables.rows, 500)
    assert not odd
    assert batches >= reported[-1] + 1
    found = cells_of(database, tables.layout())
    assert len(found) == tables.rows
    for number in range(batches):
        for row in range(500):
            expected = [(f"c{number}", "'text'", str(float(number))), ("n", str(number), "1.0")]
            assert found[f"r{number}.{row}"] == expected
    assert tables.layout().columns.get(("n",)).rows == tables.rows
    assert len(list(tables.layout().columns.under(()))) == batches + 1
    database.close()


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03])
def test_wide_tables_are_whole_or_absent_after_a_kill(tmp_path, delay):
    file = tmp_path / "data.duckdb"
    reported = run_and_kill(WIDE_WRITER, file, 2, delay)
    database = Database(file)
    with database.cursor() as cursor:
        for number in range(reported[-1] + 1):
            assert read_wide(cursor, f"d_table{number}").rows == 2000
        names = {name for (name,) in cursor.execute("SELECT name FROM dataset_tables").fetchall()}
        tables = {name for (name,) in cursor.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    assert names == {name for name in tables if name.startswith("d_")}
    database.close()


def test_an_import_whose_columns_changed_their_type_survives_a_kill(tmp_path):
    """The log then names functions, which DuckDB replays before it knows them."""
    file = tmp_path / "mldb.duckdb"
    assert run_and_kill(WIDENING, file, after=1, delay=0.1) == [0]
    assert file.with_name("mldb.duckdb.wal").stat().st_size
    for _ in range(2):
        database = Database(file)
        with database.cursor() as cursor:
            rows = cursor.execute("SELECT c0::VARCHAR FROM d_widened ORDER BY 1").fetchall()
        assert rows == [("7.0",), ("8.0",), ("nine",)]
        database.close()


def test_a_closed_file_opens_again_with_everything(tmp_path):
    file = tmp_path / "data.duckdb"
    database = Database(file)
    tables = CellTables(database, new_table())
    pending = Pending()
    pending.add_row(("a", "b.c"), [(("é",), 2**63, float("-inf"))])
    tables.append(pending)
    database.close()
    assert not file.with_suffix(".duckdb.wal").exists()
    database = Database(file)
    assert cells_of(database, CellTables(database, tables.prefix).layout()) == {
        'a."b.c"': [("é", "9223372036854775808", "-inf")]
    }
    database.close()


def test_tables_nobody_refers_to_are_dropped(tmp_path):
    database = Database(tmp_path / "data.duckdb")
    kept, lost = CellTables(database, new_table()), CellTables(database, new_table())
    for tables in (kept, lost):
        tables.layout()
    with database.cursor() as cursor:
        cursor.execute("CREATE TABLE other (x INTEGER)")
    dropped = database.drop_orphans([kept.prefix])
    assert len(dropped) == 7
    assert all(name.startswith(lost.prefix) for name in dropped)
    assert cells_of(database, CellTables(database, kept.prefix).layout()) == {}
    assert database.drop_orphans([kept.prefix]) == []
    with database.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM other").fetchall() == [(0,)]
    database.close()


def test_tables_are_dropped_while_a_copy_is_made(tmp_path):
    """The tables of the copy have the same names, and are listed too."""
    database = Database(tmp_path / "data.duckdb")
    kept, lost = CellTables(database, new_table()), CellTables(database, new_table())
    for tables in (kept, lost):
        tables.layout()
    with database.cursor() as cursor:
        cursor.execute(f"ATTACH '{tmp_path / 'copy.duckdb'}' AS a_copy")
        cursor.execute('COPY FROM DATABASE "data" TO a_copy')
        kept.drop()
        assert len(database.drop_orphans([])) == 7
        cursor.execute("DETACH a_copy")
    database.close()


def test_a_failed_batch_leaves_nothing(tmp_path):
    database = Database(tmp_path / "data.duckdb")
    tables = CellTables(database, new_table())
    pending = Pending()
    pending.add_row(("a",), [(("x",), 1, 0.0)])

    def fail():
        with tables.batch() as add:
            add(pending)
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        fail()
    assert tables.layout().rows == 0
    tables.append(pending)
    assert cells_of(database, tables.layout()) == {"a": [("x", "1", "0.0")]}
    database.close()
