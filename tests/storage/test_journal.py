"""Small commits: durable and whole before, during and after their way from the journal into the tables."""

import math
import threading

import duckdb
import pytest

from server.datasets.sparse import SparseDataset
from server.storage.cells import CellTables
from server.storage.database import Database, new_table
from server.storage.journal import JOURNAL_LIMIT, SMALL_COMMIT
from server.storage.pending import Pending
from server.values.atoms import Interval, PathValue, Timestamp
from tests.storage.results import cells_of
from tests.storage.test_durability import run_and_kill
from tests.waiting import PATIENCE

# Commits one row after the other and says so after each; reads, and so folds, after every seventh.
WRITER = """
import sys
from pathlib import Path
from server.datasets.sparse import SparseDataset
from server.storage.cells import CellTables
from server.storage.database import Database

dataset = SparseDataset(CellTables(Database(Path(sys.argv[1])), "d_writer", 1.0))
for number in range(dataset.status()["rowCount"], 100_000):
    dataset.record_rows([((f"r{number}",), [(("n",), number, 1.0), ((f"c{number % 50}",), "text", 2.0)])])
    dataset.commit()
    print(number, flush=True)
    if number % 7 == 6:
        dataset.layout()
"""

EVERY_KIND = [
    (("null",), None),
    (("true",), True),
    (("small",), -3),
    (("wide",), 2**62 + 1),
    (("unsigned",), 2**64 - 1),
    (("huge",), 10**400),
    (("fraction",), 0.1),
    (("whole",), 2.0),
    (("infinite",), -math.inf),
    (("nan",), math.nan),
    (("text",), "é\0\U0001f600"),
    (("blob",), b"\xff\0"),
    (("time",), Timestamp(-1.5)),
    (("no time",), Timestamp(math.nan)),
    (("interval",), Interval(-1, -2, -3.5)),
    (("path",), PathValue(("a", "b.c"))),
    (("deep", "é", "."), 1),
]


def one_row(name, *cells):
    pending = Pending()
    pending.add_row((name,), cells)
    return pending


def journalled(database):
    with database.cursor() as cursor:
        return cursor.execute("SELECT count(*) FROM dataset_journal").fetchall()[0][0]


@pytest.mark.parametrize("delay", [0.0, 0.003, 0.01, 0.04])
def test_small_commits_are_whole_after_a_kill(tmp_path, delay):
    file = tmp_path / "data.duckdb"
    for _ in range(2):  # the second life begins on what the first one left
        reported = run_and_kill(WRITER, file, 20, delay)
    database = Database(file)
    dataset = SparseDataset(CellTables(database, "d_writer", 1.0))
    count = dataset.status()["rowCount"]
    assert count >= reported[-1] + 1
    assert dataset.status() == {"rowCount": count, "valueCount": 2 * count, "columnCount": 1 + min(count, 50)}
    found = cells_of(database, dataset.layout())
    assert found == {
        f"r{number}": [(f"c{number % 50}", "'text'", "2.0"), ("n", str(number), "1.0")] for number in range(count)
    }
    database.close()


def test_a_kill_between_the_journal_and_the_tables(tmp_path):
    """The first life only journals; the next one finds three commits and folds them when they are read."""
    file = tmp_path / "data.duckdb"
    code = WRITER.replace("% 7 == 6", "< 0").replace("100_000", "3") + "\nimport time; time.sleep(60)"
    assert run_and_kill(code, file, 3, 0.0) == [0, 1, 2]
    database = Database(file)
    assert journalled(database) == 3
    dataset = SparseDataset(CellTables(database, "d_writer", 1.0))
    assert dataset.status() == {"rowCount": 3, "valueCount": 6, "columnCount": 4}
    assert journalled(database) == 0
    database.close()
    database = Database(file)
    assert set(cells_of(database, CellTables(database, "d_writer").layout())) == {"r0", "r1", "r2"}
    database.close()


def test_a_fold_that_fails_loses_nothing(database):
    tables = CellTables(database, new_table())
    tables.layout()
    tables.commit(one_row("a", (("x",), "text", 0.0)))
    with database.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {tables.prefix}_str RENAME TO away")
    with pytest.raises(duckdb.CatalogException, match="_str does not exist"):
        tables.fold()
    assert (journalled(database), tables.rows) == (1, 0)
    with database.cursor() as cursor:
        cursor.execute(f"ALTER TABLE away RENAME TO {tables.prefix}_str")
    assert cells_of(database, tables.layout()) == {"a": [("x", "'text'", "0.0")]}
    assert journalled(database) == 0


def test_every_kind_of_value_comes_through_the_journal(database):
    direct, small = CellTables(database, new_table()), CellTables(database, new_table())
    cells = [(path, value, time) for path, value in EVERY_KIND for time in (0.0, -math.inf, math.nan)]
    direct.append(one_row("r", *cells))
    small.commit(one_row("r", *cells))
    assert cells_of(database, small.layout()) == cells_of(database, direct.layout())
    for path, _ in EVERY_KIND:
        assert small.layout().columns.get(path) == direct.layout().columns.get(path)


@pytest.mark.parametrize("sizes", [[5], [2, 3], [1, 1, 1, 1, 1], [4, 0, 1]])
@pytest.mark.parametrize("folded_after", [1, 2, 10])
def test_rows_are_listed_as_without_a_journal(database, sizes, folded_after):
    direct, small = CellTables(database, new_table()), CellTables(database, new_table())
    number = 0
    for index, size in enumerate(sizes):
        pending, same = Pending(), Pending()
        for _ in range(size):
            pending.add_row((f"ex{number}",), [(("x",), number, 0.0)])
            same.add_row((f"ex{number}",), [(("x",), number, 0.0)])
            number += 1
        direct.append(pending)
        small.commit(same)
        if (index + 1) % folded_after == 0:
            small.fold()
    assert list(cells_of(database, small.layout())) == list(cells_of(database, direct.layout()))


def test_a_cell_of_two_small_commits_has_both_values(database):
    tables = CellTables(database, new_table())
    for value in (1, 2):
        tables.commit(one_row("r", (("x",), value, float(value))))
    column = tables.layout().columns.get(("x",))
    assert (column.multiple, column.rows) == (True, 1)
    assert cells_of(database, tables.layout()) == {"r": [("x", "1", "1.0"), ("x", "2", "2.0")]}


def test_two_thousand_commits_take_few_statements(tmp_path):
    database = Database(tmp_path / "data.duckdb")
    dataset = SparseDataset(CellTables(database, new_table(), 1.0))
    with database.cursor() as cursor:
        cursor.execute("CALL enable_logging('QueryLog')")
        for number in range(2000):
            dataset.record_rows([((str(number),), [(("x",), number, 0.0)])])
            dataset.commit()
        assert dataset.layout().rows == 2000
        cursor.execute("CALL disable_logging()")
        (statements,) = cursor.execute("SELECT count(*) FROM duckdb_logs WHERE type = 'QueryLog'").fetchone()
    assert 2000 <= statements < 3 * 2000 + 100  # begin, insert, commit
    database.close()


def test_the_journal_is_folded_when_it_is_full(database):
    tables = CellTables(database, new_table())
    commits = 0
    while tables.rows == 0:
        pending = Pending()
        for row in range(SMALL_COMMIT // 2):
            pending.add_row((f"r{row}",), [(("x",), commits, float(commits))])
        tables.commit(pending)
        commits += 1
        assert commits * SMALL_COMMIT <= JOURNAL_LIMIT
    assert journalled(database) == 0
    assert tables.cells == commits * SMALL_COMMIT // 2


def test_a_larger_commit_goes_to_the_tables_at_once(database):
    tables = CellTables(database, new_table())
    tables.commit(one_row("first", (("x",), 1, 0.0)))
    pending = Pending()
    for row in range(SMALL_COMMIT):
        pending.add_row((f"r{row}",), [(("x",), row, 0.0)])
    tables.commit(pending)
    assert (journalled(database), tables.rows) == (0, SMALL_COMMIT + 1)


def test_readers_see_small_commits_while_a_long_batch_is_written(database):
    tables = CellTables(database, new_table())
    tables.commit(one_row("small", (("x",), 1, 0.0)))
    waiting = threading.Thread(target=lambda: tables.commit(one_row("late", (("x",), 3, 0.0))))
    with tables.batch() as add:
        add(one_row("long", (("x",), 2, 0.0)))
        waiting.start()
        assert list(cells_of(database, tables.layout())) == ["small"]
        assert not tables.append(one_row("other"), wait=False)
    waiting.join(PATIENCE)
    assert set(cells_of(database, tables.layout())) == {"small", "long", "late"}


def test_many_threads_record_commit_and_read(tmp_path):
    database = Database(tmp_path / "data.duckdb")
    dataset = SparseDataset(CellTables(database, new_table(), 1.0))
    seen = []

    def work(name):
        for number in range(20):
            dataset.record_rows([((name, str(number)), [(("x",), number, 0.0)])])
            dataset.commit()
            if number % 5 == 0:
                seen.append(dataset.layout().rows >= number + 1)

    threads = [threading.Thread(target=work, args=(f"t{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(seen) == 16
    assert all(seen)
    assert dataset.status() == {"rowCount": 80, "valueCount": 80, "columnCount": 1}
    database.close()


def test_closing_folds_and_dropping_forgets(tmp_path):
    database = Database(tmp_path / "data.duckdb")
    kept, dropped = (SparseDataset(CellTables(database, new_table())) for _ in range(2))
    for dataset in (kept, dropped):
        dataset.record_rows([(("a",), [])])
        dataset.commit()
    assert journalled(database) == 2
    dropped.drop()
    dropped.close()
    kept.close()
    assert journalled(database) == 0
    with database.cursor() as cursor:
        assert cursor.execute("SELECT name FROM dataset_tables").fetchall() == [(kept.persist()["tables"][0],)]
    database.close()


def test_records_nobody_refers_to_are_dropped(database):
    kept, lost = CellTables(database, new_table()), CellTables(database, new_table())
    for tables in (kept, lost):
        tables.commit(one_row("a"))
    assert database.drop_orphans([kept.prefix]) == []
    assert journalled(database) == 1
    assert list(cells_of(database, CellTables(database, kept.prefix).layout())) == ["a"]
    assert cells_of(database, CellTables(database, lost.prefix).layout()) == {}
