import math
import sqlite3

import pytest

from server.datasets.sqlite import TYPES
from server.declarations import Creation
from server.errors import MldbError
from server.values.atoms import Timestamp
from tests.datasets.test_files import ROWS
from tests.storage.results import Unhurried, cells_of


def create(services, url=""):
    (declared,) = TYPES
    return declared.create(Creation("id", {}, declared.params(dataFileUrl=url), services, Unhurried()))


def test_commits_are_in_the_file_and_come_back(services, tmp_path):
    url = f"file://{tmp_path}/folder/data.sqlite"
    dataset = create(services, url)
    dataset.record_rows(ROWS)
    dataset.commit()
    dataset.record_rows([(("later",), [(("a",), 1.5, 7.0)]), (("empty",), [(("a",), "x", 8.0)])])
    dataset.commit()
    dataset.record_rows([(("lost",), [])])
    again = cells_of(services.database, create(services, url).layout())
    found = cells_of(services.database, dataset.layout())
    assert found.pop("lost") == []
    assert again == found
    with sqlite3.connect(tmp_path / "folder" / "data.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM cells").fetchall() == [(12,)]
    connection.close()


def test_what_was_read_is_written_only_once(services, tmp_path):
    url = f"file://{tmp_path}/data.sqlite"
    create(services, url).commit()
    for number in range(3):
        dataset = create(services, url)
        dataset.record_rows([((f"r{number}",), [(("x",), number, 1.0)])])
        dataset.commit()
        dataset.commit()
    assert cells_of(services.database, create(services, url).layout()).keys() == {"r0", "r1", "r2"}


def test_without_a_file(services):
    dataset = create(services)
    dataset.record_rows(ROWS)
    dataset.commit()
    assert dataset.layout().rows == 4


def test_what_is_no_sqlite_file_is_refused(services, tmp_path):
    (tmp_path / "junk.sqlite").write_bytes(b"junk" * 1000)
    for url in (
        f"file://{tmp_path}/junk.sqlite",
        "mem://x.sqlite",
        "http://localhost/x.sqlite",
        "file:///etc/x.sqlite",
    ):
        with pytest.raises(MldbError):
            create(services, url)


MLDB_TABLES = """
CREATE TABLE vals (rowNum INT NOT NULL, colNum INT NOT NULL, ts BIGINT NOT NULL, val TEXT);
CREATE TABLE rows (rowNum INTEGER PRIMARY KEY, rowHash INT NOT NULL, rowName TEXT NOT NULL);
CREATE TABLE cols (colNum INTEGER PRIMARY KEY, colHash INT NOT NULL, colName TEXT NOT NULL);
CREATE UNIQUE INDEX byrow ON vals (rowNum, colNum, val, ts);
CREATE UNIQUE INDEX rownames ON rows (rowHash, rowName);
CREATE UNIQUE INDEX colnames ON cols (colHash, colName);
INSERT INTO rows VALUES (1, 5748889492429595544, 'x'), (2, 8485945050240950339, 'y');
INSERT INTO cols VALUES (1, 6807992527252360854, 'z'), (2, 1, 'p."q.r"');
INSERT INTO vals VALUES (1, 1, 1500, '1'), (1, 2, -9223372036854775808, '"ein"'), (1, 1, 2500, '{"num":"NaN"}');
"""


def test_files_of_mldb_are_read_and_written_in_its_tables(services, tmp_path):
    with sqlite3.connect(tmp_path / "old.sqlite") as connection:
        connection.executescript(MLDB_TABLES)
    connection.close()
    url = f"file://{tmp_path}/old.sqlite"
    dataset = create(services, url)
    found = cells_of(services.database, dataset.layout())
    assert found.keys() == {"x", "y"}
    assert found["y"] == []
    assert {(name, time) for name, _, time in found["x"]} == {("z", "1.5"), ("z", "2.5"), ('p."q.r"', "-inf")}
    dataset.record_rows([(("x",), [(("z",), 2, 3.5)]), (("new", "row"), [(("z",), Timestamp(1.0), math.inf)])])
    dataset.commit()
    again = cells_of(services.database, create(services, url).layout())
    assert again == cells_of(services.database, dataset.layout())
    with sqlite3.connect(tmp_path / "old.sqlite") as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        joined = "vals JOIN rows USING (rowNum) JOIN cols USING (colNum)"
        added = connection.execute(f"SELECT rowName, colName, ts, val FROM {joined} WHERE ts > 3000").fetchall()
        hashes = dict(connection.execute("SELECT rowName, count(*) FROM rows GROUP BY rowName").fetchall())
    connection.close()
    assert tables == {"vals", "rows", "cols"}
    assert sorted(added) == [("new.row", "z", 2**63 - 1, '{"ts":"1970-01-01T00:00:01Z"}'), ("x", "z", 3500, "2")]
    assert hashes == {"x": 1, "y": 1, "new.row": 1}
