import sqlite3

import pytest

from server.datasets.sqlite import TYPES
from server.declarations import Creation
from server.errors import MldbError
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
